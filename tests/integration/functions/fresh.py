"""One function writes a row, another reads it, by whichever verb the event names."""

import os

from sqlalchemy import func, select
from sqlalchemy.orm import Mapped, mapped_column

from dal import Base, Database, Repository, everything

db = Database.from_env()


class Counter(Base):
    __tablename__ = "counter"

    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int]


class Counters(Repository[Counter]):
    pass


counters = Counters(db)
held = []

# Each returns the value as it reads it; `wanted` is for those that can only compare.
VERBS = {
    "get": lambda wanted: counters.get(1).value,
    "get_one": lambda wanted: counters.get_one(1).value,
    "one": lambda wanted: counters.one(Counter.id == 1).value,
    "one_or_none": lambda wanted: counters.one_or_none(Counter.id == 1).value,
    "first": lambda wanted: counters.first(order_by=Counter.id).value,
    "find": lambda wanted: counters.find(everything())[0].value,
    "exists": lambda wanted: wanted if counters.exists(Counter.value == wanted) else None,
    "count": lambda wanted: wanted if counters.count(Counter.value == wanted) == 1 else None,
    "session.get": lambda wanted: db.session.get(Counter, 1).value,
    "session.get_one": lambda wanted: db.session.get_one(Counter, 1).value,
    "session.scalars": lambda wanted: db.session.scalars(select(Counter)).one().value,
    "columns": lambda wanted: db.session.execute(select(Counter.value)).scalar_one(),
    "aggregate": lambda wanted: db.session.scalar(select(func.max(Counter.value))),
}


@db.handler
def write(event, context):
    counters.update(1, {"value": event["value"]})
    return event["value"]


def look(event, context):
    held[:] = counters.find(everything())  # lives on, and must not be what the next one reads
    return VERBS[event["verb"]](event["value"])


read_write = db.handler(look)
read_only = db.handler(read_only=True)(look)


def read(event, context):
    return (read_only if event["read_only"] else read_write)(event, context)


def read_with_a_child(event, context):
    """A forked process reads while this one holds what it holds, then this one does."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(into, str(read(event, context)).encode())
        finally:
            os._exit(0)
    os.close(into)
    os.waitpid(child, 0)
    with os.fdopen(out) as answer:
        return [int(answer.read()), read(event, context)]
