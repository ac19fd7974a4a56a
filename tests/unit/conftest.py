"""What the tests without a server share."""

import contextlib
import signal

import pytest


@pytest.fixture
def ends_within():
    """A block that fails if it takes longer than so many seconds."""

    @contextlib.contextmanager
    def ends_within(seconds):
        """Regular expressions look for signals now and then: one that runs away is interrupted."""

        def interrupt(*_):
            raise AssertionError(f"not done in {seconds} s")

        previous = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)

    return ends_within
