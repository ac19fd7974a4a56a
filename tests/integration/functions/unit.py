"""One unit of work for each event: it writes, then does what the event asks."""

import os
import time

from sqlalchemy import String, text
from sqlalchemy.orm import Mapped, mapped_column

from dal import Base, Database, Error, Repository

db = Database.from_env()


class Row(Base):
    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20), unique=True)


class Rows(Repository[Row]):
    pass


rows = Rows(db)


def write(name):
    return rows.add(Row(name=name))


@db.handler
def status(event, context):
    write(event["name"])
    return event["answer"]


@db.handler(rollback_when=lambda answer: answer["failed"])
def rolls_back_when_failed(event, context):
    write(event["name"])
    return event["answer"]


@db.handler(rollback_when=lambda answer: False)
def never_rolls_back(event, context):
    write(event["name"])
    return event["answer"]


@db.handler
def run(event, context):
    """Write, run the event's statement, and answer."""
    write(event["name"])
    db.session.execute(text(event["statement"]))
    return {"pid": os.getpid()}


@db.handler
def takes_its_time(event, context):
    write(event["name"])
    time.sleep(event["seconds"])
    return "done"


@db.handler
def raises(event, context):
    """Write twice; the second row is one that the table refuses in the way that the event names."""
    write(event["name"])
    match event["what"]:
        case "a mistake of its own":
            raise KeyError("price")
        case "duplicate key":
            write(event["name"])
        case "data too long":
            write("x" * 21)
        case "not found":
            rows.get_one(4711)
        case "no such table":
            db.session.execute(text("SELECT * FROM nowhere"))


@db.handler
def swallows(event, context):
    """Take every error for harmless and answer as if nothing had been."""
    write(event["name"])
    try:
        match event["what"]:
            case "commit":
                db.session.commit()
            case "commit as text":
                db.session.execute(text("COMMIT"))
            case "ddl":
                db.session.execute(text("CREATE TABLE other (id INT)"))
            case "duplicate key":
                write(event["name"])
            case "duplicate key in a savepoint":
                with db.savepoint():
                    write(event["name"])
            case "statement":
                for statement in event["statements"]:
                    db.session.execute(text(statement))
    except Error:
        pass
    return {"statusCode": 200, "body": "done"}


@db.handler
def publishes(event, context):
    """Tell of what was committed, through a scope of its own."""
    row = write(event["name"])

    def publish():
        with db.scope() as session:
            committed = session.scalar(
                text("SELECT COUNT(*) FROM item WHERE id = :id"), {"id": row.id}
            )
            session.execute(
                text("INSERT INTO published (name, committed) VALUES (:name, :committed)"),
                {"name": event["name"], "committed": committed},
            )

    def fail():
        raise RuntimeError("the queue is full")

    if event.get("first") == "fails":
        db.after_commit(fail)
    db.after_commit(publish)
    match event.get("ending"):
        case "exception":
            raise LookupError("no such thing")
        case "no json":
            return {1, 2}
        case "rollback only":
            db.rollback_only()
    return event.get("answer", "done")
