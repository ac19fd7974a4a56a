"""What one function has committed, the next invocation of another one reads."""

import os
import time
from pathlib import Path

import pytest

from dal.testing.runtime import Function

FUNCTIONS = Path(__file__).parents[1] / "functions"
ROUNDS = 1000
# `make prove-pool` plays as many with a kept session, too.
ROUNDS_WITH_A_KEPT_SESSION = int(os.environ.get("DAL_TEST_ROUNDS", "100"))
VERBS = [
    "get",
    "get_one",
    "one",
    "one_or_none",
    "first",
    "find",
    "exists",
    "count",
    "session.get",
    "session.get_one",
    "session.scalars",
    "columns",
    "aggregate",
]


@pytest.fixture
def counter(admin):
    with admin.cursor() as cursor:
        cursor.execute("CREATE TABLE counter (id INT PRIMARY KEY, value INT NOT NULL)")
        cursor.execute("INSERT INTO counter VALUES (1, 0)")


@pytest.fixture
def function(environment):
    opened = []

    def deploy(handler):
        # The time of the clock is no subject here, and a loaded machine needs more of it.
        opened.append(Function(handler, environment=environment, path=[FUNCTIONS], timeout=20.0))
        return opened[-1]

    yield deploy
    for one in opened:
        one.close()


def stored(admin):
    with admin.cursor() as cursor:
        cursor.execute("SELECT value FROM counter")
        return cursor.fetchone()[0]


def sessions(admin):
    """How many sessions besides the admin's are in the test's database."""
    return len(session_ids(admin))


def session_ids(admin):
    with admin.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        return {found for (found,) in cursor.fetchall()}


@pytest.mark.usefixtures("counter")
class TestTheNaiveFunction:
    def test_reads_what_was_there_when_it_first_read(self, function, admin):
        writer, reader = function("fresh.write"), function("naive.read")
        assert reader.invoke().answer() == 0
        read = []
        for value in range(1, 11):
            writer.invoke({"value": value}).answer()
            assert stored(admin) == value
            if value == 5:
                reader.freeze()
            read.append(reader.invoke().answer())
        assert read == [0] * 10, "it proves nothing about dal unless this one reads stale data"

    def test_leaves_its_connection_open_between_invocations(self, function, admin):
        reader = function("naive.read")
        reader.invoke().answer()
        assert sessions(admin) == 1


@pytest.mark.usefixtures("counter")
class TestDal:
    def test_reads_nothing_stale_in_a_thousand_rounds_of_two_warm_processes(self, function, admin):
        writer, reader = function("fresh.write"), function("fresh.read")
        stale = []
        for value in range(1, ROUNDS + 1):
            verb = VERBS[value % len(VERBS)]
            event = {"value": value, "verb": verb, "read_only": bool(value // len(VERBS) % 2)}
            assert writer.invoke(event).answer() == value
            if value % 10 == 0:
                writer.freeze()
            read = reader.invoke(event).answer()
            if value % 10 == 5:
                reader.freeze()
            if read != value:
                stale.append((event, read))
        assert stale == []
        assert stored(admin) == ROUNDS
        assert (writer.cold_starts, reader.cold_starts) == (1, 1)

    def test_leaves_no_connection_between_invocations(self, function, admin):
        writer, reader = function("fresh.write"), function("fresh.read")
        writer.invoke({"value": 1}).answer()
        reader.invoke({"value": 1, "verb": "get", "read_only": False}).answer()
        reader.invoke({"value": 1, "verb": "get", "read_only": True}).answer()
        end = time.monotonic() + 1
        while sessions(admin) and time.monotonic() < end:
            time.sleep(0.01)  # the server forgets a session a moment after the client has left
        assert sessions(admin) == 0


@pytest.mark.usefixtures("counter")
class TestDalWithAKeptSession:
    @pytest.fixture
    def environment(self, environment):
        return {**environment, "DAL_POOL": "warm"}

    def test_reads_nothing_stale_frozen_killed_and_forked_in_between(self, function, admin):
        writer, reader = function("fresh.write"), function("fresh.read")
        forking = function("fresh.read_with_a_child")
        stale, seen = [], set()
        for value in range(1, ROUNDS_WITH_A_KEPT_SESSION + 1):
            verb = VERBS[value % len(VERBS)]
            event = {"value": value, "verb": verb, "read_only": bool(value // len(VERBS) % 2)}
            assert writer.invoke(event).answer() == value
            assert stored(admin) == value
            writer.freeze()
            read = [reader.invoke(event).answer()]
            reader.freeze()
            if value % 10 == 3:
                read += forking.invoke(event).answer()
                forking.freeze()
            if any(found != value for found in read):
                stale.append((event, read))
            kept = session_ids(admin)
            seen |= kept
            if value % 10 == 7:
                with admin.cursor() as cursor:
                    for number in kept:
                        cursor.execute(f"KILL {number}")
        assert stale == []
        assert {one.cold_starts for one in (writer, reader, forking)} == {1}
        # Three processes, and those after each kill; some more where the machine is slow to answer.
        assert len(seen) < ROUNDS_WITH_A_KEPT_SESSION, "it proves nothing unless they are kept"
        assert sessions(admin) <= 3
        with admin.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM information_schema.innodb_trx")
            assert cursor.fetchone() == (0,)
