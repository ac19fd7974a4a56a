"""The savepoints of a scope that are open: each ends as the innermost one.

What is written while a savepoint is open is undone with it, whoever wrote it. So two blocks that do
not nest cannot be told apart on the server: ROLLBACK TO the outer one takes the inner one along,
and RELEASE of the outer one keeps what the inner one wanted to undo.
https://dev.mysql.com/doc/refman/8.4/en/savepoint.html
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy.orm import SessionTransaction

OUT_OF_TURN = (
    "a savepoint ended out of turn, and nobody can undo it alone: another one that was opened in "
    "it is open still, or it was ended by hand, from another thread, or in the middle of a "
    "statement; end each in the block that opened it"
)
OPEN_STILL = (
    "a savepoint is open still at the end of the scope, in a generator or an ExitStack that was "
    "not closed: end each inside the scope that opened it"
)
CROSSED = (
    "a joined scope and a savepoint that do not nest, so nobody can undo the one without the "
    "other: end each savepoint in the scope that opened it"
)
ANOTHER_TASKS = (
    "a savepoint inside one that another task has opened: the tasks share one transaction, in "
    "which savepoints can only nest; open a scope for each task"
)


@dataclass(eq=False, slots=True)
class Savepoint:
    """One that is open."""

    #: How many callbacks were registered before it.
    callbacks: int
    #: How many writes were put off until COMMIT before it.
    writes: int
    transaction: SessionTransaction
    #: What makes it rollback-only.
    error: BaseException | None = None


# Those that were opened around here: each task of an event loop has a context of its own.
_around: ContextVar[tuple[Savepoint, ...]] = ContextVar("dal_savepoints", default=())


class Savepoints:
    """The open savepoints of one scope, the innermost last."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: list[Savepoint] = []

    @property
    def innermost(self) -> Savepoint | None:
        """The one that was opened last."""
        return self._open[-1] if self._open else None

    @property
    def error(self) -> BaseException | None:
        """What made the outermost of those that are rollback-only so."""
        return next((each.error for each in self._open if each.error is not None), None)

    def would_nest(self) -> bool:
        """Whether one that is opened here is inside the innermost one: not in another task."""
        return not self._open or self._open[-1] in _around.get()

    def open(self, *, callbacks: int, writes: int, transaction: SessionTransaction) -> Savepoint:
        """Open one inside the innermost."""
        savepoint = Savepoint(callbacks, writes, transaction)
        self._open.append(savepoint)
        _around.set((*_around.get(), savepoint))
        return savepoint

    def close(self, savepoint: Savepoint) -> None:
        """Forget the innermost one."""
        self._open.remove(savepoint)

    @staticmethod
    def leave(savepoint: Savepoint) -> None:
        """Forget that this one is around here."""
        _around.set(tuple(each for each in _around.get() if each is not savepoint))
