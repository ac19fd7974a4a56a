"""Many Lambda environments as one program: each a process that has run once, and then waits.

    python crowd.py CLIENTS DEADLINE WORK WAITS < a line that lets them go

Says "ready" when all are there, then a line of JSON for each as it ends. Times are seconds since
they were let go. WAITS is "jitter", as `dal` has it, or "none": the ceiling of each wait itself.
"""

import gc
import json
import os
import sys
import time
from types import SimpleNamespace

import sqlalchemy as sa

from dal import Database
from dal.wire import backoff, connecting
from dal.wire.network import tls

db = Database.from_env()


class Context:
    """What Lambda's own has for `db.handler`."""

    aws_request_id = "storm"

    def __init__(self, seconds):
        self._ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self._ends_at - time.monotonic()) * 1000)


@db.handler(reserve=0.0)
def visit(event, context):
    db.session.execute(sa.text("SELECT name FROM guest WHERE id = :id"), event).one()
    time.sleep(event["work"])
    db.session.execute(sa.text("UPDATE guest SET visits = visits + 1 WHERE id = :id"), event)
    db.session.execute(sa.text("INSERT INTO visit (guest) VALUES (:id)"), event)
    return {"guest": event["id"]}


class Noted(backoff.Backoff):
    """Notes when a try had failed."""

    failed_at: list[float] = []

    def wait(self, *deadlines):
        self.failed_at.append(time.monotonic())
        return super().wait(*deadlines)


def client(number, deadline, work):
    """Return how one invocation went."""
    began, error = time.monotonic(), None
    try:
        visit({"id": number, "work": work}, Context(deadline))
    except Exception as failed:  # noqa: BLE001  # told by its name
        error = f"{type(failed).__name__}: {failed}"
    ended = time.monotonic()
    return {"began": began, "ended": ended, "failed_at": Noted.failed_at, "error": error}


def warm_up():
    """Do what a process does once; and forget the TLS session, so that each has a handshake."""
    visit({"id": 0, "work": 0}, Context(60))
    tls._sessions.clear()
    Noted.failed_at.clear()


def main(clients, deadline, work, waits):
    connecting.Backoff = Noted
    if waits == "none":
        backoff._random = SimpleNamespace(uniform=lambda _, ceiling: ceiling)
    warm_up()
    gc.freeze()  # collecting would copy the memory that they share
    gate, opening = os.pipe()
    results, result = os.pipe()
    for number in range(1, clients + 1):
        if os.fork() == 0:
            os.close(opening)
            warm_up()
            os.write(result, b"ready\n")
            os.read(gate, 1)  # ends when the parent closes its end
            os.write(result, json.dumps(client(number, deadline, work)).encode() + b"\n")
            os._exit(0)
        assert os.read(results, 100) == b"ready\n"
    os.close(result)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    let_go = time.monotonic()
    os.close(opening)
    with os.fdopen(results) as lines:
        for line in lines:
            told = json.loads(line)
            told["began"] -= let_go
            told["ended"] -= let_go
            told["failed_at"] = [at - let_go for at in told["failed_at"]]
            sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
