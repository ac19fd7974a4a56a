"""Functions that begin all at once, and a server with places for few of them: all succeed.

`make prove-storm` lets 300 go at 50 places, each with a deadline of 10 seconds, and writes the
figures and the plot of docs/storm.md. Without it fewer go, and have the time that a busy machine
takes.
"""

import os

import pytest
from storm import blow

ALL = os.environ.get("DAL_TEST_STORM") == "all"
CLIENTS, PLACES, DEADLINE = (300, 50, 10.0) if ALL else (60, 12, 60.0)


@pytest.mark.parametrize("tls", [False, True], ids=["in the clear", "TLS"])
def test_all_succeed_where_places_are_few(server, tls):
    if tls and server.is_mariadb:
        pytest.skip("the stand-in has no TLS")
    storm = blow(server, clients=CLIENTS, places=PLACES, tls=tls, deadline=DEADLINE)
    assert storm.errors == []
    assert storm.visits == [(1, 1)] * CLIENTS
    # One place more is MySQL's for an administrator: it is seen who comes only after the login.
    assert storm.peak <= PLACES + 1
    assert storm.refused
    assert storm.ended[-1] < DEADLINE
