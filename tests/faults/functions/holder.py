"""A function that takes a row and then keeps it, in the way that the event names."""

import time

from sqlalchemy import text

from dal import Database

db = Database.from_env()

TAKE = text("UPDATE deed SET times = times + 1 WHERE token = :token AND step = 1")
#: A megabyte in each row.
LARGE = text(
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows) "
    "SELECT i, REPEAT('x', 1000000) FROM n"
)


def idle(event):
    time.sleep(60)


def thinks_after_a_slow_statement(event):
    db.session.execute(text("SELECT SLEEP(6)"))
    time.sleep(60)


def thinks_after_a_long_stream(event):
    streams(event, rows=100)
    time.sleep(60)


def streams(event, rows=600):
    streaming = {"stream_results": True, "yield_per": 1}
    for _ in db.session.execute(LARGE, {"rows": rows}, execution_options=streaming):
        time.sleep(0.05)


def selects_slowly(event):
    db.session.execute(text("SELECT SLEEP(60)"))


def waits_behind_an_alter(event):
    db.session.execute(text("INSERT INTO shut VALUES (1)"))


def waits_for_a_row(event):
    db.session.execute(text("UPDATE deed SET times = 1 WHERE token = 'held'"))


DOINGS = {
    doing.__name__: doing
    for doing in (
        idle,
        thinks_after_a_slow_statement,
        thinks_after_a_long_stream,
        streams,
        selects_slowly,
        waits_behind_an_alter,
        waits_for_a_row,
    )
}


@db.handler
def handler(event, context):
    began = time.monotonic()
    db.session.execute(TAKE, {"token": event["token"]})
    time.sleep(max(0.0, began + event["last"] - time.monotonic()))
    if event["last"]:
        db.session.execute(text("SELECT 'the last statement'"))
    DOINGS[event["doing"]](event)
