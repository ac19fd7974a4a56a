"""SQLAlchemy by the book: NullPool and `isolation_level`, as its documentation has them.

https://docs.sqlalchemy.org/en/21/core/pooling.html (NullPool)
https://docs.sqlalchemy.org/en/21/orm/queryguide/dml.html (bulk INSERT, UPDATE by primary key)
"""

import address
from sqlalchemy import URL, String, create_engine, delete, insert, select, update
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.pool import NullPool


class Base(DeclarativeBase):
    pass


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


engine = create_engine(
    URL.create(
        "mysql+pymysql",
        address.USER,
        address.PASSWORD,
        address.HOST,
        address.PORT,
        address.NAME,
    ),
    poolclass=NullPool,
    isolation_level="READ COMMITTED",
    connect_args={"ssl": {"ca": address.CA}} if address.CA else {"ssl_disabled": True},
)
Session = sessionmaker(engine)


def shown(row):
    return {"id": row.id, "owner": row.owner, "balance": row.balance}


def read_one(event, context):
    with Session.begin() as session:
        return shown(session.get(Account, event["id"]))


def read_100(event, context):
    with Session.begin() as session:
        found = session.scalars(select(Account).order_by(Account.id).limit(100))
        return {"rows": [shown(account) for account in found]}


def insert_one(event, context):
    with Session.begin() as session:
        transfer = Transfer(**event)
        session.add(transfer)
        session.flush()
        return {"id": transfer.id}


def read_modify_write(event, context):
    with Session.begin() as session:
        account = session.get(Account, event["source"], with_for_update=True)
        account.balance += event["amount"]
        return {"balance": account.balance}


def five_statements(event, context):
    with Session.begin() as session:
        source = session.get(Account, event["source"])
        target = session.get(Account, event["target"])
        source.balance -= event["amount"]
        target.balance += event["amount"]
        session.add(Transfer(**event))
    return {}


def bulk_insert(event, context):
    with Session.begin() as session:
        session.execute(insert(Entry), event["rows"])
    return {"count": len(event["rows"])}


def bulk_upsert(event, context):
    statement = mysql.insert(Entry)
    statement = statement.on_duplicate_key_update(
        owner=statement.inserted.owner, balance=statement.inserted.balance
    )
    with Session.begin() as session:
        session.execute(statement, event["rows"])
    return {}


def bulk_update(event, context):
    with Session.begin() as session:
        session.execute(update(Entry), event["rows"])
    return {}


def bulk_purge(event, context):
    with Session.begin() as session:
        return {
            "count": session.execute(delete(Entry).where(Entry.balance >= event["from"])).rowcount
        }


def stream(event, context):
    total = 0
    query = select(Line.id, Line.owner, Line.balance).where(Line.id <= event["rows"])
    with Session.begin() as session:
        for row in session.execute(query.execution_options(yield_per=1000)):
            total += row.balance
    return {"total": total}


def page(event, context):
    query = select(Line).order_by(Line.id).limit(event["limit"]).offset(event["after"])
    with Session.begin() as session:
        return {"rows": [shown(line) for line in session.scalars(query)]}
