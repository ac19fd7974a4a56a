"""What a scope does not let through, told by the text of a statement.

The list of what commits by itself is the manual's: "Statements That Cause an Implicit Commit"
(https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html). What a stored procedure does inside
cannot be seen from here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

# Blanks, parentheses and comments before the first word. `--` is a comment only before a blank.
_COMMENT = r"/\*(?!M?!).*?(?:\*/|\Z) | --(?=\s|\Z)[^\n]*+ | \#[^\n]*+"
_LEADING = re.compile(rf"(?:[\s(]++ | {_COMMENT})*+", re.VERBOSE | re.DOTALL)

_WORD = re.compile(r"[A-Za-z]++(?![\w$])")

# What says nothing about the statement: literals, and comments behind the first word.
_OPAQUE = re.compile(
    rf"""'(?:[^'\\]|\\.)*+(?:'|\Z) | "(?:[^"\\]|\\.)*+(?:"|\Z) | {_COMMENT}""",
    re.VERBOSE | re.DOTALL,
)

# /*! ... */ is run by servers of that version (/*M! by MariaDB alone), and a comment for others.
_MARKS = re.compile(r"/\*M?!\d*|\*/")
_CONDITIONAL = re.compile(r"/\*M?!.*?(?:\*/|\Z)", re.DOTALL)

_HARMLESS = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "CALL", "DO", "SHOW", "EXPLAIN"}
    | {"VALUES", "TABLE", "SAVEPOINT", "RELEASE"}
)

# What nearly all statements begin with; bytes, because text of a megabyte is not decoded for it.
_BEGINS_HARMLESS = re.compile(rb"(?:SELECT|INSERT|UPDATE|DELETE)(?![\w$\x80-\xff])", re.IGNORECASE)

_COMMITS = r"""(?:
      COMMIT | BEGIN | START | STOP | XA
    | PREPARE | EXECUTE
    | ROLLBACK (?! \s+ (?:WORK\s+)? TO \b)
    | SET \b .* (?: @@ (?:\w+\s*\.\s*)? | (?<![\w$@]) ) `? (?: AUTOCOMMIT | PASSWORD )
    | SET \s+ (?: (?: SESSION | LOCAL | GLOBAL ) \s+ )? TRANSACTION
    | SET \b .* \b (?: TRANSACTION | TX ) _ (?: ISOLATION | READ_ONLY )
    | (?: CREATE | DROP ) (?! \s+ TEMPORARY \b)
    | ALTER | RENAME | TRUNCATE | GRANT | REVOKE | INSTALL | UNINSTALL | IMPORT | CLONE
    | LOCK | UNLOCK
    | ANALYZE | CACHE | CHECK | FLUSH | OPTIMIZE | REPAIR | CHANGE | PURGE
    | LOAD (?! \s+ (?: DATA | XML ) \b ) | RESET (?! \s+ PERSIST )
    ) \b"""

_LOCKS = re.compile(r"\b(?:FOR\s+(?:UPDATE|SHARE)|LOCK\s+IN\s+SHARE\s+MODE)\b", re.IGNORECASE)
_QUOTED = re.compile(r"`[^`]*+`")


@functools.cache
def _commits() -> re.Pattern[str]:
    # At the first need: most functions have none, and each cold start would pay for it.
    return re.compile(_COMMITS, re.VERBOSE | re.IGNORECASE | re.DOTALL)


def first_word(sql: str | bytes) -> str:
    """Return the first keyword in upper case; "" where there is none."""
    return next((word for word, _ in _readings(_text(sql))), "")


def ends_transaction(sql: str | bytes) -> bool:
    """Return whether the statement begins, commits or rolls back a transaction, openly or not."""
    if isinstance(sql, bytes) and _BEGINS_HARMLESS.match(sql):
        return False
    return any(
        word not in _HARMLESS and bool(_commits().match(_OPAQUE.sub(" ", rest)))
        for word, rest in _readings(_text(sql))
    )


def is_refused_read_only(sql: str | bytes) -> bool:
    """Return whether the statement is a savepoint or a locking read."""
    text = _text(sql)
    if first_word(text) in {"SAVEPOINT", "RELEASE"}:
        return True
    return bool(_LOCKS.search(text) and _LOCKS.search(_QUOTED.sub("x", _OPAQUE.sub(" ", text))))


def _readings(sql: str) -> Iterator[tuple[str, str]]:
    """Give the first word and all from it on, as each kind of server would read the statement."""
    rest = _LEADING.sub("", sql, count=1)
    readings = [rest]
    if _CONDITIONAL.match(rest):
        readings = [_MARKS.sub(" ", rest), _CONDITIONAL.sub(" ", rest)]
    for reading in readings:
        bare = _LEADING.sub("", reading, count=1)
        found = _WORD.match(bare)
        yield (found[0].upper(), bare) if found else ("", "")


def _text(sql: str | bytes) -> str:
    return sql if isinstance(sql, str) else sql.decode("latin-1")
