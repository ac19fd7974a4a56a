"""What a scope costs on the wire, counted after TCP, greeting and TLS, with a warm login cache."""

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

from dal import Database
from dal.testing.proxy import Proxy


@pytest.fixture(params=["tls", "plain"])
def wire(request, server, environment, db):
    """A counting proxy, and databases in a process that has never used one of them."""
    if request.param == "tls" and server.is_mariadb:
        pytest.skip("the stand-in has no certificates")
    tls = "unverified" if request.param == "tls" else "disabled"
    variables = {"DATABASE_URL": environment["DATABASE_URL"]}
    with Proxy(server.host, server.port) as proxy:

        def database(**settings):
            return Database.from_env(
                variables, host=proxy.host, port=proxy.port, tls=tls, **settings
            )

        with database().scope() as session:  # the server's login cache
            session.scalar(sa.select(1))
        proxy.reset()
        yield proxy, database


def trips(proxy):
    assert proxy.wait_closed()
    found = [trace.round_trips for trace in proxy.connections]
    proxy.reset()
    return found


def read(db):
    with db.scope(read_only=True) as session:
        session.execute(sa.select(Account)).all()


def write(db):
    with db.scope() as session:
        session.execute(sa.insert(Account).values(owner="ada", balance=0))


def write_and_fail(db):
    with pytest.raises(ValueError, match="mine"), db.scope() as session:
        session.execute(sa.insert(Account).values(owner="bob", balance=0))
        raise ValueError("mine")


def test_a_scope_that_never_touches_the_database_opens_nothing(wire):
    proxy, database = wire
    db = database()
    for read_only in (True, False):
        with db.scope(read_only=read_only):
            pass
    assert trips(proxy) == []


@pytest.mark.parametrize(
    ("work", "cost"),
    [(read, 3), (write, 4), (write_and_fail, 4)],
    ids=["login SET SELECT", "login SET INSERT COMMIT", "login SET INSERT ROLLBACK"],
)
def test_the_first_use_in_a_process_costs_what_later_ones_do(wire, work, cost):
    proxy, database = wire
    db = database()
    work(db)
    assert trips(proxy) == [cost]
    if work is write:
        with db.scope() as session:
            session.execute(sa.delete(Account))
        proxy.reset()
    work(db)
    assert trips(proxy) == [cost]


def test_a_deadline_costs_nothing_more(wire):
    proxy, database = wire
    with database().scope(deadline=3.0) as session:
        session.execute(sa.select(Account)).all()
    assert trips(proxy) == [4]


def test_a_savepoint_costs_two(wire):
    proxy, database = wire
    db = database()
    with db.scope() as session, db.savepoint():
        session.execute(sa.insert(Account).values(owner="ada", balance=0))
    assert trips(proxy) == [6]


def test_each_method_of_a_repository_is_one_statement(wire):
    proxy, database = wire
    db = database()
    accounts = Accounts(db)
    with db.scope():
        accounts.add(Account(id=1, owner="ada"))
    assert trips(proxy) == [4]
    for call in (
        lambda: accounts.get(1),
        lambda: accounts.get_one(1),
        lambda: accounts.one(Account.owner == "ada"),
        lambda: accounts.one_or_none(Account.owner == "ada"),
        lambda: accounts.first(order_by=Account.id),
        lambda: accounts.find(limit=10),
        lambda: accounts.exists(Account.owner == "ada"),
        accounts.count,
        lambda: accounts.update(1, {"balance": 3}),
        lambda: accounts.delete(1),
    ):
        with db.scope():
            call()
        assert trips(proxy) == [4]


def test_the_statements_are_those_and_no_others(server, environment, db):
    with Proxy(server.host, server.port) as proxy:
        through = Database.from_env(
            {"DATABASE_URL": environment["DATABASE_URL"]},
            host=proxy.host,
            port=proxy.port,
            tls="disabled",
        )
        write(through)
        assert proxy.wait_closed()
        (trace,) = proxy.connections
    session_state, insert, commit = trace.statements
    assert session_state.startswith("SET NAMES utf8mb4, ")
    assert insert.startswith("INSERT INTO account")
    assert commit == "COMMIT"
