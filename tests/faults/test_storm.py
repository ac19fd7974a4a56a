"""Functions that begin all at once, and a server with places for few of them: all succeed.

`make prove-storm` lets 300 go at 50 places, each with a deadline of 10 seconds, and writes the
figures and the plot of docs/storm.md. Without it fewer go (10 is the least that MariaDB takes for
max_connections), with transactions that meet on a busy machine too, and have the time that one
takes.
"""

import os

import pytest
import storm_document
from lanes import query
from storm import blow

from dal.testing import _container
from dal.testing.server import start_server

ALL = os.environ.get("DAL_TEST_STORM") == "all"
CLIENTS, PLACES, DEADLINE, WORK = (300, 50, 10.0, 0.05) if ALL else (30, 10, 60.0, 0.3)


@pytest.fixture(scope="module")
def storms(server):
    """The storms that all came through; a whole set goes into the documentation."""
    seen = []
    yield seen
    if len(seen) == 4:
        storm_document.write(seen, server.version)


def assert_all_came_through(storm):
    assert storm.errors == []
    assert storm.visits == [(1, 1)] * storm.clients
    # One more is for an administrator, whom MySQL knows only after the login.
    assert storm.peak <= storm.max_connections + 1
    assert storm.refused
    assert storm.ended[-1] < DEADLINE


@pytest.mark.parametrize("tls", [False, True], ids=["in the clear", "TLS"])
def test_all_succeed_where_places_are_few(server, storms, tls):
    if tls and server.is_mariadb:
        pytest.skip("the stand-in has no TLS")
    storm = blow(
        server, clients=CLIENTS, max_connections=PLACES, tls=tls, deadline=DEADLINE, work=WORK
    )
    assert_all_came_through(storm)
    storms.append(storm)


@pytest.mark.skipif(not ALL, reason="one storm more: make prove-storm")
def test_transactions_of_half_a_second_come_through_as_well(server, storms):
    storm = blow(
        server, clients=CLIENTS, max_connections=PLACES, tls=False, deadline=DEADLINE, work=0.5
    )
    assert_all_came_through(storm)
    storms.append(storm)


@pytest.mark.skipif(not ALL, reason="only for the comparison: make prove-storm")
def test_what_it_is_without_jitter(server, storms):
    storm = blow(
        server, clients=CLIENTS, max_connections=PLACES, tls=False, deadline=DEADLINE, waits="none"
    )
    assert storm.visits == [(1, 1)] * storm.clients
    storms.append(storm)


@pytest.mark.skipif(not ALL, reason="a server more: make prove-storm")
def test_a_storm_does_not_make_the_server_block_the_host(monkeypatch):
    # Counted per host only where hosts are looked up; the ladder's servers do not.
    kept = [one for one in _container.MYSQL_OPTIONS if "skip-name-resolve" not in one]
    monkeypatch.setattr(_container, "MYSQL_OPTIONS", kept)
    options = ["--performance-schema=ON", "--max-connect-errors=1"]  # a single one would block
    with start_server(options=options, accept_mariadb=False) as strict:
        storm = blow(strict, clients=100, max_connections=20, tls=True, deadline=DEADLINE)
        with strict.connect() as root:
            columns = "COUNT(*), SUM(SUM_CONNECT_ERRORS), SUM(COUNT_HOST_BLOCKED_ERRORS)"
            hosts = query(root, f"SELECT {columns} FROM performance_schema.host_cache")
    assert storm.errors == []
    assert storm.aborted > 0  # refused after the login, in the administrator's place
    assert hosts == ((1, 0, 0),)
