"""What a scope decides by itself: the port of its server is closed, so nothing was sent."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import decimal
import logging
import math
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from dal import (
    ConnectError,
    Database,
    DeadlineExceeded,
    InvalidArgument,
    NoActiveScope,
    ReadOnlyScope,
    RollbackOnly,
    ScopeEnded,
    TransactionControl,
    WrongThread,
)
from dal.wire.backoff import Backoff

CLOSED_PORT = "mysql://app@127.0.0.1:1/shop"


class Base(orm.DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)


@pytest.fixture(autouse=True)
def _connecting_is_tried_once(monkeypatch):
    monkeypatch.setattr(Backoff, "wait", lambda *_: False)


@pytest.fixture
def db():
    return Database(CLOSED_PORT)


def in_a_thread(function):
    """Call in another thread that has a copy of this one's context, as `asyncio.to_thread`."""
    context = contextvars.copy_context()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(context.run, function).result(5)


class TestNoScope:
    @pytest.mark.parametrize(
        "use",
        [
            lambda db: db.session,
            lambda db: db.savepoint(),
            lambda db: db.rollback_only(),
            lambda db: db.after_commit(print),
        ],
        ids=["session", "savepoint", "rollback_only", "after_commit"],
    )
    def test_is_said_with_what_to_write(self, db, use):
        with pytest.raises(NoActiveScope, match=r"@db.handler.*with db.scope\(\)"):
            use(db)
        with db.scope():
            pass
        with pytest.raises(NoActiveScope):
            use(db)

    def test_is_left_behind_by_a_scope_that_failed(self, db):
        with pytest.raises(LookupError), db.scope():
            raise LookupError
        with pytest.raises(NoActiveScope):
            _ = db.session

    def test_is_what_a_thread_of_its_own_has(self, db):
        with (
            db.scope(),
            concurrent.futures.ThreadPoolExecutor(1) as pool,
            pytest.raises(NoActiveScope),
        ):
            pool.submit(lambda: db.session).result(5)

    def test_of_this_database_is_not_mended_by_a_scope_of_another(self, db):
        with Database(CLOSED_PORT).scope(), pytest.raises(NoActiveScope):
            _ = db.session


class TestAScopeThatSendsNothing:
    def test_needs_no_server(self, db):
        with db.scope() as session:
            assert db.session is session
            session.flush()
        with db.scope(read_only=True):
            pass

    def test_needs_no_server_for_rows_that_are_only_prepared(self, db):
        with db.scope() as session:
            session.add(Item(id=1))
            session.expunge_all()

    def test_runs_its_callbacks(self, db):
        ran = []
        with db.scope():
            db.after_commit(lambda: ran.append(1))
        assert ran == [1]

    def test_needs_one_for_its_first_statement(self, db):
        with pytest.raises(ConnectError), db.scope() as session:
            session.execute(sa.text("SELECT 1"))

    def test_needs_one_at_its_end_for_what_was_added(self, db):
        with pytest.raises(ConnectError), db.scope() as session:
            session.add(Item(id=1))

    def test_may_try_again_to_connect(self, db):
        with db.scope() as session:
            for _ in range(2):
                with pytest.raises(ConnectError):
                    session.execute(sa.text("SELECT 1"))


class TestADatabase:
    def test_opens_nothing_by_itself(self, monkeypatch):
        def opened(*_, **__):
            raise AssertionError

        monkeypatch.setattr("dal.wire.network.channel.Channel.__init__", opened)
        db = Database(CLOSED_PORT)
        with db.scope():
            pass


class TestJoining:
    def test_gives_the_same_session(self, db):
        with db.scope() as outer, db.scope() as inner, db.scope() as innermost:
            assert inner is outer
            assert innermost is outer

    def test_leaves_the_outer_scope_current(self, db):
        with db.scope() as outer:
            with db.scope():
                pass
            assert db.session is outer

    def test_lets_read_only_join_a_scope_that_writes(self, db):
        with db.scope() as outer, db.scope(read_only=True) as inner:
            assert inner is outer

    def test_refuses_at_entry_to_write_inside_a_read_only_scope(self, db):
        entered = False
        with db.scope(read_only=True) as session:
            with (
                pytest.raises(ReadOnlyScope, match=r"open the outer one.*without read_only"),
                db.scope(),
            ):
                entered = True
            assert not entered
            assert db.session is session

    def test_makes_an_exception_that_leaves_the_inner_one_undo_the_outer(self, db):
        with (
            pytest.raises(RollbackOnly, match="LookupError ended a part of it") as raised,
            db.scope(),
            pytest.raises(LookupError),
            db.scope(),
        ):
            raise LookupError("of the inner scope")
        assert isinstance(raised.value.__cause__, LookupError)

    def test_makes_later_statements_raise_that_as_well(self, db):
        with pytest.raises(RollbackOnly), db.scope() as session:
            with contextlib.suppress(LookupError), db.scope():
                raise LookupError
            with pytest.raises(RollbackOnly):
                session.execute(sa.text("SELECT 1"))
            with pytest.raises(RollbackOnly), db.scope():
                pass

    def test_keeps_an_exit_from_being_swallowed(self, db):
        with (
            pytest.raises(RollbackOnly, match="SystemExit"),
            db.scope(),
            contextlib.suppress(SystemExit),
            db.scope(),
        ):
            raise SystemExit

    def test_runs_callbacks_of_the_inner_one_after_the_outer(self, db):
        order = []
        with db.scope():
            with db.scope():
                db.after_commit(lambda: order.append("callback"))
            order.append("outer")
        assert order == ["outer", "callback"]

    def test_keeps_the_deadline_of_the_outer_one(self, db):
        with (
            db.scope(deadline=0),
            db.scope(deadline=60) as session,
            pytest.raises(DeadlineExceeded),
        ):
            session.connection()

    def test_never_happens_between_two_databases(self, db):
        other = Database(CLOSED_PORT)
        with db.scope() as first, other.scope() as second:
            assert first is not second
            assert (db.session, other.session) == (first, second)
            with db.scope() as joined:
                assert joined is first
        with db.scope(read_only=True), other.scope() as written:
            assert other.session is written

    def test_never_dooms_the_scope_of_another_database(self, db):
        other = Database(CLOSED_PORT)
        ran = []
        with db.scope():
            db.after_commit(lambda: ran.append(1))
            with pytest.raises(LookupError), other.scope():
                raise LookupError
        assert ran == [1]


class TestTheEnd:
    @pytest.mark.parametrize(
        "use",
        [
            lambda session: session.execute(sa.text("SELECT 1")),
            lambda session: session.get(Item, 1),
            lambda session: session.flush(),
            lambda session: session.connection(),
            lambda session: session.scalars(sa.select(Item)),
            lambda session: session.commit(),
            lambda session: session.begin(),
        ],
        ids=["execute", "get", "flush", "connection", "scalars", "commit", "begin"],
    )
    @pytest.mark.parametrize("error", [None, LookupError()], ids=["normal", "error"])
    def test_leaves_a_session_that_says_so(self, db, use, error):
        with contextlib.suppress(LookupError), db.scope() as session:
            if error:
                raise error
        with pytest.raises(ScopeEnded, match="load what you need inside it, or open a new one"):
            use(session)

    def test_comes_for_a_later_scope_with_a_session_of_its_own(self, db):
        with db.scope() as first:
            pass
        with db.scope() as second:
            assert second is not first

    def test_lets_a_context_that_was_copied_inside_open_a_new_one(self, db):
        # As a task does that was created in a handler and runs on in the next invocation.
        with db.scope():
            context = contextvars.copy_context()

        def opened():
            with db.scope():
                return True

        assert context.run(opened)

    def test_is_no_scope_for_a_context_that_was_copied_inside(self, db):
        with db.scope():
            context = contextvars.copy_context()
        with pytest.raises(NoActiveScope):
            context.run(lambda: db.session)


class TestAnotherThread:
    @pytest.mark.parametrize(
        "use",
        [
            lambda db: db.session,
            lambda db: db.rollback_only(),
            lambda db: db.after_commit(print),
            lambda db: db.savepoint(),
        ],
        ids=["session", "rollback_only", "after_commit", "savepoint"],
    )
    def test_may_not_use_the_scope_that_it_inherits(self, db, use):
        with db.scope(), pytest.raises(WrongThread, match="open a scope of its own in each thread"):
            in_a_thread(lambda: use(db))

    @pytest.mark.parametrize(
        "use",
        [
            lambda session: session.execute(sa.text("SELECT 1")),
            lambda session: session.get(Item, 1),
            lambda session: session.flush(),
            lambda session: session.connection(),
            lambda session: session.commit(),
            lambda session: session.close(),
        ],
        ids=["execute", "get", "flush", "connection", "commit", "close"],
    )
    def test_may_not_use_a_session_that_it_was_handed(self, db, use):
        with (
            db.scope() as session,
            concurrent.futures.ThreadPoolExecutor(1) as pool,
            pytest.raises(WrongThread),
        ):
            pool.submit(use, session).result(5)

    def test_dooms_nothing_by_trying(self, db):
        ran = []
        with db.scope() as session:
            db.after_commit(lambda: ran.append(1))
            for use in (session.commit, session.flush, db.rollback_only):
                with pytest.raises(WrongThread):
                    in_a_thread(use)
        assert ran == [1]

    def test_is_what_asyncio_to_thread_runs_in(self, db):
        async def handle():
            with db.scope():
                await asyncio.to_thread(lambda: db.session)

        with pytest.raises(WrongThread):
            asyncio.run(handle())

    def test_may_open_the_scope_of_its_own_that_the_error_asks_for(self, db):
        def opened():
            with db.scope():
                return True

        with db.scope():
            assert in_a_thread(opened)

    def test_has_scopes_of_its_own(self, db):
        both_open = threading.Barrier(2, timeout=5)
        sessions = []

        def use():
            with db.scope() as session:
                both_open.wait()
                sessions.append(db.session is session and session)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(use), pool.submit(use)]:
                done.result(5)
        assert len(set(map(id, sessions))) == 2
        assert all(sessions)

    def test_is_no_coroutine_of_the_same_thread(self, db):
        async def handle(number):
            with db.scope() as session:
                await asyncio.sleep(0)
                return number, db.session is session, id(session)

        async def both():
            return await asyncio.gather(handle(1), handle(2))

        answers = asyncio.run(both())
        assert [(number, own) for number, own, _ in answers] == [(1, True), (2, True)]
        assert len({session for *_, session in answers}) == 2


class TestWhatIsTheScopes:
    DOORS = {
        "commit": lambda session: session.commit(),
        "rollback": lambda session: session.rollback(),
        "close": lambda session: session.close(),
        "reset": lambda session: session.reset(),
        "invalidate": lambda session: session.invalidate(),
        "begin": lambda session: session.begin(),
        "begin_nested": lambda session: session.begin_nested(),
        "begin, nested": lambda session: session.begin(nested=True),
        "with session": lambda session: session.__exit__(None, None, None),
        "with session.begin()": lambda session: session.begin().__enter__(),
    }

    @pytest.mark.parametrize("door", DOORS)
    def test_is_refused_with_what_to_do_instead(self, db, door):
        with (
            pytest.raises(TransactionControl, match="refused inside a scope: session"),
            db.scope() as session,
        ):
            self.DOORS[door](session)

    @pytest.mark.parametrize("door", DOORS)
    def test_dooms_the_scope_when_the_refusal_is_swallowed(self, db, door):
        ran = []
        with pytest.raises(TransactionControl) as left, db.scope() as session:
            db.after_commit(lambda: ran.append(1))
            with pytest.raises(TransactionControl) as refused:
                self.DOORS[door](session)
            with pytest.raises(TransactionControl):
                session.execute(sa.text("SELECT 1"))
        assert left.value is refused.value
        assert not ran

    @pytest.mark.parametrize(
        ("door", "instead"),
        [
            ("commit", "the scope commits at its end"),
            ("rollback", r"raise an exception or call db.rollback_only\(\)"),
            ("close", "the scope closes at its end"),
            ("begin", "the scope is the transaction"),
            ("begin_nested", r"use db.savepoint\(\)"),
            ("begin, nested", r"use db.savepoint\(\)"),
        ],
    )
    def test_has_its_own_words_for_each(self, db, door, instead):
        with pytest.raises(TransactionControl, match=instead), db.scope() as session:
            self.DOORS[door](session)

    def test_is_also_refused_in_a_read_only_scope(self, db):
        with pytest.raises(TransactionControl), db.scope(read_only=True) as session:
            session.commit()

    def test_leaves_the_first_refusal_to_leave_the_scope(self, db):
        with pytest.raises(TransactionControl, match=r"session.commit"), db.scope() as session:
            for door in (session.commit, session.rollback, session.close):
                with contextlib.suppress(TransactionControl):
                    door()


class TestReadOnly:
    @pytest.mark.parametrize(
        "change",
        [
            lambda session: session.add(Item(id=1)),
            lambda session: session.add_all([Item(), Item()]),
        ],
    )
    def test_refuses_changes_at_the_end_without_asking_the_server(self, db, change):
        with (
            pytest.raises(ReadOnlyScope, match=r"holds changes \(\d new, 0 changed, 0 deleted\)"),
            db.scope(read_only=True) as session,
        ):
            change(session)

    def test_refuses_a_flush(self, db):
        with db.scope(read_only=True) as session:
            session.add(Item(id=1))
            with pytest.raises(ReadOnlyScope, match="1 new"):
                session.flush()
            session.expunge_all()

    def test_has_no_savepoints(self, db):
        with (
            db.scope(read_only=True),
            pytest.raises(ReadOnlyScope, match="no savepoints"),
            db.savepoint(),
        ):
            pass


class TestAfterCommit:
    def test_runs_callbacks_in_their_order(self, db):
        order = []
        with db.scope():
            for number in range(5):
                db.after_commit(lambda number=number: order.append(number))
            assert not order
        assert order == [0, 1, 2, 3, 4]

    def test_runs_them_with_no_scope_active(self, db):
        found = []

        def look():
            with pytest.raises(NoActiveScope):
                _ = db.session
            with db.scope() as session:
                found.append(session)

        with db.scope() as session:
            db.after_commit(look)
        assert found
        assert found[0] is not session

    def test_logs_one_that_raises_and_runs_the_rest(self, db, caplog):
        ran = []

        def fail():
            raise LookupError("the queue is gone")

        with caplog.at_level(logging.ERROR, logger="dal"), db.scope():
            db.after_commit(lambda: ran.append(1))
            db.after_commit(fail)
            db.after_commit(lambda: ran.append(2))
        assert ran == [1, 2]
        (record,) = caplog.records
        assert record.name == "dal"
        assert record.levelno == logging.ERROR
        assert "what was committed stands" in record.message
        assert record.exc_info[0] is LookupError

    def test_logs_one_that_registers_another_too_late(self, db, caplog):
        with db.scope():
            db.after_commit(lambda: db.after_commit(print))
        assert "NoActiveScope" in caplog.text

    def test_lets_an_exit_pass_once_the_rest_have_run(self, db):
        ran = []

        def leave():
            raise SystemExit(3)

        with pytest.raises(SystemExit), db.scope():
            db.after_commit(leave)
            db.after_commit(lambda: ran.append(1))
        assert ran == [1]

    @pytest.mark.parametrize(
        "end",
        [
            lambda db: db.rollback_only(),
            lambda db: (_ for _ in ()).throw(LookupError()),
            lambda db: db.session.commit(),
            lambda db: db.session.add(Item(id=1)),
        ],
        ids=["rollback_only", "exception", "refused", "flush fails"],
    )
    def test_runs_none_where_nothing_was_committed(self, db, end):
        ran = []
        with contextlib.suppress(LookupError, TransactionControl, ConnectError), db.scope():
            db.after_commit(lambda: ran.append(1))
            end(db)
        assert not ran

    def test_runs_none_a_second_time(self, db):
        ran = []
        with db.scope():
            db.after_commit(lambda: ran.append(1))
        with db.scope():
            pass
        assert ran == [1]

    @pytest.mark.parametrize("thing", [None, 5, "publish", [print]], ids=repr)
    def test_wants_a_callable(self, db, thing):
        with db.scope(), pytest.raises(InvalidArgument, match="wants a callable"):
            db.after_commit(thing)

    def test_is_refused_once_the_scope_is_doomed(self, db):
        with pytest.raises(TransactionControl), db.scope() as session:
            with contextlib.suppress(TransactionControl):
                session.commit()
            db.after_commit(print)


class TestRollbackOnly:
    def test_ends_without_an_error(self, db):
        with db.scope():
            db.rollback_only()

    def test_writes_nothing_at_the_end(self, db):
        with db.scope() as session:
            session.add(Item(id=1))
            db.rollback_only()

    def test_of_a_joined_scope_is_that_of_the_outer(self, db):
        ran = []
        with db.scope():
            db.after_commit(lambda: ran.append(1))
            with db.scope():
                db.rollback_only()
        assert not ran

    def test_keeps_the_exception_that_leaves_all_the_same(self, db):
        with pytest.raises(LookupError), db.scope():
            db.rollback_only()
            raise LookupError


class TestDeadline:
    @pytest.mark.parametrize(
        "seconds",
        [-1, -0.001, -math.inf, math.nan, True, False, "5", b"5", [5], 1j, decimal.Decimal(5)],
        ids=repr,
    )
    def test_is_seconds_from_now(self, db, seconds):
        with (
            pytest.raises(InvalidArgument, match="deadline is seconds from now, 0 or more"),
            db.scope(deadline=seconds),
        ):
            pass

    @pytest.mark.parametrize("seconds", [None, math.inf, 0, 0.5, 900])
    def test_is_no_matter_where_nothing_is_sent(self, db, seconds):
        with db.scope(deadline=seconds):
            pass

    def test_that_has_passed_keeps_a_connection_from_being_made(self, db):
        with pytest.raises(DeadlineExceeded), db.scope(deadline=0) as session:
            session.connection()

    def test_is_a_keyword(self, db):
        with pytest.raises(TypeError):
            db.scope(5)
