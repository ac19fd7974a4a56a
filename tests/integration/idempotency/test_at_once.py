"""Repeats at the same time: they wait for the first, and hear how it ended."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

from dal import (
    AlreadyInProgress,
    ConnectionLost,
    Database,
    DeadlineExceeded,
    Deadlock,
    Idempotency,
)

BY_ID = Idempotency("accounts.open", key=lambda event: event["id"])
EVENT = {"id": "1", "owner": "ada"}


@pytest.fixture
def first(db):
    """A handler whose first run waits in the middle of its work; and the means to let it go on."""

    class First:
        def __init__(self):
            self.ran = []
            self.at_work = threading.Event()
            self.may_end = threading.Event()
            self.error = None

        def make(self, **options):
            accounts = Accounts(db)

            @db.handler(idempotency=BY_ID, **options)
            def handler(event, context=None):
                self.ran.append(event)
                number = len(self.ran)
                accounts.add(Account(owner=event["owner"]))
                if number == 1:
                    self.at_work.set()
                    self.may_end.wait(10)
                    if self.error is not None:
                        raise self.error
                return {"number": number}

            return handler

    made = First()
    yield made
    made.may_end.set()


@pytest.fixture
def sessions_at_work(admin, database):
    """The sessions that have a transaction on the test's database."""

    def read():
        with admin.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.innodb_trx "
                "JOIN information_schema.processlist ON id = trx_mysql_thread_id WHERE db = %s",
                (database,),
            )
            return [number for (number,) in cursor.fetchall()]

    return read


def test_a_repeat_waits_for_the_first_and_gets_its_answer(first, owners):
    handler = first.make()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(handler, EVENT)
        assert first.at_work.wait(5)
        other = pool.submit(handler, EVENT)
        time.sleep(0.3)
        assert not other.done()
        first.may_end.set()
        assert (one.result(), other.result()) == ({"number": 1}, {"number": 1})
    assert owners() == ["ada"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_repeat_waits_no_longer_than_for_a_lock(first, attempts):
    handler = first.make(attempts=attempts)
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(handler, EVENT)
        assert first.at_work.wait(5)
        began = time.monotonic()
        with pytest.raises(AlreadyInProgress, match="at work") as left:
            handler(EVENT)
        assert time.monotonic() - began < 3.6
        assert left.value.transient
        first.may_end.set()
        assert one.result() == {"number": 1}
    assert len(first.ran) == 1


def test_a_repeat_waits_no_longer_than_its_deadline(first, context):
    handler = first.make(reserve=0.0)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(handler, EVENT)
        assert first.at_work.wait(5)
        began = time.monotonic()
        with pytest.raises((DeadlineExceeded, AlreadyInProgress)):
            handler(EVENT, context(0.6))
        assert time.monotonic() - began < 1.2
        first.may_end.set()


def test_twelve_behind_a_first_that_raises_are_one_run_and_eleven_answers(first, owners):
    handler = first.make(attempts=1)
    first.error = ValueError("mine")
    with ThreadPoolExecutor(13) as pool:
        one = pool.submit(handler, EVENT)
        assert first.at_work.wait(5)
        others = [pool.submit(handler, EVENT) for _ in range(12)]
        time.sleep(0.5)
        first.may_end.set()
        with pytest.raises(ValueError, match="mine"):
            one.result()
        assert [other.result() for other in others] == [{"number": 2}] * 12
    assert len(first.ran) == 2
    assert owners() == ["ada"]


def test_a_first_that_is_killed_leaves_nothing_and_the_repeat_runs(
    first, admin, owners, sessions_at_work
):
    handler = first.make(attempts=1)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(handler, EVENT)
        assert first.at_work.wait(5)
        (number,) = sessions_at_work()
        other = pool.submit(handler, EVENT)
        time.sleep(0.2)
        with admin.cursor() as cursor:
            cursor.execute(f"KILL {number}")
        assert other.result() == {"number": 2}
        first.may_end.set()
        with pytest.raises(ConnectionLost):
            one.result()
    assert owners() == ["ada"]


def test_repeats_of_an_expired_key_are_one_run(db, admin, owners):
    accounts, ran = Accounts(db), []

    @db.handler(idempotency=BY_ID)
    def handler(event, context=None):
        ran.append(1)
        number = len(ran)
        time.sleep(0.05)
        accounts.add(Account(owner=str(number)))
        return number

    assert handler(EVENT) == 1
    for round_ in range(3):
        with admin.cursor() as cursor:
            cursor.execute("UPDATE dal_idempotency SET expires_at = UTC_TIMESTAMP(6)")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(handler, [EVENT] * 8))
        assert answers == [round_ + 2] * 8
    assert owners() == ["1", "2", "3", "4"]


def test_a_deadlock_of_the_handler_counts_as_an_attempt_and_one_of_the_claim_does_not(db):
    ran = []

    @db.handler(idempotency=BY_ID, attempts=2)
    def handler(event, context=None):
        ran.append(1)
        raise Deadlock("mine")

    with pytest.raises(Deadlock):
        handler(EVENT)
    assert len(ran) == 2


def test_a_replay_holds_no_lock_once_it_has_answered(environment, db, admin):
    for pool in ("none", "warm"):

        def answer(event, context=None):
            return event["id"]

        database = Database.from_env({**environment, "DAL_POOL": pool})
        handler = database.handler(idempotency=BY_ID)(answer)
        event = {"id": pool}
        assert [handler(event) for _ in range(3)] == [pool] * 3
        with admin.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 1")
            time.sleep(0.05)
            cursor.execute("DELETE FROM dal_idempotency WHERE idempotency_key = %s", (pool,))
        assert handler(event) == pool
        database.engine.dispose()


def test_a_lost_connection_of_the_claim_is_no_attempt(db, server, environment):
    from dal.testing.proxy import Proxy

    ran = []
    with Proxy(server.host, server.port) as proxy:
        through = Database.from_env(
            {"DATABASE_URL": environment["DATABASE_URL"]},
            host=proxy.host,
            port=proxy.port,
            tls="disabled",
        )

        @through.handler(idempotency=BY_ID, attempts=1)
        def handler(event, context=None):
            ran.append(1)
            through.session.execute(sa.insert(Account).values(owner="ada"))
            return "done"

        fault = proxy.on(b"INSERT INTO `dal_idempotency`", "cut", times=2)
        assert handler(EVENT) == "done"
        assert fault.fired == 2
    assert len(ran) == 1
