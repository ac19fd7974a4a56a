"""What the command `dal` runs in its tests: a handler that writes, and one that looks."""

from sqlalchemy import text

from dal import Database
from dal.doctor import examine

db = Database.from_env()


@db.handler
def sell(event, context):
    db.session.execute(text("INSERT INTO sales (what) VALUES (:what)"), {"what": event["what"]})
    print("sold")  # noqa: T201 - Lambda's log
    return {"sold": event["what"]}


@db.handler(read_only=True)
def look(event, context):
    return examine(db, concurrency=event["concurrency"], deadline=2.0).as_dict()
