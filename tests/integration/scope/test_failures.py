"""Half a transaction is never stored: deadlocks, lock waits, lost connections, lost answers."""

import contextlib
import threading
import time

import pymysql
import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

from dal import (
    CommitOutcomeUnknown,
    ConnectionLost,
    Database,
    DeadlineExceeded,
    Deadlock,
    LockNotAvailable,
    LockWaitTimeout,
    StatementTimeout,
)
from dal.testing.proxy import Proxy


def balances(admin):
    with admin.cursor() as cursor:
        cursor.execute("SELECT owner, balance FROM account ORDER BY owner")
        return dict(cursor.fetchall())


@pytest.fixture
def accounts(db, admin):
    with admin.cursor() as cursor:
        cursor.execute(
            "INSERT INTO account (owner, balance) VALUES ('ada', 0), ('bob', 0), ('cy', 0)"
        )
    return Accounts(db)


@pytest.fixture
def rival(server, database, accounts):
    """A connection in a transaction that holds bob and is heavy: InnoDB keeps it in a deadlock."""
    connection = server.connect(database, autocommit=False)
    cursor = connection.cursor()
    cursor.execute("UPDATE account SET balance = 100 WHERE owner = 'bob'")
    cursor.executemany(
        "INSERT INTO account (owner, balance) VALUES (%s, 0)",
        [(f"heavy {number}",) for number in range(50)],
    )
    yield cursor
    with contextlib.suppress(pymysql.Error):
        connection.rollback()
    connection.close()


@contextlib.contextmanager
def waiting_for_ada(rival, admin):
    """Let the rival wait for ada, whom the scope holds: the scope's next step to bob deadlocks."""
    thread = threading.Thread(
        target=lambda: rival.execute("UPDATE account SET balance = 100 WHERE owner = 'ada'")
    )
    thread.start()
    try:
        for _ in range(100):
            time.sleep(0.12)  # InnoDB serves this view from a cache, renewed after 0.1 s unread
            with admin.cursor() as cursor:
                cursor.execute(
                    "SELECT COUNT(*) FROM information_schema.innodb_trx "
                    "WHERE trx_state = 'LOCK WAIT'"
                )
                if cursor.fetchone()[0]:
                    break
        else:
            pytest.fail("the rival does not wait for ada")
        yield
    finally:
        thread.join()
        rival.connection.rollback()


def take(session, owner):
    session.execute(
        sa.text("UPDATE account SET balance = balance + 1 WHERE owner = :o").bindparams(o=owner)
    )


class TestDeadlock:
    def test_swallowed_on_a_core_statement_stores_nothing(self, db, accounts, rival, admin):
        with pytest.raises(Deadlock) as left, db.scope() as session:
            take(session, "ada")
            with waiting_for_ada(rival, admin), pytest.raises(Deadlock) as caught:
                take(session, "bob")
            with pytest.raises(Deadlock):
                take(session, "cy")
        assert left.value is caught.value
        assert (left.value.errno, left.value.transient, left.value.transaction_lost) == (
            1213,
            True,
            True,
        )
        assert isinstance(left.value.__cause__, pymysql.OperationalError)
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    def test_swallowed_on_a_flush_stores_nothing(self, db, accounts, rival, admin):
        with pytest.raises(Deadlock) as left, db.scope() as session:
            take(session, "ada")
            bob = accounts.of("bob")
            bob.balance = 7
            with waiting_for_ada(rival, admin), pytest.raises(Deadlock) as caught:
                session.flush()
            with pytest.raises(Deadlock):
                take(session, "cy")
        assert left.value is caught.value
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    @pytest.mark.parametrize("by", ["core", "flush"])
    def test_inside_a_savepoint_shows_as_1213_and_stores_nothing(
        self, db, accounts, rival, admin, by
    ):
        with pytest.raises(Deadlock) as left, db.scope() as session:
            take(session, "ada")
            with waiting_for_ada(rival, admin), pytest.raises(Deadlock) as caught, db.savepoint():
                if by == "core":
                    take(session, "bob")
                else:
                    accounts.of("bob").balance = 7
                    session.flush()
            assert caught.value.errno == 1213
            with pytest.raises(Deadlock):
                take(session, "cy")
            with pytest.raises(Deadlock), db.savepoint():
                pytest.fail("not reached")
        assert left.value is caught.value
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    def test_swallowed_inside_a_savepoint_shows_as_1213_too(self, db, accounts, rival, admin):
        with pytest.raises(Deadlock) as left, db.scope() as session:
            take(session, "ada")
            with waiting_for_ada(rival, admin), db.savepoint(), pytest.raises(Deadlock) as caught:
                take(session, "bob")
        assert left.value is caught.value
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    def test_on_a_raw_cursor_stores_nothing(self, db, accounts, rival, admin):
        with pytest.raises(Deadlock), db.scope() as session:
            take(session, "ada")
            cursor = session.connection().connection.cursor()
            with waiting_for_ada(rival, admin), pytest.raises(pymysql.OperationalError):
                cursor.execute("UPDATE account SET balance = 1 WHERE owner = 'bob'")
            with pytest.raises(Deadlock):
                take(session, "cy")
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}


class TestLockWait:
    @pytest.fixture
    def db(self, db, environment):
        return Database.from_env(environment, lock_wait_timeout=1)

    @pytest.mark.parametrize("by", ["core", "flush", "savepoint"])
    def test_swallowed_stores_nothing(self, db, accounts, rival, admin, by):
        accounts = Accounts(db)
        began = time.monotonic()
        with pytest.raises(LockWaitTimeout) as left, db.scope() as session:
            take(session, "ada")
            with pytest.raises(LockWaitTimeout) as caught:
                if by == "core":
                    take(session, "bob")
                elif by == "flush":
                    accounts.of("bob").balance = 7
                    session.flush()
                else:
                    with db.savepoint():
                        take(session, "bob")
            with pytest.raises(LockWaitTimeout):
                take(session, "cy")
        assert left.value is caught.value
        assert left.value.errno == 1205
        assert time.monotonic() - began < 5
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    @pytest.mark.mysql("NOWAIT is refused with 3572, not 1205")
    def test_nowait_leaves_the_scope_usable(self, db, accounts, rival, admin):
        with db.scope() as session:
            take(session, "ada")
            with pytest.raises(LockNotAvailable):
                session.execute(
                    sa.select(Account).where(Account.owner == "bob").with_for_update(nowait=True)
                ).all()
            take(session, "cy")
        assert balances(admin) == {"ada": 1, "bob": 0, "cy": 1}


class TestLostConnection:
    def kill(self, session, admin):
        number = session.connection().connection.dbapi_connection.thread_id()
        with admin.cursor() as cursor:
            cursor.execute(f"KILL {number}")
            while cursor.execute(
                "SELECT 1 FROM information_schema.processlist WHERE id = %s", (number,)
            ):
                time.sleep(0.01)

    def test_between_two_statements_stores_nothing(self, db, accounts, admin):
        with pytest.raises(ConnectionLost) as left, db.scope() as session:
            take(session, "ada")
            self.kill(session, admin)
            with pytest.raises(ConnectionLost) as caught:
                take(session, "bob")
            with pytest.raises(ConnectionLost):
                take(session, "cy")
        assert left.value is caught.value
        assert left.value.transient
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    def test_before_commit_fails_the_scope(self, db, accounts, admin):
        with pytest.raises((ConnectionLost, CommitOutcomeUnknown)), db.scope() as session:
            take(session, "ada")
            self.kill(session, admin)
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    def test_inside_a_savepoint_stores_nothing(self, db, accounts, admin):
        with pytest.raises(ConnectionLost), db.scope() as session:
            take(session, "ada")
            with pytest.raises(ConnectionLost), db.savepoint():
                self.kill(session, admin)
                take(session, "bob")
            with pytest.raises(ConnectionLost):
                take(session, "cy")
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    def test_a_read_only_scope_says_so(self, db, accounts, admin):
        with pytest.raises(ConnectionLost), db.scope(read_only=True) as session:
            session.scalar(sa.select(1))
            self.kill(session, admin)
            session.scalar(sa.select(1))


class TestTimeLimits:
    def test_a_slow_select_is_ended_by_the_server(self, environment, db, accounts):
        db = Database.from_env(environment, statement_timeout=0.5)
        began = time.monotonic()
        slow = "SELECT BENCHMARK(1000000000, SHA2('x', 512)) FROM account"
        with pytest.raises(StatementTimeout), db.scope() as session:
            session.execute(sa.text(slow)).all()
        assert time.monotonic() - began < 3

    def test_a_slow_write_is_given_up_and_rolled_back(self, environment, db, accounts, admin):
        db = Database.from_env(environment, statement_timeout=0.5)
        began = time.monotonic()
        with pytest.raises(StatementTimeout) as left, db.scope() as session:
            take(session, "cy")
            with pytest.raises(StatementTimeout):
                session.execute(
                    sa.text("UPDATE account SET balance = 1 + SLEEP(3) WHERE owner = 'ada'")
                )
        assert left.value.transaction_lost
        assert time.monotonic() - began < 3
        time.sleep(max(0.0, 3.5 - (time.monotonic() - began)))
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    def test_a_deadline_bounds_a_statement(self, db, accounts, admin):
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded), db.scope(deadline=1.0) as session:
            take(session, "ada")
            session.execute(sa.text("DO SLEEP(10)"))
        assert time.monotonic() - began < 2
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    def test_a_deadline_bounds_a_lock_wait(self, db, accounts, rival, admin):
        began = time.monotonic()
        with pytest.raises((DeadlineExceeded, LockWaitTimeout)), db.scope(deadline=1.0) as session:
            take(session, "bob")
        assert time.monotonic() - began < 2

    def test_no_commit_is_sent_after_the_deadline(self, db, accounts, admin):
        with pytest.raises(DeadlineExceeded), db.scope(deadline=0.5) as session:
            take(session, "ada")
            time.sleep(0.6)
        assert balances(admin) == {"ada": 0, "bob": 0, "cy": 0}

    def test_a_deadline_that_has_passed_opens_nothing(self, db, accounts, connections):
        with pytest.raises(DeadlineExceeded), db.scope(deadline=0) as session:
            session.scalar(sa.select(1))
        assert connections() == 0

    def test_the_servers_limits_follow_a_deadline_that_draws_near(self, db, accounts):
        limits = sa.text("SELECT @@wait_timeout, @@innodb_lock_wait_timeout")
        with db.scope(deadline=3.0) as session:
            assert session.execute(limits).one() == (4, 2)
            time.sleep(2.1)
            assert session.execute(limits).one() in {(1, 1), (2, 1)}

    def test_they_follow_it_after_a_long_statement_as_well(self, server, environment, accounts):
        slow = sa.text("UPDATE account SET balance = SLEEP(1.1) WHERE owner = 'ada'")
        with Proxy(server.host, server.port) as proxy:
            db = database_through(proxy, environment)
            with db.scope(deadline=8.5) as session:
                assert session.execute(slow).rowcount == 1  # the UPDATE's, not the SET's
                sent = proxy.connections[0].statements
                assert sent[-1].startswith("SET lock_wait_timeout")
                assert ", wait_timeout=9" in sent[0]
                assert ", wait_timeout=9" not in sent[-1]

    def test_a_statement_that_was_given_up_does_not_run_on(
        self, environment, db, accounts, admin, monkeypatch
    ):
        monkeypatch.setattr("dal.wire.killing.LIMIT", 5.0)  # a busy machine takes its time
        db = Database.from_env(environment, statement_timeout=0.5)
        with pytest.raises(StatementTimeout), db.scope() as session:
            take(session, "cy")
            session.execute(
                sa.text("UPDATE account SET balance = 1 + SLEEP(30) WHERE owner = 'ada'")
            )
        began = time.monotonic()
        with admin.cursor() as cursor:  # waits for the locks, where they are held still
            cursor.execute("UPDATE account SET balance = 9")
        assert time.monotonic() - began < 1

    def test_a_silent_function_loses_its_locks(self, environment, db, accounts, admin):
        db = Database.from_env(environment, idle_timeout=1)
        with pytest.raises((ConnectionLost, CommitOutcomeUnknown)), db.scope() as session:
            take(session, "ada")
            time.sleep(2.5)
            with admin.cursor() as cursor:
                cursor.execute("UPDATE account SET balance = 9 WHERE owner = 'ada'")
        assert balances(admin)["ada"] == 9


class TestLostAnswerToCommit:
    """Without TLS, so that the proxy can read what is COMMIT."""

    def test_is_an_error_of_its_own_and_never_repeated(self, server, environment, accounts, admin):
        with Proxy(server.host, server.port) as proxy:
            db = database_through(proxy, environment, statement_timeout=1)
            proxy.on(3, "swallow")  # SET, UPDATE, COMMIT
            with pytest.raises(CommitOutcomeUnknown) as left, db.scope() as session:
                take(session, "ada")
            assert not left.value.transient
            assert sum(trace.statements.count("COMMIT") for trace in proxy.connections) == 1
        assert balances(admin)["ada"] == 1

    def test_a_commit_that_never_left_is_no_riddle(self, server, environment, accounts, admin):
        with Proxy(server.host, server.port) as proxy:
            db = database_through(proxy, environment, statement_timeout=1)
            with pytest.raises(ConnectionLost), db.scope() as session:
                take(session, "ada")
                session.connection().connection.dbapi_connection.drop()
        assert balances(admin)["ada"] == 0


def database_through(proxy, environment, **settings):
    return Database.from_env(
        environment | {"DAL_TLS": "disabled"}, host=proxy.host, port=proxy.port, **settings
    )
