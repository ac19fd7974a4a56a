"""A mapped primary key that is not one in the data: an error, and never fewer rows."""

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dal import Database, Repository, UsageError, everything
from dal.engine import Settings, create_engine


class Base(DeclarativeBase):
    """Of its own: other tests need not create these tables."""


class Sale(Base):
    """Mapped on a view of two rows for each day, and of rows without a day."""

    __tablename__ = "sale"
    day: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]


class Shop(Base):
    __tablename__ = "shop"
    id: Mapped[int] = mapped_column(primary_key=True)
    stalls: Mapped[list["Stall"]] = relationship(lazy="joined")


class Stall(Base):
    __tablename__ = "stall"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(sa.ForeignKey(Shop.id))


class Sales(Repository[Sale]):
    pass


class Shops(Repository[Shop]):
    pass


@pytest.fixture
def db(environment, admin):
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine, tables=[Shop.__table__, Stall.__table__])
    with orm.Session(engine) as session:
        session.add_all(Shop(id=key, stalls=[Stall(), Stall()]) for key in range(1, 11))
        session.commit()
    with admin.cursor() as cursor:
        cursor.execute("CREATE TABLE sold (day INT, amount INT)")
        cursor.executemany("INSERT INTO sold VALUES (%s, %s)", [(n // 2, n) for n in range(2, 22)])
        cursor.execute("CREATE VIEW sale AS SELECT day, amount FROM sold")
    return Database.from_env(environment)


READS = {
    "find": lambda sales: sales.find(everything()),
    "find with a limit": lambda sales: sales.find(limit=2, order_by=Sale.day),
    "one": lambda sales: sales.one(Sale.day == 1),
    "one_or_none": lambda sales: sales.one_or_none(Sale.day == 1),
    "get": lambda sales: sales.get(1),
    "get_one": lambda sales: sales.get_one(1),
    "get_many": lambda sales: sales.get_many([1, 2]),
    "page": lambda sales: sales.page(limit=3),
    "page that ends between": lambda sales: sales.page(limit=1),
    "stream": lambda sales: list(sales.stream(chunk=6)),
    "stream by odd chunks": lambda sales: list(sales.stream(chunk=7)),
    "stream one by one": lambda sales: list(sales.stream(chunk=1)),
    "claim": lambda sales: sales.claim(limit=5),
}


@pytest.mark.parametrize("read", READS)
def test_rows_with_one_key_are_an_error(db, read):
    with db.scope(), pytest.raises(UsageError, match=r"Sale maps \(day\) is NULL or not unique"):
        READS[read](Sales(db))


@pytest.mark.parametrize("read", ["find", "page", "stream", "claim"])
def test_rows_without_a_key_are_an_error(db, admin, read):
    with admin.cursor() as cursor:
        cursor.execute("UPDATE sold SET day = amount")
        cursor.execute("UPDATE sold SET day = NULL WHERE amount = 5")
    with db.scope(), pytest.raises(UsageError, match="NULL or not unique"):
        READS[read](Sales(db))


def test_a_plain_session_has_the_same_answer(db):
    with orm.Session(db.engine) as session, pytest.raises(UsageError, match="not unique"):
        Sales(session).find(everything())


def test_columns_of_every_row_are_read(db):
    sales = Sales(db)
    with db.scope():
        rows = sales.rows(Sale.day, Sale.amount, where=everything())
        assert sorted(row["amount"] for row in rows) == list(range(2, 22))
        assert sales.count() == 20


def test_rows_with_keys_of_their_own_come_as_before(db):
    sales = Sales(db)
    with db.scope():
        firsts = Sale.amount % 2 == 0
        assert [sale.day for sale in sales.stream(firsts, chunk=3)] == list(range(1, 11))
        assert len(sales.find(firsts)) == 10
        assert sales.first(order_by=Sale.amount.desc()).amount == 21


@pytest.mark.parametrize("chunk", [1, 3, 5, 10, 11])
def test_rows_that_joined_loading_repeats_come_once(db, chunk):
    shops = Shops(db)
    with db.scope():
        assert len(shops.find(everything())) == 10
        assert [shop.id for shop in shops.stream(chunk=chunk)] == list(range(1, 11))
        page = shops.page(limit=4)
        assert [len(shop.stalls) for shop in page.items] == [2, 2, 2, 2]


def test_a_write_by_a_key_of_several_rows_is_an_error(db, admin):
    sales = Sales(db)
    for write in (lambda: sales.update(1, {"amount": 0}), lambda: sales.delete(1)):
        with pytest.raises(UsageError, match="2 rows have the key"), db.scope():
            write()
    with admin.cursor() as cursor:
        cursor.execute("SELECT amount FROM sold WHERE day = 1 ORDER BY amount")
        assert cursor.fetchall() == ((2,), (3,))


def test_a_purge_leaves_no_row_out(db, admin):
    sales = Sales(db)
    assert sales.purge_where(Sale.day < 4, chunk=1) == 6
    with admin.cursor() as cursor:
        cursor.execute("UPDATE sold SET day = NULL WHERE amount = 9")
    with pytest.raises(UsageError, match=r"use delete_where\(\)"):
        sales.purge_where(everything(), chunk=3)
    with db.scope():
        assert sales.delete_where(everything()) == 14
