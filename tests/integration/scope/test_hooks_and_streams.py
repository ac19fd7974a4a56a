"""SQLAlchemy's own hooks, streams and bulk statements break no promise of the scope."""

import os
import threading

import pymysql
import pytest
import sqlalchemy as sa
from accounts import Account, Accounts
from sqlalchemy import event

from dal import (
    CommitOutcomeUnknown,
    Database,
    DuplicateKey,
    LockWaitTimeout,
    TransactionControl,
    UnflushedChanges,
    UsageError,
    WrongThread,
)


@pytest.fixture
def accounts(db, admin):
    with admin.cursor() as cursor:
        cursor.execute("INSERT INTO account VALUES (1, 'ada', 0), (2, 'bob', 0), (3, 'cy', 0)")
    return Accounts(db)


@pytest.fixture
def stored(admin):
    def look():
        with admin.cursor() as cursor:
            cursor.execute("SELECT owner, balance FROM account ORDER BY id")
            return dict(cursor.fetchall())

    return look


UNTOUCHED = {"ada": 0, "bob": 0, "cy": 0}


class TestHooksOfTheSession:
    def test_an_error_swallowed_before_commit_stores_nothing(
        self, environment, accounts, stored, server, database
    ):
        db = Database.from_env(environment, lock_wait_timeout=1)
        rival = server.connect(database, autocommit=False)
        rival.cursor().execute("UPDATE account SET balance = 5 WHERE id = 2")
        with pytest.raises(LockWaitTimeout), db.scope() as session:

            @event.listens_for(session, "before_commit")
            def take(session):
                with pytest.raises(LockWaitTimeout):
                    session.execute(sa.text("UPDATE account SET balance = 10 WHERE id = 2"))

            session.execute(sa.text("UPDATE account SET balance = 90 WHERE id = 1"))
        rival.rollback()
        rival.close()
        assert stored() == UNTOUCHED

    def test_a_savepoint_undone_before_commit_stays_undone(self, db, accounts, stored):
        with db.scope() as session:

            @event.listens_for(session, "before_commit")
            def hook(session):
                nested = session.connection().begin_nested()
                session.connection().execute(sa.text("UPDATE account SET balance = 7"))
                nested.rollback()

            session.execute(sa.text("UPDATE account SET balance = 1 WHERE id = 1"))
        assert stored() == UNTOUCHED | {"ada": 1}

    def test_one_that_fails_after_commit_is_logged_and_the_answer_stands(
        self, db, accounts, stored, caplog
    ):
        ran = []
        with db.scope() as session:
            db.after_commit(lambda: ran.append(1))

            @event.listens_for(session, "after_commit")
            def hook(session):
                raise ValueError("too late")

            session.execute(sa.text("UPDATE account SET balance = 1 WHERE id = 1"))
        assert stored() == UNTOUCHED | {"ada": 1}
        assert ran == [1]
        assert "too late" in caplog.text

    def test_what_one_changes_after_a_flush_survives_the_read_that_flushed(
        self, db, accounts, stored
    ):
        with db.scope() as session:

            @event.listens_for(session, "after_flush_postexec")
            def stamp(session, context):
                for account in list(session.identity_map.values()):
                    if account.balance == 99:
                        account.balance = 100

            ada = accounts.get_one(1)
            ada.balance = 99
            accounts.find(Account.id == 1)
        assert stored()["ada"] == 100


class TestStreams:
    def test_a_statement_in_the_middle_is_refused_and_loses_no_row(self, db, accounts):
        with db.scope() as session:
            accounts.add_all([Account(owner=f"more {number}") for number in range(50)])
            rows = session.execute(
                sa.text("SELECT id FROM account"), execution_options={"stream_results": True}
            )
            assert rows.fetchone() is not None
            with pytest.raises(UsageError, match=r"stream\(\)"):
                session.execute(sa.text("SELECT 1"))
            assert len(rows.fetchall()) == 52

    def test_changes_between_two_chunks_are_not_overwritten(self, db, accounts, stored):
        with db.scope() as session:
            held = accounts.get_one(3)
            query = sa.select(Account).order_by(Account.id).execution_options(yield_per=1)
            with pytest.raises(UnflushedChanges, match="fetch it first"):
                for account in session.scalars(query):
                    if account.id == 1:
                        held.balance = 99
        assert stored()["cy"] == 99

    def test_changes_between_executing_and_fetching_are_not_overwritten(self, db, accounts, stored):
        with db.scope() as session:
            ada = accounts.get_one(1)
            result = session.scalars(sa.select(Account))
            ada.balance = 99
            with pytest.raises(UnflushedChanges):
                list(result)
        assert stored()["ada"] == 99

    def test_entities_may_change_in_a_loop_over_them(self, db, accounts, stored):
        with db.scope() as session:
            for account in session.scalars(sa.select(Account)):
                account.balance = 5
        assert set(stored().values()) == {5}


class TestAutoflushOff:
    @pytest.mark.parametrize(
        "read",
        [
            lambda s: s.scalars(
                sa.select(Account)
                .from_statement(sa.text("SELECT * FROM account"))
                .execution_options(autoflush=False)
            ).all(),
            lambda s: s.query(Account).autoflush(False).all(),
            lambda s: s.scalars(sa.select(Account).execution_options(autoflush=False)).all(),
        ],
    )
    def test_by_any_spelling_such_a_read_raises_and_loses_nothing(self, db, accounts, stored, read):
        with db.scope() as session:
            ada = accounts.get_one(1)
            ada.balance = 99
            with pytest.raises(UnflushedChanges):
                read(session)
        assert stored()["ada"] == 99

    def test_the_legacy_query_gets_from_the_server(self, db, accounts, admin):
        with db.scope() as session:
            held = accounts.get_one(1)
            with admin.cursor() as cursor:
                cursor.execute("UPDATE account SET balance = 5 WHERE id = 1")
            with pytest.warns(sa.exc.LegacyAPIWarning):
                assert session.query(Account).get(1) is held
            assert held.balance == 5


class TestSeveralStatementsInOneCall:
    def test_rows_of_different_keys_are_stored_all_or_none(self, db, accounts, stored):
        rows = [
            {"id": 10, "owner": "x", "balance": 0},
            {"owner": "y", "balance": 3},
            {"id": 2, "owner": "duplicate", "balance": 0},
        ]
        with pytest.raises(DuplicateKey), db.scope() as session, pytest.raises(DuplicateKey):
            session.execute(sa.insert(Account), rows)
        assert stored() == UNTOUCHED


@pytest.mark.parametrize(
    "statement",
    [
        "SET transaction_isolation = 'REPEATABLE-READ'",
        "SET SESSION TRANSACTION READ WRITE",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET @@session.transaction_read_only = 0",
    ],
)
def test_the_transaction_keeps_its_isolation(db, statement):
    with pytest.raises(TransactionControl), db.scope(read_only=True) as session:
        session.execute(sa.text(statement))


def test_a_commit_answered_by_rubbish_is_of_unknown_outcome(db, accounts, monkeypatch):
    with pytest.raises(CommitOutcomeUnknown), db.scope() as session:
        session.execute(sa.text("UPDATE account SET balance = 1 WHERE id = 1"))
        driver = session.connection().connection.dbapi_connection

        def rubbish(*_):
            raise pymysql.InternalError("Packet sequence number wrong - got 9 expected 1")

        monkeypatch.setattr(driver, "_read_packet", rubbish)


def test_a_scope_of_one_database_left_late_harms_no_other(db, environment, accounts):
    other = Database.from_env(environment)

    def generator():
        with db.scope() as session:
            yield session

    late = generator()
    next(late)
    with other.scope() as session:
        late.close()
        assert other.session is session
        assert not db.has_scope


def test_a_forked_child_has_no_part_in_the_scope(db, accounts, stored):
    with db.scope() as session:
        session.execute(sa.text("UPDATE account SET balance = 1 WHERE id = 1"))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with pytest.raises(WrongThread):
                    session.execute(sa.text("SELECT 1"))
                with db.scope() as own:
                    assert own is not session
                    own.execute(sa.text("UPDATE account SET balance = 2 WHERE id = 2"))
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        session.execute(sa.text("UPDATE account SET balance = 3 WHERE id = 3"))
    assert stored() == {"ada": 1, "bob": 2, "cy": 3}


def test_a_connection_does_not_connect_again(db, accounts, stored):
    with db.scope() as session:
        session.execute(sa.text("UPDATE account SET balance = 1 WHERE id = 1"))
        with pytest.raises(UsageError):
            session.connection().connection.dbapi_connection.connect()
    assert stored()["ada"] == 1


def test_threads_have_scopes_of_their_own(db, accounts, stored):
    def add(owner):
        with db.scope():
            accounts.add(Account(owner=owner))

    threads = [threading.Thread(target=add, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored()) == 11
