"""Savepoints end as the innermost one, or the scope stores nothing and says why."""

import asyncio
import contextlib
import gc
import threading

import pytest
import sqlalchemy as sa
from accounts import Account
from sqlalchemy import orm

from dal import Database, RollbackOnly, ScopeEnded, TransactionControl

OUT_OF_TURN = "ended out of turn"


class Declined(Exception):
    pass


@pytest.fixture
def owners(admin):
    def stored():
        with admin.cursor() as cursor:
            cursor.execute("SELECT owner FROM account ORDER BY owner")
            return [owner for (owner,) in cursor.fetchall()]

    return stored


def insert(session, owner):
    session.execute(sa.insert(Account).values(owner=owner, balance=0))


def block(db, owner):
    """A generator that writes in a savepoint, and waits in it."""
    with db.savepoint():
        insert(db.session, owner)
        yield


def refused(db):
    return pytest.raises(TransactionControl, match=OUT_OF_TURN)


class TestTwoBlocksThatDoNotNest:
    @pytest.mark.parametrize("first", ["ends", "raises", "is closed"])
    @pytest.mark.parametrize("second", ["ends", "raises", "is closed", "is left"])
    def test_of_generators_store_nothing_and_say_why(self, db, owners, first, second):
        def end(generator, how):
            if how == "ends":
                next(generator, None)
            elif how == "raises":
                generator.throw(Declined)
            elif how == "is closed":
                generator.close()

        with pytest.raises(TransactionControl, match=OUT_OF_TURN), db.scope() as session:
            insert(session, "before")
            outer, inner = block(db, "outer"), block(db, "inner")
            next(outer), next(inner)
            with contextlib.suppress(Declined, TransactionControl):
                end(outer, first)
            with contextlib.suppress(Declined, TransactionControl):
                end(inner, second)
            with pytest.raises(TransactionControl, match=OUT_OF_TURN):
                insert(session, "after")
        assert owners() == []

    def test_of_an_exit_stack_closed_out_of_order_store_nothing(self, db, owners):
        with pytest.raises(TransactionControl, match=OUT_OF_TURN), db.scope() as session:
            inner, outer = contextlib.ExitStack(), contextlib.ExitStack()
            outer.enter_context(db.savepoint())
            insert(session, "outer")
            inner.enter_context(db.savepoint())
            insert(session, "inner")
            with refused(db):
                outer.close()
            with contextlib.suppress(Declined), inner:
                raise Declined
        assert owners() == []

    def test_let_an_exception_in_flight_pass_and_fail_the_scope_after_it(self, db, owners):
        with pytest.raises(TransactionControl, match=OUT_OF_TURN), db.scope():
            outer, inner = block(db, "outer"), block(db, "inner")
            next(outer), next(inner)
            with pytest.raises(Declined):
                outer.throw(Declined("mine"))
            inner.close()
        assert owners() == []

    def test_of_three_store_nothing_if_the_middle_one_ends_first(self, db, owners):
        with pytest.raises(TransactionControl, match=OUT_OF_TURN), db.scope():
            blocks = [block(db, owner) for owner in "abc"]
            for each in blocks:
                next(each)
            with refused(db):
                next(blocks[1])
        assert owners() == []

    def test_of_two_tasks_store_nothing_whichever_ends_first(self, db, owners):
        async def write(owner, start, end, error=None):
            await start.wait()
            with db.savepoint():
                insert(db.session, owner)
                await end.wait()
                insert(db.session, f"{owner} again")
                if error:
                    raise error

        async def both():
            now, later = asyncio.Event(), asyncio.Event()
            now.set()
            tasks = [
                asyncio.create_task(write("first", now, later)),
                asyncio.create_task(write("second", now, now, Declined())),
            ]
            await asyncio.sleep(0)
            later.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

        with pytest.raises(TransactionControl, match="another task"), db.scope():
            asyncio.run(both())
        assert owners() == []


class TestBlocksThatNest:
    def test_of_generators_that_end_in_turn_are_undone_and_kept_by_themselves(self, db, owners):
        with db.scope() as session:
            outer, inner = block(db, "outer"), block(db, "inner")
            next(outer), next(inner)
            with pytest.raises(Declined):
                inner.throw(Declined())
            next(outer, None)
            insert(session, "after")
        assert owners() == ["after", "outer"]

    def test_in_a_task_of_a_block_and_one_after_the_other_are_right(self, db, owners):
        async def write(owner):
            with db.savepoint():
                insert(db.session, owner)

        async def work():
            with db.savepoint():
                await asyncio.create_task(write("a"))
                await asyncio.create_task(write("b"))

        with db.scope():
            asyncio.run(work())
            asyncio.run(write("c"))
        assert owners() == ["a", "b", "c"]

    def test_of_two_scopes_know_nothing_of_each_other(self, db, environment, owners):
        other = Database.from_env(environment)
        with db.scope(), other.scope():
            first, second = block(db, "first"), block(other, "second")
            next(first), next(second)
            with pytest.raises(Declined):
                first.throw(Declined())
            next(second, None)
        assert owners() == ["second"]

    def test_a_generator_that_is_collected_in_turn_undoes_its_own(self, db, owners):
        with db.scope() as session:
            insert(session, "before")
            held = block(db, "held")
            next(held)
            del held
            gc.collect()
            insert(session, "after")
        assert owners() == ["after", "before"]


class TestASavepointThatOutlivesItsScope:
    def test_fails_the_scope_at_its_end(self, db, owners):
        with pytest.raises(TransactionControl, match="open still"), db.scope() as session:
            insert(session, "before")
            held = block(db, "held")
            next(held)
        assert owners() == []
        with pytest.raises(ScopeEnded):
            next(held)

    @pytest.mark.parametrize("end", ["next", "throw", "close"])
    def test_touches_no_later_scope(self, db, owners, end):
        with db.scope():
            held = block(db, "held")
            next(held)
            db.rollback_only()
        with db.scope() as session:
            insert(session, "later")
            with contextlib.suppress(ScopeEnded, Declined):
                {
                    "next": lambda: next(held),
                    "throw": lambda: held.throw(Declined),
                    "close": held.close,
                }[end]()
            with db.savepoint():
                insert(session, "inside")
        assert owners() == ["inside", "later"]

    def test_leaves_the_exception_of_the_scope_alone(self, db, owners):
        with pytest.raises(Declined), db.scope():
            held = block(db, "held")
            next(held)
            raise Declined
        held.close()
        assert owners() == []


class TestAJoinedScope:
    @pytest.mark.parametrize("error", [None, Declined])
    def test_that_leaves_a_savepoint_open_stores_nothing(self, db, owners, error):
        with pytest.raises((TransactionControl, RollbackOnly)), db.scope() as session:
            stack = contextlib.ExitStack()
            with contextlib.suppress(TransactionControl, Declined), db.scope():
                insert(session, "inner")
                stack.enter_context(db.savepoint())
                if error:
                    raise error
            with contextlib.suppress(Declined, TransactionControl), stack:
                raise Declined
        assert owners() == []

    @pytest.mark.parametrize("error", [None, Declined])
    def test_in_which_the_savepoint_around_it_ends_stores_nothing(self, db, owners, error):
        with pytest.raises((TransactionControl, RollbackOnly)), db.scope():
            stack = contextlib.ExitStack()
            stack.enter_context(db.savepoint())
            with contextlib.suppress(TransactionControl, Declined), db.scope() as session:
                insert(session, "inner")
                stack.close()
                if error:
                    raise error
        assert owners() == []


class TestByHand:
    @pytest.mark.parametrize("end", ["commit", "rollback"])
    def test_ending_the_transaction_of_a_block_stores_nothing(self, db, owners, end):
        with pytest.raises(TransactionControl, match=OUT_OF_TURN), db.scope() as session:
            insert(session, "before")
            with contextlib.suppress(TransactionControl), db.savepoint():
                insert(session, "inside")
                getattr(session.get_nested_transaction(), end)()
        assert owners() == []

    def test_a_nested_transaction_of_sqlalchemy_left_open_in_a_block_stores_nothing(
        self, db, owners
    ):
        with refused(db), db.scope() as session, db.savepoint():
            orm.Session.begin(session, nested=True)
            insert(session, "inside")
        assert owners() == []

    @pytest.mark.parametrize("end", ["commit", "rollback"])
    def test_one_of_the_connection_around_a_block_that_ends_first_stores_nothing(
        self, db, owners, end
    ):
        with pytest.raises(sa.exc.OperationalError, match="1305"), db.scope() as session:
            around = session.connection().begin_nested()
            insert(session, "around")
            with contextlib.suppress(Declined, sa.exc.OperationalError), db.savepoint():
                insert(session, "inside")
                getattr(around, end)()
                raise Declined
        assert owners() == []

    def test_one_of_the_connection_inside_a_block_nests(self, db, owners):
        with db.scope() as session, db.savepoint():
            insert(session, "block")
            inside = session.connection().begin_nested()
            insert(session, "inside")
            inside.rollback()
        assert owners() == ["block"]


class TestAnotherThread:
    def test_that_ends_the_block_dooms_the_scope(self, db, owners):
        failed = []

        def end(generator):
            try:
                generator.close()
            except BaseException as error:  # noqa: BLE001
                failed.append(error)

        with pytest.raises(TransactionControl, match=OUT_OF_TURN), db.scope():
            held = block(db, "held")
            next(held)
            thread = threading.Thread(target=end, args=(held,))
            thread.start()
            thread.join()
        assert failed == []
        assert owners() == []


def test_a_block_collected_in_the_middle_of_a_statement_says_nothing_on_the_line(db, owners):
    with pytest.raises(TransactionControl, match=OUT_OF_TURN), db.scope() as session:
        held = block(db, "held")
        next(held)
        driver = session.connection().connection.driver_connection
        read = driver._read_packet

        def collect(*args, **options):
            nonlocal held
            held = None  # the last reference: the block ends here
            driver._read_packet = read
            return read(*args, **options)

        driver._read_packet = collect
        assert session.scalar(sa.text("SELECT 7")) == 7
        insert(session, "after")
    assert owners() == []
