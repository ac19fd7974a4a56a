"""When the next attempt begins; that attempts are whole units is tests/integration/'s."""

import math

import pytest

from dal import ConnectionLost, Deadlock
from dal.scope.attempts import run_again
from dal.wire import backoff
from dal.wire.deadline import Deadline
from dal.wire.tally import Tally


@pytest.fixture
def waits(monkeypatch):
    """The seconds of each wait, which are not waited."""
    found = []
    monkeypatch.setattr(backoff.time, "sleep", found.append)
    return found


def attempts_that_fail(error, deadline=math.inf):
    def unit():
        raise error

    with pytest.raises(type(error)):
        run_again(unit, attempts=3, deadline=Deadline(deadline), tally=Tally())


def test_waits_are_short_and_grow(waits):
    attempts_that_fail(Deadlock("1213", errno=1213))
    assert len(waits) == 2
    assert waits[0] <= 0.05
    assert waits[1] <= 0.1


@pytest.mark.parametrize("number", [1290, 1836])
def test_a_demoted_writer_is_given_a_second_for_its_name_to_move(waits, number):
    attempts_that_fail(ConnectionLost("read-only", errno=number))
    assert len(waits) == 2
    assert all(seconds >= 1 for seconds in waits)


def test_there_is_no_other_attempt_where_that_second_is_not_left(waits):
    attempts_that_fail(ConnectionLost("read-only", errno=1290), deadline=0.9)
    assert not waits
