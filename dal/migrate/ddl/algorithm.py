"""ALGORITHM and LOCK: the server is asked for the mildest way that it has, and for no other.

MySQL refuses a way before it changes anything, so it may be asked one after the other.
https://dev.mysql.com/doc/refman/8.4/en/innodb-online-ddl-operations.html
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dal.migrate.journal.kinds import tokens

# Not in this way (1845, 1846, 1847), not with both clauses (1221), no row version is left for
# INSTANT (4092).
_REFUSED = {1845, 1846, 1847, 1221, 4092}
_SYNTAX = 1064

_NAME = r"(?:`(?:[^`]|``)+`|[\w$]+)"
_SPACE = r"(?:\s|/\*(?!!).*?\*/|--\s[^\n]*\n|\#[^\n]*\n)+"
_ALTER = re.compile(
    rf"(?P<head>(?:{_SPACE})?ALTER{_SPACE}TABLE{_SPACE}(?P<table>{_NAME}(?:\s*\.\s*{_NAME})?))"
    r"(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_INDEX = re.compile(
    rf"(?:{_SPACE})?(?:CREATE{_SPACE}(?:UNIQUE{_SPACE}|FULLTEXT{_SPACE}|SPATIAL{_SPACE})?|DROP{_SPACE})"
    rf"INDEX{_SPACE}{_NAME}(?:\s+USING\s+\w+)?\s+ON\s+(?P<table>{_NAME}(?:\s*\.\s*{_NAME})?)",
    re.IGNORECASE | re.DOTALL,
)
# The statement's end, and comments after it.
_END = re.compile(r"\s*;(?:\s|/\*.*?\*/|--\s[^\n]*|\#[^\n]*)*\Z", re.DOTALL)
# These follow the clauses without a comma.
_PARTITIONING = re.compile(r"\s*(?:PARTITION\s+BY|REMOVE\s+PARTITIONING)\b", re.IGNORECASE)


def is_refused(number: int | None, text: str) -> bool:
    """Return whether MySQL does not do this statement in this way, or takes no clause there."""
    return number in _REFUSED or (number == _SYNTAX and "near 'ALGORITHM" in text)


class Ways(NamedTuple):
    """A statement that changes a table, and its forms, the mildest first."""

    table: str
    instant: str | None
    in_place: str
    #: Without a copy, and nobody writes meanwhile.
    shared: str


def ways(sql: str) -> Ways | None:
    """Return the forms of a statement; None where it is no change of a table or says its own."""
    words = {word.upper() for word in tokens(sql)}
    if words & {"ALGORITHM", "LOCK"}:
        return None
    if found := _ALTER.fullmatch(sql):
        head, rest = found["head"], found["rest"]
        comma = "" if _PARTITIONING.match(rest) else ","
        return Ways(
            found["table"],
            f"{head} ALGORITHM=INSTANT{comma}{rest}",
            f"{head} ALGORITHM=INPLACE, LOCK=NONE{comma}{rest}",
            f"{head} ALGORITHM=INPLACE, LOCK=SHARED{comma}{rest}",
        )
    if found := _INDEX.match(sql):
        text = _END.sub("", sql)
        # On a line of its own: the last one may end in a comment.
        in_place, shared = (f"{text}\nALGORITHM=INPLACE LOCK={lock}" for lock in ("NONE", "SHARED"))
        return Ways(found["table"], None, in_place, shared)
    return None
