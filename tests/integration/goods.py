"""The tables that the tests of writing work on, and a count of what is sent for them."""

from __future__ import annotations

import contextlib
import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dal import Database, Repository
from dal.engine import Settings, create_engine
from dal.model import Timestamps, UUIDKey, Versioned
from dal.testing.proxy import Proxy

BIN = "utf8mb4_bin"


class Base(DeclarativeBase):
    """Of its own: other tests need not create these tables."""


class Good(Base):
    """A key that the server counts up, a natural key, a Python-side default."""

    __tablename__ = "good"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(60, collation=BIN), unique=True)
    name: Mapped[str] = mapped_column(sa.String(200, collation=BIN), default="nameless")
    stock: Mapped[int] = mapped_column(sa.CheckConstraint("stock >= 0"), default=0)
    note: Mapped[str | None] = mapped_column(sa.String(60))
    prices: Mapped[list[Price]] = relationship(back_populates="good", cascade="all, delete-orphan")


class Price(Base):
    __tablename__ = "price"
    id: Mapped[int] = mapped_column(primary_key=True)
    good_id: Mapped[int] = mapped_column(sa.ForeignKey(Good.id))
    cents: Mapped[int] = mapped_column(default=0)
    good: Mapped[Good] = relationship(back_populates="prices")


class Document(Versioned, Base):
    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(sa.String(60), unique=True)
    title: Mapped[str] = mapped_column(sa.String(60), default="")
    body: Mapped[str] = mapped_column(sa.String(60), default="")


class Visit(UUIDKey, Timestamps, Base):
    __tablename__ = "visit"
    page: Mapped[str] = mapped_column(sa.String(60))
    seen_by: Mapped[str | None] = mapped_column(sa.String(20), onupdate=lambda: "an update")


class Seat(Base):
    """A key of several columns, and another unique key that can catch a row."""

    __tablename__ = "seat"
    __table_args__ = (sa.Index("one_seat_each", "person", unique=True),)
    row: Mapped[int] = mapped_column("row_no", primary_key=True, autoincrement=False)
    place: Mapped[str] = mapped_column(sa.String(5), primary_key=True)
    person: Mapped[str | None] = mapped_column(sa.String(20))


class Hit(Base):
    """A natural key and none that is counted up."""

    __tablename__ = "hit"
    page: Mapped[str] = mapped_column(sa.String(60, collation=BIN), primary_key=True)
    count: Mapped[int] = mapped_column(default=0)
    last: Mapped[dt.date | None]


class Goods(Repository[Good]):
    pass


class Prices(Repository[Price]):
    pass


class Documents(Repository[Document]):
    pass


class Visits(Repository[Visit]):
    pass


class Seats(Repository[Seat]):
    pass


class Hits(Repository[Hit]):
    pass


def database(environment):
    """Return a `Database` with these tables."""
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine)
    return Database.from_env(environment)


@contextlib.contextmanager
def recorded(server, environment):
    """Give a `Database` behind a counting proxy, and a function for what was sent since.

    It returns the statements of all scopes but login's SET and COMMIT.
    """
    with Proxy(server.host, server.port) as proxy:
        through = Database.from_env(
            {"DATABASE_URL": environment["DATABASE_URL"]},
            host=proxy.host,
            port=proxy.port,
            tls="disabled",
            max_statement_bytes=through_bytes,
        )

        def sent():
            assert proxy.wait_closed()
            statements = [text for trace in proxy.connections for text in trace.statements]
            proxy.reset()
            return [
                text for text in statements if not text.startswith("SET NAMES") and text != "COMMIT"
            ]

        yield through, sent


through_bytes = 16_000
