"""What the processes do that the proofs of exactly once kill: callers of one event, and relays."""

import os
import random
import time

import sqlalchemy as sa

from dal import Database, Error, Idempotency

ONCE = Idempotency("storm", key=lambda event: event["key"], payload=lambda event: event["key"])
SECONDS = 4.0


class Context:
    """Lambda's context: so many seconds are left."""

    def __init__(self, seconds=SECONDS):
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self._end - time.monotonic()) * 1000)


def call(pipe, environment):
    """Handle each event that comes by the pipe; tell the answer, or what was raised."""
    db = Database.from_env(environment)
    told = []

    @db.handler(idempotency=ONCE, attempts=3, reserve=0.3)
    def handler(event, context):
        key = event["key"]
        for counter in random.sample((1, 2), 2):  # which deadlocks with others
            db.session.execute(sa.text(f"UPDATE counter SET n = n + 1 WHERE id = {counter}"))
            time.sleep(random.uniform(0, 0.01))
        db.session.execute(sa.text("INSERT INTO effect (name) VALUES (:name)"), {"name": key})
        db.after_commit(lambda: told.append(key))
        return {"key": key, "by": os.urandom(8).hex()}

    while True:
        key = pipe.recv()
        told.clear()
        try:
            answer, error = handler({"key": key}, Context()), None
        except Error as raised:
            answer, error = None, type(raised).__name__
        pipe.send((answer, error, len(told)))


def relay(path, environment, share, window):
    """Send what is in the outbox to a file, a line a message, until killed; refuse a share."""
    db = Database.from_env(environment)
    file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def publish(messages):
        time.sleep(0.005)
        refused = {one.id: "by chance" for one in messages if random.random() < share}
        for one in messages:
            if one.id not in refused:
                os.write(file, f"{one.key} {one.payload}\n".encode())
        return refused

    handler = db.outbox.relay(publish, backoff=0.05, attempts=1000, window=window)
    while True:
        try:
            handler({}, Context(30.0))
        except Error:
            time.sleep(0.05)
        time.sleep(0.02)
