"""What a connection is made for, and the way by which that reaches it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from dal.wire.deadline import NEVER, Deadline
from dal.wire.tally import Tally


class Owner(Protocol):
    """Whoever decides over a connection: the scope that it was made for."""

    @property
    def is_lost_or_refused(self) -> bool:
        """Whether the transaction is rolled back or will be, savepoints and all."""

    def before_statement(self, sql: str | bytes) -> None:
        """Raise if this statement may not be sent."""

    def answered(self, status: int) -> None:
        """Take note of the status flags of an answer; raise if they break what was agreed."""

    def statement_failed(self, error: BaseException) -> None:
        """Take note of a statement that was sent and failed."""

    @property
    def is_marked(self) -> bool:
        """Whether a lost COMMIT can be asked for."""

    def was_committed(self) -> bool | None:
        """Return whether a COMMIT without an answer committed; None where nobody can be asked.

        Raises an error of `dal` where it did not.
        """

    def half_done(self, error: BaseException) -> None:
        """Take note of several statements of which one failed: those before it stand."""


@dataclass(frozen=True)
class Purpose:
    """What a connection is made for."""

    read_only: bool = False
    deadline: Deadline = NEVER
    owner: Owner | None = None
    #: Where what is done on the connection is counted.
    tally: Tally = field(default_factory=Tally, compare=False)


# SQLAlchemy's pool calls its creator without arguments; this is how a scope's wishes reach it.
_purpose: ContextVar[Purpose] = ContextVar("dal_connection_purpose", default=Purpose())  # noqa: B039


def current_purpose() -> Purpose:
    """Return what a connection opened here and now would be for."""
    return _purpose.get()


@contextlib.contextmanager
def connecting_for(purpose: Purpose) -> Iterator[None]:
    """Make every connection that is opened inside the block one for `purpose`."""
    token = _purpose.set(purpose)
    try:
        yield
    finally:
        _purpose.reset(token)
