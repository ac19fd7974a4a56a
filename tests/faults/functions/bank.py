"""Counts, transfers and reads; each write notes its operation in the same transaction."""

from sqlalchemy import text

from dal import Database

db = Database.from_env()

NOTE = text(
    "INSERT INTO applied (op, counter, source, target, amount) "
    "VALUES (:op, :counter, :source, :target, :amount)"
)
COUNT = text("SELECT value FROM counter WHERE id = :id")
LOCKED_COUNT = text("SELECT value FROM counter WHERE id = :id FOR UPDATE")
SET_COUNT = text("UPDATE counter SET value = :value WHERE id = :id")
LOCKED_BALANCE = text("SELECT balance FROM account WHERE id = :id FOR UPDATE")
SET_BALANCE = text("UPDATE account SET balance = :balance WHERE id = :id")
TOTAL = text("SELECT SUM(balance) FROM account")


def increment(event, context):
    db.session.execute(NOTE, {"source": None, "target": None, "amount": None} | event)
    value = db.session.scalar(LOCKED_COUNT, {"id": event["counter"]})
    db.session.execute(SET_COUNT, {"id": event["counter"], "value": value + 1})


def transfer(event, context):
    db.session.execute(NOTE, {"counter": None} | event)
    # In the order that the event gives: two that cross each other deadlock.
    for account, sign in ((event["source"], -1), (event["target"], 1)):
        balance = db.session.scalar(LOCKED_BALANCE, {"id": account})
        changed = {"id": account, "balance": balance + sign * event["amount"]}
        db.session.execute(SET_BALANCE, changed)


def read(event, context):
    return {
        "value": db.session.scalar(COUNT, {"id": event["counter"]}),
        "total": int(db.session.scalar(TOTAL)),
    }


UNITS = {
    (kind.__name__, attempts): db.handler(attempts=attempts, read_only=kind is read)(kind)
    for kind in (increment, transfer, read)
    for attempts in (1, 3)
}


def handler(event, context):
    return UNITS[event["kind"], event["attempts"]](event, context)
