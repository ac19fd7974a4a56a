"""On dal."""

import address
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from dal import Base, Database, Repository

db = Database.from_env(
    **({"tls": "verify", "tls_ca": address.CA} if address.CA else {"tls": "disabled"})
)


class Account(Base):
    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(50))
    balance: Mapped[int]


class Transfer(Base):
    __tablename__ = "transfer"

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[int]
    target: Mapped[int]
    amount: Mapped[int]


class Entry(Base):
    __tablename__ = "entry"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner: Mapped[str] = mapped_column(String(50))
    balance: Mapped[int]


class Line(Base):
    __tablename__ = "line"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner: Mapped[str] = mapped_column(String(50))
    balance: Mapped[int]


class Accounts(Repository[Account]): ...


class Transfers(Repository[Transfer]): ...


class Entries(Repository[Entry]): ...


class Lines(Repository[Line]): ...


accounts, transfers, entries, lines = Accounts(db), Transfers(db), Entries(db), Lines(db)


def shown(row):
    return {"id": row.id, "owner": row.owner, "balance": row.balance}


@db.handler(read_only=True)
def read_one(event, context):
    return shown(accounts.get_one(event["id"]))


@db.handler(read_only=True)
def read_100(event, context):
    return {"rows": [shown(account) for account in accounts.find(order_by=Account.id, limit=100)]}


@db.handler
def insert_one(event, context):
    return {"id": transfers.add(Transfer(**event)).id}


@db.handler
def read_modify_write(event, context):
    account = accounts.get_one(event["source"], lock="update")
    account.balance += event["amount"]
    return {"balance": account.balance}


@db.handler
def five_statements(event, context):
    source = accounts.get_one(event["source"])
    target = accounts.get_one(event["target"])
    source.balance -= event["amount"]
    target.balance += event["amount"]
    transfers.add(Transfer(**event))
    return {}


@db.handler
def bulk_insert(event, context):
    return {"count": entries.insert_many(event["rows"])}


@db.handler
def bulk_upsert(event, context):
    entries.upsert(event["rows"], key=[Entry.id])
    return {}


@db.handler
def bulk_update(event, context):
    entries.upsert(event["rows"], key=[Entry.id], update=[Entry.balance])
    return {}


def bulk_purge(event, context):
    return {"count": entries.purge_where(Entry.balance >= event["from"])}


@db.handler(read_only=True)
def stream(event, context):
    return {"total": sum(line.balance for line in lines.stream(Line.id <= event["rows"]))}


@db.handler(read_only=True)
def stream_rows(event, context):
    total, last = 0, 0
    while True:
        chunk = lines.rows(
            Line.id,
            Line.owner,
            Line.balance,
            where=[Line.id > last, Line.id <= event["rows"]],
            order_by=Line.id,
            limit=5000,
        )
        for row in chunk:
            total += row["balance"]
        if len(chunk) < 5000:
            return {"total": total}
        last = chunk[-1]["id"]


def prepare_page(event):
    """The token of the page before; it comes with the request."""
    with db.scope(read_only=True):
        before = lines.page(Line.id > event["after"] - 1, limit=1) if event["after"] else None
    return {"limit": event["limit"], "token": before and before.next_token}


@db.handler(read_only=True)
def page(event, context):
    found = lines.page(limit=event["limit"], after=event["token"])
    return {"rows": [shown(line) for line in found.items]}
