"""One line about each unit of work: what it cost and how it ended."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Literal

from dal.engine.line import Line, milliseconds
from dal.errors import CommitOutcomeUnknown
from dal.wire.tally import Tally

log = logging.getLogger("dal")


Outcome = Literal["committed", "read", "rolled back", "replayed", "failed", "unknown", "unused"]
Write = Callable[[Line], object]


class Unit:
    """One unit of work, all its attempts together."""

    __slots__ = ("error", "fate", "outcome", "tally")

    def __init__(self) -> None:
        self.tally = Tally()
        self.outcome: Outcome = "unused"
        #: What became of the COMMIT of the last attempt; None where none left.
        self.fate: Literal["committed", "unknown"] | None = None
        self.error: str | None = None

    def fail(self, error: BaseException) -> None:
        """Note what ended it: an exit may do so while COMMIT is pending, or after it."""
        is_unknown = isinstance(error, CommitOutcomeUnknown)
        self.outcome = self.fate or ("unknown" if is_unknown else "failed")
        self.error = type(error).__name__


def unit_of_work(database: str, write: Write | None) -> contextlib.AbstractContextManager[Unit]:
    """Return a block that is one unit of work on `database`; with `write` its end is reported."""
    unit = Unit()
    return contextlib.nullcontext(unit) if write is None else _reported(database, unit, write)


@contextlib.contextmanager
def _reported(database: str, unit: Unit, write: Write) -> Iterator[Unit]:
    began = time.monotonic()
    try:
        yield unit
    except BaseException as error:
        unit.fail(error)
        raise
    finally:
        try:
            write(_line(database, unit, time.monotonic() - began))
        except Exception:
            log.exception("a unit of work could not be reported; how it ended stands")


def _line(database: str, unit: Unit, seconds: float) -> Line:
    tally = unit.tally
    line = Line(database=database, outcome=unit.outcome)
    if unit.error is not None:
        line["error"] = unit.error
    line.update(
        total_ms=milliseconds(seconds),
        connect_ms=milliseconds(tally.connect_seconds),
        statement_ms=milliseconds(tally.statement_seconds),
        commit_ms=milliseconds(tally.commit_seconds),
        connections=tally.connections,
        round_trips=tally.round_trips,
        statements=tally.statements,
        rows_read=tally.rows_read,
        rows_written=tally.rows_written,
        commits=tally.commits,
        rollbacks=tally.rollbacks,
        retries=sum(tally.retries.values()),
    )
    if tally.retries:
        line["retried_after"] = tally.retries
    return line


def to_log() -> Write:
    """Return what writes lines to the logger `dal.report`, which gets level INFO if it has none.

    Without a level of its own it would have that of the root, which is WARNING in Lambda.
    """
    reports = logging.getLogger("dal.report")
    if reports.level == logging.NOTSET:
        reports.setLevel(logging.INFO)
    return reports.info
