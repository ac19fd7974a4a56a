"""A deadline is kept whatever the line is like, and a statement that is given up is killed once."""

import time

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

from dal import Database, DeadlineExceeded, StatementTimeout
from dal.testing.proxy import Proxy
from dal.wire import killing

OVERRUN = 0.25


@pytest.fixture(params=["none", "warm"])
def line(request, server, environment, db):
    with Proxy(server.host, server.port) as proxy:
        database = Database.from_env(
            environment, host=proxy.host, port=proxy.port, tls="disabled", pool=request.param
        )
        yield proxy, database
        database.engine.dispose()


def overrun(database, seconds, work):
    """Return by how many seconds a scope, given up in `work`, ends after its deadline."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded), database.scope(deadline=seconds) as session:
        work(session)
    return time.monotonic() - began - seconds


def sleep(session):
    session.execute(sa.text("DO SLEEP(4)"))


@pytest.mark.parametrize("round_trip", [0.0, 0.01, 0.07, 0.2])
def test_a_statement_is_given_up_at_the_deadline_however_slow_the_line(line, round_trip):
    proxy, database = line
    with database.scope() as session:
        session.execute(sa.text("SELECT 1"))
    proxy.latency = round_trip
    proxy.reset()
    assert overrun(database, 1.5, sleep) <= OVERRUN
    assert len(proxy.connections) <= 2


def test_what_is_given_up_is_killed(line, admin, monkeypatch):
    monkeypatch.setattr(killing, "LIMIT", 5.0)  # a busy machine takes its time
    proxy, database = line
    overrun(database, 0.5, sleep)
    end = time.monotonic() + 1
    running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'DO SLEEP(4)'"
    with admin.cursor() as cursor:
        while cursor.execute(running) and cursor.fetchone() != (0,):
            assert time.monotonic() < end
            time.sleep(0.02)
    assert len(proxy.connections) == 2


@pytest.mark.parametrize("action", ["stall", "swallow", "drip"])
def test_a_server_that_hangs_after_each_login_costs_two_connections(line, action):
    proxy, database = line
    with database.scope() as session:
        session.execute(sa.text("SELECT 1"))
        proxy.on(b"SLEEP", action, times=None)
        proxy.on(b"dal_ours", action, times=None)
    proxy.reset()
    assert overrun(database, 1.0, sleep) <= OVERRUN
    assert len(proxy.connections) <= 2


def test_a_statement_that_the_deadline_kept_from_being_sent_is_not_killed(line):
    proxy, database = line

    def too_late(session):
        session.execute(sa.text("SELECT 1"))
        time.sleep(0.3)
        proxy.reset()
        session.execute(sa.text("DO 1"))

    assert overrun(database, 0.2, too_late) <= 0.1 + OVERRUN
    assert proxy.connections == []


@pytest.mark.parametrize("action", ["stall", "drip"])
def test_a_limit_of_the_statement_is_kept_as_well(line, action, environment):
    proxy, _ = line
    database = Database.from_env(
        environment, host=proxy.host, port=proxy.port, tls="disabled", statement_timeout=0.1
    )
    proxy.on(b"DO 1", action, answer=True, interval=0.3, times=None)
    began = time.monotonic()
    with pytest.raises(StatementTimeout), database.scope() as session:
        session.execute(sa.text("DO 1"))
    assert time.monotonic() - began < 0.1 + 1.0 + OVERRUN
    assert len(proxy.connections) <= 2


@pytest.mark.parametrize("action", ["stall", "swallow", "drip"])
def test_many_rows_and_their_commit_end_with_the_deadline(line, action):
    proxy, database = line
    accounts = Accounts(database)
    proxy.on(b"INSERT", action, answer=True, interval=0.3, times=None)

    def insert(_):
        accounts.add_all(Account(owner=f"owner {n}") for n in range(100))

    assert overrun(database, 0.7, insert) <= OVERRUN
    assert len(proxy.connections) <= 2


class Context:
    def get_remaining_time_in_millis(self):
        return 700


def by_scope(database, work):
    with database.scope(deadline=0.2):
        work()


def by_run(database, work):
    database.run(work, deadline=0.2, attempts=3)


def by_handler(database, work):
    database.handler(lambda event, context: work())({}, Context())


@pytest.mark.parametrize("moment", ["connect", "statement", "lock", "commit"])
@pytest.mark.parametrize(
    ("start", "whose"),
    [
        (by_scope, r"of the scope \(its deadline=\) passed"),
        (by_run, r"of db.run\(\) \(its deadline=\) passed"),
        (by_handler, r"of the invocation \(its remaining time less reserve\) passed"),
    ],
)
def test_the_error_names_whose_deadline_it_was(line, admin, start, whose, moment):
    proxy, database = line
    admin.cursor().execute("INSERT INTO account (id, owner, balance) VALUES (1, 'ada', 1)")

    def work():
        if moment == "lock":
            database.session.execute(sa.text("SELECT * FROM account FOR UPDATE"))
        elif moment == "statement":
            database.session.execute(sa.text("SELECT SLEEP(2) FROM account"))
        else:
            database.session.execute(sa.text("SELECT 1"))
            time.sleep(0.3)

    if moment == "connect":
        proxy.on("greeting", "stall", times=None)
    if moment == "lock":
        admin.begin()
        admin.cursor().execute("SELECT * FROM account FOR UPDATE")
    with pytest.raises(DeadlineExceeded, match=whose):
        start(database, work)
    admin.rollback()
