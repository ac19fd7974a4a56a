"""A process that runs Alembic's commands in forks of itself, and lets them die.

Reads jobs from stdin, one JSON line each: the command line; or the command, at which command on the
wire to die, and how. Answers each with one line: how it ended, what it said, and how many commands
it sent. Forks, because what costs most is importing Alembic.
"""

import json
import os
import signal
import sys
import traceback

from alembic import command
from alembic.config import CommandLine, Config

import dal.migrate  # noqa: F401  # so that no fork imports it
from dal.wire.session.statements import Statements

BROKEN = b"SELECT * FROM no_such_table_is_there"


def die_at(number, how):
    """Let the command of this number on the wire be the last one, or an error."""
    send = Statements._execute_command
    count = 0

    def counting(self, code, sql):
        nonlocal count
        count += 1
        os.ftruncate(COUNT, 0)
        os.pwrite(COUNT, str(count).encode(), 0)
        if count != number:
            return send(self, code, sql)
        if how == "error":
            return send(self, code, BROKEN)
        if how == "kill before":
            os.kill(os.getpid(), signal.SIGKILL)
        send(self, code, sql)
        if how == "kill after":
            os.kill(os.getpid(), signal.SIGKILL)
        self._sock._socket.shutdown(2)  # lost: sent, and its answer never comes
        return None

    Statements._execute_command = counting


def type_in(arguments, environment):
    """Run Alembic's command line as in a process of its own; return its exit code."""
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(SAID, 1)
    os.dup2(SAID, 2)
    try:
        CommandLine(prog="alembic").main(arguments)
    except SystemExit as end:
        return end.code % 256
    except BaseException:  # noqa: BLE001  # as a process of its own would show it
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def run(job):
    """Do a job in this process; return its exit code."""
    if "arguments" in job:
        return type_in(job["arguments"], job["environment"])
    os.environ.update(job["environment"])
    die_at(job.get("number"), job.get("how"))
    config = Config(job["ini"])
    config.attributes["quiet"] = True
    try:
        getattr(command, job["command"])(config, job["target"])
    except Exception as error:  # noqa: BLE001
        os.pwrite(SAID, f"{type(error).__name__}: {error}".encode(), 0)
        return 1
    return 0


def main():
    for line in sys.stdin:
        job = json.loads(line)
        os.ftruncate(SAID, 0)
        os.lseek(SAID, 0, os.SEEK_SET)
        os.ftruncate(COUNT, 0)
        child = os.fork()
        if child == 0:
            code = 3
            try:
                code = run(job)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "count": int(os.pread(COUNT, 20, 0) or 0),
            "said": os.pread(SAID, 100_000, 0).decode(),
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


COUNT, SAID = os.memfd_create("count"), os.memfd_create("said")
if __name__ == "__main__":
    main()
