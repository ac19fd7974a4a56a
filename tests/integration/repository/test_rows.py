"""Rows come as PyMySQL reads them, however long they are and wherever the buffer ends."""

import random

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

from dal import ConnectionLost, Database, everything
from dal.testing.proxy import Proxy

LENGTHS = [None, 0, 1, 249, 250, 251, 252, 253, 254, 255, 256, 1000, 65_535, 65_536, 70_000]


@pytest.fixture
def engine(environment):
    return Database.from_env(environment).engine


@pytest.fixture
def things(admin):
    """A table of values of every kind of length, in an order that changes where buffers end."""
    shuffled = random.Random(7)
    rows = []
    for key in range(1, 400):
        length = shuffled.choice(LENGTHS if key % 5 == 0 else LENGTHS[:8])
        text = None if length is None else "é" * (length // 2) + "x" * (length % 2)
        rows.append((key, text, None if key % 3 else key / 7, None))
    with admin.cursor() as cursor:
        cursor.execute("CREATE TABLE thing (id INT, note MEDIUMTEXT, part DOUBLE, gone DATE)")
        cursor.executemany("INSERT INTO thing VALUES (%s, %s, %s, %s)", rows)
    return rows


def read_by(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


QUERIES = [
    "SELECT * FROM thing ORDER BY id",
    "SELECT note FROM thing ORDER BY id DESC",
    "SELECT gone, id FROM thing ORDER BY id",
    "SELECT id FROM thing WHERE id < 0",
    "SELECT ''",
    "SELECT NULL",
    "SELECT a.id, a.note, b.id FROM thing a JOIN thing b ON b.id < 40 ORDER BY a.id, b.id",
]


@pytest.mark.parametrize("sql", QUERIES)
def test_rows_are_those_that_pymysql_reads(engine, admin, things, sql):
    with engine.connect() as connection:
        found = connection.exec_driver_sql(sql).all()
    assert [tuple(row) for row in found] == list(read_by(admin, sql))


@pytest.mark.usefixtures("things")
def test_a_row_of_over_16_megabytes_comes_whole_with_its_neighbours(engine, server):
    sql = "SELECT id, IF(id = 3, REPEAT('x', 17 << 20), 'y') FROM thing WHERE id < 6 ORDER BY id"
    with engine.connect() as connection:
        found = connection.exec_driver_sql(sql).all()
    assert [(key, len(text)) for key, text in found] == [
        (1, 1), (2, 1), (3, 17 << 20), (4, 1), (5, 1),
    ]  # fmt: skip


@pytest.mark.usefixtures("things")
def test_an_error_after_some_rows_is_that_error(engine):
    # A subquery of two rows, met at the 300th: the server has sent rows by then.
    sql = (
        "SELECT id, REPEAT('x', 2000), IF(id < 300, 1, (SELECT 1 UNION SELECT 2)) "
        "FROM thing WHERE note IS NULL OR id > 0"
    )
    with engine.connect() as connection:
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.exec_driver_sql(sql).all()
        assert caught.value.orig.args[0] == 1242
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


def test_a_stream_gives_the_same_rows(engine, things):
    with engine.connect().execution_options(stream_results=True) as connection:
        found = connection.exec_driver_sql("SELECT id, note FROM thing ORDER BY id")
        assert [tuple(row) for row in found] == [row[:2] for row in things]


def test_a_line_cut_among_the_rows_is_a_lost_connection(server, environment, db):
    accounts = Accounts(db)
    with db.scope():
        accounts.insert_many({"id": key, "owner": f"{key:050}"} for key in range(1, 20_001))
    with Proxy(server.host, server.port) as proxy:
        cut = Database(
            environment["DATABASE_URL"], host=proxy.host, port=proxy.port, tls="disabled"
        )
        fault = proxy.on(2, "drip", answer=True, interval=0.0005, cut_after=0.3)
        with pytest.raises(ConnectionLost), cut.scope(read_only=True):
            Accounts(cut).rows(Account.id, Account.owner, where=everything())
    assert fault is not None
