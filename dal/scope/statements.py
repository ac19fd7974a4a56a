"""What a scope does not let through, told by the text of a statement.

Nearly all statements begin with one of a few words, and are looked at no further. What the text
does not tell, such as what a stored procedure does inside, is the server's to tell
(dal.scope.watch).
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: What runs statements that its text does not show; those before one that fails stand.
OPAQUE = frozenset({"CALL", "EXECUTE", "IF", "CASE", "LOOP", "WHILE", "REPEAT", "FOR"})

# Bytes, because text of a megabyte is not decoded for it.
_BEGINS_HARMLESS = re.compile(
    rb"(?:SELECT|INSERT|UPDATE|DELETE|WITH|SAVEPOINT|RELEASE)(?![\w$\x80-\xff])", re.IGNORECASE
)
_MAY_BE_REFUSED_READ_ONLY = re.compile(rb"UPDATE|SHARE|SAVEPOINT|RELEASE", re.IGNORECASE)


class Reading(NamedTuple):
    """What the text of a statement tells."""

    #: The first word in upper case; "" where there is none.
    word: str = ""
    #: Why it is refused; None where it is not.
    refusal: str | None = None
    #: Whether the text tells all that it does to the transaction and the session.
    tells_all: bool = True


_HARMLESS = {
    word.encode(): Reading(word)
    for word in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "SAVEPOINT", "RELEASE")
}


def read(sql: str | bytes, server: str | None = None) -> Reading:
    """Return what the statement does on `server`, as its greeting calls itself.

    Without one it is the worst of what it does on any.
    """
    if isinstance(sql, bytes) and (found := _BEGINS_HARMLESS.match(sql)):
        return _HARMLESS[found[0].upper()]
    from dal.scope.text import reading  # noqa: PLC0415  # most functions send no such statement

    return reading.read(_text(sql), server)


def first_word(sql: str | bytes) -> str:
    """Return the first keyword in upper case; "" where there is none."""
    return read(sql).word


def ends_transaction(sql: str | bytes, server: str | None = None) -> bool:
    """Return whether the statement is refused: it ends a transaction, or changes the session."""
    return read(sql, server).refusal is not None


def is_refused_read_only(sql: str | bytes, server: str | None = None) -> bool:
    """Return whether the statement is a savepoint or a locking read."""
    data = sql if isinstance(sql, bytes) else sql.encode("utf-8", "surrogatepass")
    if not _MAY_BE_REFUSED_READ_ONLY.search(data):
        return False
    from dal.scope.text import reading  # noqa: PLC0415

    return reading.locks(_text(sql), server)


def _text(sql: str | bytes) -> str:
    return sql if isinstance(sql, str) else sql.decode("latin-1")
