"""The relay sends at least once, in order for each key, and lets nothing block others."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from dal import ConnectionLost, Database, InvalidArgument, UsageError
from dal.testing.proxy import Proxy


@pytest.fixture
def add(db):
    def write(*payloads, key=None, topic="t"):
        with db.scope():
            return [db.outbox.add(topic, payload, key=key) for payload in payloads]

    return write


def due(admin):
    """Let what waits for its next try be tried now."""
    with admin.cursor() as cursor:
        cursor.execute("UPDATE dal_outbox SET available_at = created_at")


def test_what_was_written_is_sent_and_gone(db, add, publisher, rows):
    written = add("a", "b", key="k")
    relay = db.outbox.relay(publisher)
    assert relay({}, None) == {"sent": 2, "refused": 0}
    assert [(one.id, one.topic, one.key, one.payload) for one in publisher.sent] == [
        (one.id, "t", "k", one.payload) for one in written
    ]
    assert rows() == []
    assert relay({}, None) == {"sent": 0, "refused": 0}


def test_a_call_has_ten_at_most_and_240_kib_and_no_key_twice(db, add, publisher):
    for number in range(25):
        add(number, key=f"k{number % 3}")
    add(*["x" * 100_000] * 5)
    db.outbox.relay(publisher)()
    assert len(publisher.sent) == 30
    for call in publisher.calls:
        assert len(call) <= 10
        assert sum(len(one.body) for one in call) <= 240 * 1024
        keys = [one.key for one in call if one.key is not None]
        assert len(keys) == len(set(keys))
    for key in ("k0", "k1", "k2"):
        sent = [one.payload for one in publisher.sent if one.key == key]
        assert sent == sorted(sent)


def test_one_that_is_too_large_for_a_call_goes_alone(db, add, publisher):
    add("x" * 300_000, "y", key=None)
    db.outbox.relay(publisher)()
    assert len(publisher.sent) == 2


def test_more_than_a_window_is_sent_in_one_call_of_the_relay(db, add, publisher, rows):
    add(*range(35), key="k")
    assert db.outbox.relay(publisher, window=10)()["sent"] == 35
    assert publisher.payloads == list(range(35))
    assert rows() == []


class TestARefusedMessage:
    def test_holds_back_its_key_and_nothing_else(self, db, add, publisher, admin, rows):
        add("bad", "after", key="k")
        add("other", key="o")
        add("none")
        publisher.refuse = lambda one: "too odd" if one.payload == "bad" else None
        assert db.outbox.relay(publisher)() == {"sent": 2, "refused": 1}
        assert sorted(publisher.payloads) == ["none", "other"]
        assert rows("payload, attempts, error, is_dead, available_at > UTC_TIMESTAMP(6)") == [
            ('"bad"', 1, "too odd", 0, 1),
            ('"after"', 0, None, 0, 0),
        ]
        assert db.outbox.relay(publisher)() == {"sent": 0, "refused": 0}
        publisher.refuse = lambda one: None
        due(admin)
        db.outbox.relay(publisher)()
        assert publisher.payloads[2:] == ["bad", "after"]

    def test_waits_twice_as_long_each_time(self, db, add, publisher, admin, rows):
        add("bad", key="k")
        publisher.refuse = lambda one: "no"
        waits = []
        for _ in range(11):
            db.outbox.relay(publisher, attempts=20, backoff=2.0)()
            columns = "TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), available_at) + 1, 1"
            waits += [seconds for seconds, _ in rows(columns)]
            due(admin)
        assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]

    def test_is_dead_after_its_attempts_and_its_key_goes_on(self, db, add, publisher, admin, rows):
        add("bad", "after", key="k")
        publisher.refuse = lambda one: "no" * 400 if one.payload == "bad" else None
        relay = db.outbox.relay(publisher, attempts=2)
        for _ in range(3):
            relay()
            due(admin)
        assert publisher.payloads == ["after"]
        (dead,) = db.outbox.dead()
        assert (dead.payload, dead.attempts, dead.error) == ("bad", 2, ("no" * 400)[:500])
        backlog = db.outbox.backlog()
        assert (backlog.waiting, backlog.dead) == (0, 1)

    def test_that_is_dead_is_sent_once_it_is_revived(self, db, add, publisher, rows):
        add("bad", key="k")
        publisher.refuse = lambda one: "no"
        db.outbox.relay(publisher, attempts=1)()
        publisher.refuse = lambda one: None
        assert db.outbox.relay(publisher)()["sent"] == 0
        assert db.outbox.revive() == 1
        assert db.outbox.relay(publisher)()["sent"] == 1
        assert (rows(), db.outbox.revive()) == ([], 0)

    def test_that_is_dead_is_purged_by_its_age(self, db, add, publisher, rows):
        add("bad", key="k")
        publisher.refuse = lambda one: "no"
        db.outbox.relay(publisher, attempts=1)()
        add("waits", key="k")
        assert db.outbox.purge(older_than=60) == 0
        assert db.outbox.purge(older_than=0) == 1
        assert rows() == ['"waits"']

    def test_of_a_part_of_a_call_is_the_only_one_that_counts(self, db, add, publisher, rows):
        for number in range(10):
            add(number, key=str(number))
        publisher.refuse = lambda one: "odd" if one.payload % 3 == 0 else None
        assert db.outbox.relay(publisher)() == {"sent": 6, "refused": 4}
        assert sorted(map(int, rows())) == [0, 3, 6, 9]


class TestAnOutage:
    def test_counts_nothing_and_leaves_the_relay(self, db, add, publisher, rows):
        add("a", key="k")
        publisher.fail = lambda messages: TimeoutError("no answer")
        for _ in range(3):
            with pytest.raises(TimeoutError, match="no answer"):
                db.outbox.relay(publisher, attempts=1)()
        assert rows("attempts, is_dead, available_at <= UTC_TIMESTAMP(6)") == [(0, 0, 1)]

    def test_keeps_nothing_of_what_was_sent_before(self, db, add, publisher, rows):
        add(*range(5), key="k")
        publisher.fail = lambda messages: OSError("gone") if messages[0].payload == 3 else None
        with pytest.raises(OSError, match="gone"):
            db.outbox.relay(publisher)()
        assert publisher.payloads == [0, 1, 2]
        assert rows() == ["3", "4"]
        publisher.fail = lambda messages: None
        db.outbox.relay(publisher)()
        assert publisher.payloads == [0, 1, 2, 3, 4]


class TestTwoRelays:
    def test_share_the_shards_and_send_nothing_twice(self, db, add, publisher, rows):
        for number in range(60):
            add(number, key=f"k{number % 20}")
        publisher.fail = lambda messages: time.sleep(0.005)
        relay = db.outbox.relay(publisher, window=5)
        with ThreadPoolExecutor(4) as pool:
            told = list(pool.map(lambda _: relay(), range(4)))
        assert sum(one["sent"] for one in told) == len(publisher.sent) == 60
        assert sorted(publisher.payloads) == list(range(60))
        for key in range(20):
            sent = [one.payload for one in publisher.sent if one.key == f"k{key}"]
            assert sent == sorted(sent)
        assert rows() == []

    def test_do_not_wait_for_each_other(self, db, add, publisher):
        add("a", key="k")
        in_call, may_end = threading.Event(), threading.Event()
        publisher.fail = lambda messages: in_call.set() or (may_end.wait(5) and None)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(db.outbox.relay(publisher))
            assert in_call.wait(5)
            began = time.monotonic()
            assert db.outbox.relay(publisher)()["sent"] == 0
            assert time.monotonic() - began < 0.5
            may_end.set()
            assert first.result()["sent"] == 1

    def test_a_killed_one_leaves_its_shard_at_once(self, db, add, publisher, admin, database):
        add("a", key="k")
        in_call, may_end = threading.Event(), threading.Event()

        def hang(messages):
            if not in_call.is_set():
                in_call.set()
                may_end.wait(10)

        publisher.fail = hang
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(db.outbox.relay(publisher))
            assert in_call.wait(5)
            with admin.cursor() as cursor:
                cursor.execute(
                    "SELECT id FROM information_schema.processlist "
                    "WHERE db = %s AND id <> CONNECTION_ID()",
                    (database,),
                )
                for (number,) in cursor.fetchall():
                    cursor.execute(f"KILL {number}")
            assert db.outbox.relay(publisher)()["sent"] == 1
            may_end.set()
            with pytest.raises(ConnectionLost):
                first.result()


def test_it_stops_in_time_and_keeps_what_was_sent(db, add, publisher, context, rows):
    add(*range(40), key="k")
    publisher.fail = lambda messages: time.sleep(0.1)
    began = time.monotonic()
    told = db.outbox.relay(publisher)({}, context(2.5))
    assert time.monotonic() - began < 2.5
    assert 0 < told["sent"] < 40
    assert len(rows()) == 40 - told["sent"]


def test_without_work_it_costs_three_round_trips(server, environment, db, publisher):
    with Proxy(server.host, server.port) as proxy:
        through = Database.from_env(
            {"DATABASE_URL": environment["DATABASE_URL"]},
            host=proxy.host,
            port=proxy.port,
            tls="disabled",
        )
        with through.scope() as session:
            session.scalar(sa.select(1))
        assert proxy.wait_closed()
        proxy.reset()
        through.outbox.relay(publisher)()
        assert proxy.wait_closed()
        assert proxy.round_trips <= 3


def test_it_tells_how_much_waits_and_for_how_long(db, add, admin):
    assert (db.outbox.backlog().waiting, db.outbox.backlog().lag) == (0, 0.0)
    add("a", "b")
    with admin.cursor() as cursor:
        cursor.execute("UPDATE dal_outbox SET created_at = created_at - INTERVAL 90 SECOND")
    found = db.outbox.backlog()
    assert found.waiting == 2
    assert 90 <= found.lag < 100


def test_what_makes_no_sense_is_refused(db, publisher):
    for wrong in (
        {"attempts": 0},
        {"attempts": True},
        {"backoff": -1},
        {"backoff": 301},
        {"backoff": float("nan")},
        {"window": 0},
        {"reserve": -1},
    ):
        with pytest.raises(InvalidArgument):
            db.outbox.relay(publisher, **wrong)
    with pytest.raises(InvalidArgument):
        db.outbox.relay("queue")
    for wrong in (-1, True, "1", float("nan")):
        with pytest.raises(InvalidArgument):
            db.outbox.purge(older_than=wrong)
    with db.scope(), pytest.raises(UsageError):
        db.outbox.revive()
