"""Writes one row for each event, then ends in the way that the event names."""

import datetime
import os
import sys
import time

from sqlalchemy import String, text
from sqlalchemy.orm import Mapped, mapped_column

from dal import Base, Database, Repository

db = Database.from_env()


class Row(Base):
    __tablename__ = "ledger"

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(String(50))  # not unique: a second one must show


class Rows(Repository[Row]):
    pass


rows = Rows(db)


def answer(event, context):
    return {"token": event["token"], "pid": os.getpid()}


def exception(event, context):
    raise LookupError("no such thing")


def refuse(event, context):
    return {"statusCode": event["status"], "body": "refused"}


def no_json(event, context):
    return {"when": datetime.datetime.now(datetime.UTC)}


def too_large(event, context):
    return "x" * 7_000_000


def leave(event, context):
    sys.exit(0)


def asleep(event, context):
    time.sleep(60)


def in_a_statement(event, context):
    db.session.execute(text("SELECT SLEEP(60)"))


def at_the_end(event, context):
    """Let COMMIT meet the kill at the timeout."""
    time.sleep(max(0.0, event["deadline"] - event["before"] - time.time()))
    return answer(event, context)


def after_the_commit(event, context):
    db.after_commit(lambda: time.sleep(60))
    return answer(event, context)


ENDINGS = {
    ending.__name__: ending
    for ending in (
        answer,
        exception,
        refuse,
        no_json,
        too_large,
        leave,
        asleep,
        in_a_statement,
        at_the_end,
        after_the_commit,
    )
}


@db.handler
def unit(event, context=None):
    rows.add(Row(token=event["token"]))
    return ENDINGS[event["ending"]](event, context)


def handler(event, context):
    event["deadline"] = time.time() + context.get_remaining_time_in_millis() / 1000
    if event["knows_its_deadline"]:
        return unit(event, context)
    # Without the context no deadline is known, and only the platform's kill ends the wait.
    return unit(event)
