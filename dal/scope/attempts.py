"""Running a unit of work again: all of it, never a statement of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dal.errors import DEMOTED, AlreadyInProgress, Error, InvalidArgument
from dal.wire.backoff import Backoff
from dal.wire.deadline import Deadline
from dal.wire.tally import Tally

Result = TypeVar("Result")

#: Seconds that an attempt waits at least for the server's name to lead to the new writer.
FAILOVER = 1.0


def run_again(
    unit: Callable[[], Result], *, attempts: int, deadline: Deadline, tally: Tally
) -> Result:
    """Return what `unit` returns, running it again after a transient error.

    Each attempt must open a scope of its own. In between it waits with full jitter, and a second
    more where the server has become read-only; no attempt begins after the deadline. `tally` hears
    of each that is run again.

    Raises:
        what the last attempt raised; an `Error` has those of the attempts before in `attempts`.
    """
    backoff = Backoff()
    failed: list[Exception] = []
    while True:
        try:
            return unit()
        except Exception as error:
            if isinstance(error, Error):
                error.attempts = tuple(failed)
                has_waited = isinstance(error, AlreadyInProgress)  # as long as for a lock
                again = error.transient and not has_waited and len(failed) + 1 < attempts
                pause = FAILOVER if error.errno in DEMOTED else 0.0
                if again and backoff.wait(deadline, at_least=pause):
                    failed.append(error)
                    tally.retry(type(error))
                    continue
            elif failed:
                error.add_note(f"after {len(failed)} attempts that failed: {failed}")
            raise


def checked_attempts(attempts: object) -> int:
    """Return the number of attempts.

    Raises:
        InvalidArgument: it is not a whole number from 1 up.
    """
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
        raise InvalidArgument(
            f"attempts is a whole number from 1 up, not {type(attempts).__name__}"
        )
    return attempts
