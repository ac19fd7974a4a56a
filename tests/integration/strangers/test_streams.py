"""A stream that is left before its end, on a line that drips until the deadline."""

import gc
import time
import warnings

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts
from pymysql.cursors import SSCursor

from dal import Database, DeadlineExceeded
from dal.testing.proxy import Proxy

DEADLINE = 0.4
OVERRUN = 0.25
OPTIONS = {"yield_per": 1}
READ = sa.text("SELECT owner FROM account")


class Left(Exception):
    """What user code raises in the middle of a stream."""


def executed(database):
    yield from database.session.execute(READ, execution_options=OPTIONS)


def streamed(database):
    return Accounts(database).stream(chunk=100)


def by_the_driver(database):
    cursor = database.session.connection().connection.cursor(SSCursor)
    cursor.execute("SELECT owner FROM account")
    return iter(cursor.fetchone, None)


@pytest.fixture(params=["none", "warm"])
def line(request, server, environment, db):
    accounts = Accounts(db)
    with db.scope():
        accounts.insert_many({"owner": f"{n:0>30}"} for n in range(3000))
    with Proxy(server.host, server.port) as proxy:
        database = Database.from_env(
            environment, host=proxy.host, port=proxy.port, tls="disabled", pool=request.param
        )
        yield proxy, database
        database.engine.dispose()


@pytest.fixture(autouse=True)
def unraisable(monkeypatch):
    """What Python could not raise, as it came up while something was collected."""
    met = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: met.append(repr(args.exc_value)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield met
        gc.collect()
    assert met == []


def leave(database, rows, *, by, holds):
    """Leave a stream after its first row, which somebody may hold still."""
    held = []
    with database.scope(deadline=DEADLINE):
        stream = rows(database)
        if holds:
            held.append(stream)
        next(stream)
        if by is not None:
            raise by
        del stream


def drip(proxy):
    proxy.on(b"FROM account", "drip", answer=True, interval=0.002, times=None)


@pytest.mark.parametrize("rows", [executed, streamed, by_the_driver])
@pytest.mark.parametrize("holds", [False, True], ids=["collected", "held"])
def test_a_break_ends_with_the_deadline_and_by_its_name(line, rows, holds):
    proxy, database = line
    drip(proxy)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        leave(database, rows, by=None, holds=holds)
    assert time.monotonic() - began - DEADLINE <= OVERRUN


@pytest.mark.parametrize("rows", [executed, by_the_driver])
@pytest.mark.parametrize("holds", [False, True], ids=["collected", "held"])
def test_an_exception_in_the_middle_leaves_as_it_is_and_in_time(line, rows, holds):
    proxy, database = line
    drip(proxy)
    began = time.monotonic()
    with pytest.raises(Left):
        leave(database, rows, by=Left(), holds=holds)
    assert time.monotonic() - began - DEADLINE <= OVERRUN


def test_what_was_written_before_is_not_stored(line, admin):
    proxy, database = line
    drip(proxy)
    with pytest.raises(DeadlineExceeded), database.scope(deadline=DEADLINE):
        Accounts(database).add(Account(owner="ada"))
        next(executed(database))
    with admin.cursor() as cursor:
        assert cursor.execute("SELECT * FROM account WHERE owner = 'ada'") == 0
