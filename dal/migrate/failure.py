"""What is said when a revision stops: which statement, why, what is done, what to do."""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path

from alembic.util import CommandError

from dal.errors import Error, UsageError
from dal.migrate.journal.steps import number_of, short, without_value
from dal.migrate.journal.table import Row

_LOCK_WAIT_TIMEOUT = 1205


class MigrationFailed(Error, CommandError):
    """A revision stopped. The message has all of it in some five lines; `__cause__` is the error.

    Attributes:
        revision: The revision's identifier.
        step: The number of the statement that failed; None where it was not a statement.
    """

    def __init__(
        self,
        message: str,
        *,
        revision: str,
        step: int | None = None,
        errno: int | None = None,
        statement: str | None = None,
    ) -> None:
        super().__init__(message, errno=errno, statement=statement)
        self.revision, self.step = revision, step


def failed(
    error: BaseException,
    *,
    revision: str,
    title: str | None,
    path: str,
    row: Row | None,
    done: int,
    has_begun: bool,
) -> MigrationFailed:
    """Return what to raise for the error that stopped a revision.

    Args:
        error: What came out of the revision's code.
        revision: Its identifier.
        title: What its docstring says.
        path: Its file.
        row: The statement that failed; None where it was something else.
        done: How many statements are done, and stay so.
        has_begun: Whether a statement of it was sent at all.
    """
    where = f"Revision {revision}" + (f" ({title})" if title else "")
    place = _place(error, path)
    number = number_of(error)
    lines = []
    if row is not None:
        lines += [f"{where} stopped at statement {row.step}{place}:", f"  {short(row.statement)}"]
        lines.append(f"MySQL says: {_text(error)}")
    else:
        lines += [f"{where} stopped{place}:", f"  {_text(error)}"]
    if done:
        lines.append(f"Done: statement{f's 1 to {done}' if done > 1 else ' 1'} of this revision.")
    elif has_begun:
        lines.append("Nothing of this revision is stored; those before it are.")
    if not isinstance(error, UsageError):
        lines.append(_advice(row, number, done))
    return MigrationFailed(
        "\n".join(lines),
        revision=revision,
        step=row.step if row else None,
        errno=number,
        statement=row.statement if row else None,
    )


def _text(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    if number_of(error) == _LOCK_WAIT_TIMEOUT:
        text, named = "the lock was not granted in time (MySQL error 1205)", " [LockWaitTimeout]"
    elif isinstance(error, Error):
        text, named = str(error), f" [{type(error).__name__}]"
    elif number := number_of(error):
        text, named = f"{without_value(str(original.args[-1]))} (MySQL error {number})", ""
    else:
        text, named = f"{type(error).__name__}: {error}", ""
    return " ".join(text.split()) + named + "".join(f"; {note}" for note in _notes(error))


def _notes(error: BaseException | None) -> list[str]:
    """Return the notes of what was raised and of its causes, such as who held a lock."""
    found: list[str] = []
    while error is not None:
        found += getattr(error, "__notes__", [])
        error = error.__cause__
    return found


def _place(error: BaseException, path: str) -> str:
    """Return the line of the revision's file that was running."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename) == Path(path):
            code = linecache.getline(path, frame.lineno or 0).strip()
            shown = f": {code}" if code and len(code) <= 60 else ""
            return f" ({Path(path).name}, line {frame.lineno}{shown})"
    return f" ({Path(path).name})"


def _advice(row: Row | None, number: int | None, done: int) -> str:
    again = "then run the same command again"
    at = f": it goes on at statement {done + 1}." if done else "."
    if row is None:
        return f"Fix it, {again}{at}"
    if number == _LOCK_WAIT_TIMEOUT:
        return f"Let that transaction end, or raise DAL_MIGRATE_PATIENCE, {again}{at}"
    if number is not None and 2000 <= number < 3000:
        return (
            "The connection is gone. Run the same command again: it finds out whether the server "
            "has finished the statement, and goes on."
        )
    return f"Fix the data, or this statement, {again}{at}"
