"""What a scope does not let through, told by the first words of a statement.

The list of what commits by itself is the manual's: "Statements That Cause an Implicit Commit"
(https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html). What a stored procedure does inside
cannot be seen from here.
"""

from __future__ import annotations

import re

_HEAD = 256
_TAIL = 256

# Comments and parentheses before the first word; /*! ... */ is no comment, the server runs it.
_LEADING = re.compile(r"(?:\s|\(|/\*(?!M?!).*?\*/|/\*M?!\d*|--\s[^\n]*\n|\#[^\n]*\n)*", re.DOTALL)

_WORD = re.compile(r"[A-Za-z]+")

_HARMLESS = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "CALL", "DO", "SHOW", "EXPLAIN"}
    | {"VALUES", "TABLE", "SAVEPOINT", "RELEASE"}
)

_COMMITS = re.compile(
    r"""(?:
      COMMIT | BEGIN | START | STOP | XA
    | ROLLBACK (?! \s+ (?:WORK\s+)? TO \b)
    | SET \s .* \b (?: AUTOCOMMIT | PASSWORD )
    | (?: CREATE | DROP ) (?! \s+ TEMPORARY \b)
    | ALTER | RENAME | TRUNCATE | GRANT | REVOKE | INSTALL | UNINSTALL | IMPORT | CLONE
    | (?: UN )? LOCK \s+ (?: TABLES? | INSTANCE )
    | ANALYZE | CACHE | CHECK | FLUSH | OPTIMIZE | REPAIR | CHANGE | PURGE
    | LOAD \s+ INDEX | RESET (?! \s+ PERSIST )
    ) \b""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

_LOCKS = re.compile(
    r"\b(?:FOR\s+(?:UPDATE|SHARE)(?:\s+OF\s+[^()'\"]+?)?(?:\s+(?:NOWAIT|SKIP\s+LOCKED))?"
    r"|LOCK\s+IN\s+SHARE\s+MODE)\s*;?\s*\Z",
    re.IGNORECASE,
)


def first_word(sql: str | bytes) -> str:
    """Return the first keyword in upper case; "" where there is none."""
    found = _WORD.match(_from_first_word(sql))
    return found[0].upper() if found else ""


def ends_transaction(sql: str | bytes) -> bool:
    """Return whether the statement begins, commits or rolls back a transaction, openly or not."""
    return first_word(sql) not in _HARMLESS and bool(_COMMITS.match(_from_first_word(sql)))


def is_refused_read_only(sql: str | bytes) -> bool:
    """Return whether the statement is a savepoint or a locking read."""
    return first_word(sql) in {"SAVEPOINT", "RELEASE"} or bool(_LOCKS.search(_text(sql[-_TAIL:])))


def _from_first_word(sql: str | bytes) -> str:
    head = _text(sql[:_HEAD])
    found = _LEADING.match(head)
    return head[found.end() :] if found else head


def _text(sql: str | bytes) -> str:
    return sql if isinstance(sql, str) else sql.decode("latin-1")
