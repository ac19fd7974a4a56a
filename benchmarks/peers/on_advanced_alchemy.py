"""advanced-alchemy's synchronous repository, as its documentation has it, on NullPool.

https://docs.advanced-alchemy.litestar.dev/latest/usage/repositories.html
"""

import address
from advanced_alchemy.base import DefaultBase
from advanced_alchemy.config import EngineConfig, SQLAlchemySyncConfig
from advanced_alchemy.filters import LimitOffset, OrderBy
from advanced_alchemy.repository import SQLAlchemySyncRepository
from sqlalchemy import URL, String
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.pool import NullPool


class Account(DefaultBase):
    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(50))
    balance: Mapped[int]


class Transfer(DefaultBase):
    __tablename__ = "transfer"

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[int]
    target: Mapped[int]
    amount: Mapped[int]


class Entry(DefaultBase):
    __tablename__ = "entry"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner: Mapped[str] = mapped_column(String(50))
    balance: Mapped[int]


class Line(DefaultBase):
    __tablename__ = "line"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner: Mapped[str] = mapped_column(String(50))
    balance: Mapped[int]


class Accounts(SQLAlchemySyncRepository[Account]):
    model_type = Account


class Transfers(SQLAlchemySyncRepository[Transfer]):
    model_type = Transfer


class Entries(SQLAlchemySyncRepository[Entry]):
    model_type = Entry


class Lines(SQLAlchemySyncRepository[Line]):
    model_type = Line


config = SQLAlchemySyncConfig(
    connection_string=URL.create(
        "mysql+pymysql",
        address.USER,
        address.PASSWORD,
        address.HOST,
        address.PORT,
        address.NAME,
    ).render_as_string(hide_password=False),
    engine_config=EngineConfig(
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
        connect_args={"ssl": {"ca": address.CA}} if address.CA else {"ssl_disabled": True},
    ),
)


def shown(row):
    return {"id": row.id, "owner": row.owner, "balance": row.balance}


def read_one(event, context):
    with config.get_session() as session:
        return shown(Accounts(session=session).get(event["id"]))


def read_100(event, context):
    with config.get_session() as session:
        found = Accounts(session=session).get_many(
            LimitOffset(limit=100, offset=0), OrderBy("id", "asc")
        )
        return {"rows": [shown(account) for account in found]}


def insert_one(event, context):
    with config.get_session() as session:
        key = Transfers(session=session).add(Transfer(**event)).id
        session.commit()
        return {"id": key}


def read_modify_write(event, context):
    with config.get_session() as session:
        account = Accounts(session=session).get(event["source"], with_for_update=True)
        account.balance = balance = account.balance + event["amount"]
        session.commit()
        return {"balance": balance}


def five_statements(event, context):
    with config.get_session() as session:
        accounts = Accounts(session=session)
        source = accounts.get(event["source"])
        target = accounts.get(event["target"])
        source.balance -= event["amount"]
        target.balance += event["amount"]
        Transfers(session=session).add(Transfer(**event))
        session.commit()
    return {}


def bulk_insert(event, context):
    with config.get_session() as session:
        added = Entries(session=session).add_many([Entry(**row) for row in event["rows"]])
        session.commit()
    return {"count": len(added)}


def bulk_upsert(event, context):
    with config.get_session() as session:
        Entries(session=session).upsert_many([Entry(**row) for row in event["rows"]])
        session.commit()
    return {}


def bulk_update(event, context):
    rows = [Entry(id=row["id"], balance=row["balance"]) for row in event["rows"]]
    with config.get_session() as session:
        Entries(session=session).update_many(rows)
        session.commit()
    return {}


def bulk_purge(event, context):
    with config.get_session() as session:
        gone = Entries(session=session).delete_where(Entry.balance >= event["from"])
        session.commit()
    return {"count": len(gone)}


def page(event, context):
    with config.get_session() as session:
        found = Lines(session=session).get_many(
            LimitOffset(limit=event["limit"], offset=event["after"]), OrderBy("id", "asc")
        )
        return {"rows": [shown(line) for line in found]}
