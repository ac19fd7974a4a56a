"""What a DDL costs, by asking the server: the first algorithm that it does not refuse.

A refused algorithm has changed nothing (manual, "Online DDL Operations"), so the statement is
simply sent again with the next. INSTANT takes no LOCK clause (1221).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator
from typing import Any

from dal.migrate.journal.kinds import tokens
from dal.migrate.journal.steps import number_of


class Cost(enum.StrEnum):
    """How a statement treats the table and those who use it."""

    NEW = "NEW"  # nobody uses it yet
    INSTANT = "INSTANT"  # the dictionary alone
    INPLACE = "INPLACE"  # reads and writes go on
    SHARED = "SHARED"  # writes wait until it is done
    COPY = "COPY"  # writes wait until the table is copied
    DROP = "DROP"
    ROWS = "ROWS"
    OTHER = "OTHER"
    REFUSED = "REFUSED"


_CLAUSES = {
    Cost.INSTANT: ("ALGORITHM=INSTANT",),
    Cost.INPLACE: ("ALGORITHM=INPLACE", "LOCK=NONE"),
    Cost.SHARED: ("ALGORITHM=INPLACE", "LOCK=SHARED"),
    Cost.COPY: ("ALGORITHM=COPY", "LOCK=SHARED"),
}
# Not supported, not supported for a reason, not supported so, no instant versions left; MariaDB's
# word for the last.
_REFUSED = {1845, 1846, 1847, 4092, 4157}
_NAME = r"(?:`(?:[^`]|``)+`|[\w$]+)"
_ALTER = re.compile(
    rf"(?i)\s*ALTER\s+(?:IGNORE\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?{_NAME}(?:\s*\.\s*{_NAME})?\s+"
)
_INDEX = re.compile(r"(?i)\s*(?:CREATE\s+(?:UNIQUE\s+|FULLTEXT\s+|SPATIAL\s+)?|DROP\s+)INDEX\s")
# They take no comma before.
_ALONE = re.compile(r"(?i)(?:PARTITION\s+BY|REMOVE\s+PARTITIONING)\b")


def with_clause(sql: str, cost: Cost) -> str | None:
    """Return the statement with the clause of a class, or None where it takes none."""
    clause = _CLAUSES[cost]
    head = _ALTER.match(sql)
    if head:
        rest = sql[head.end() :]
        comma = " " if _ALONE.match(rest) else ", "
        return f"{head[0]}{', '.join(clause)}{comma}{rest}"
    if _INDEX.match(sql) and cost is not Cost.INSTANT:
        return f"{sql.rstrip().removesuffix(';')} {' '.join(clause)}"
    return None


def _of_its_own_clause(words: list[str]) -> Cost:
    if "INSTANT" in words:
        return Cost.INSTANT
    if "COPY" in words:
        return Cost.COPY
    return Cost.SHARED if {"SHARED", "EXCLUSIVE"} & set(words) else Cost.INPLACE


def _tries(sql: str) -> Iterator[tuple[Cost, str]]:
    for cost in _CLAUSES:
        text = with_clause(sql, cost)
        if text is not None:
            yield cost, text
    yield Cost.OTHER, sql


def send(sql: str, run: Callable[[str], Any]) -> Cost:
    """Run a DDL by the cheapest algorithm that the server takes, and return its class.

    Raises:
        Exception: what the server says of a statement that it refuses altogether.
    """
    words = [word.upper() for word in tokens(sql)]
    if "ALGORITHM" in words and words[0] in {"ALTER", "CREATE", "DROP"}:
        run(sql)
        return _of_its_own_clause(words)
    if words[:2] in (["CREATE", "TABLE"], ["CREATE", "VIEW"], ["CREATE", "DATABASE"]):
        run(sql)
        return Cost.NEW
    if words[:1] in (["DROP"], ["TRUNCATE"]) and words[1:2] != ["INDEX"]:
        run(sql)
        return Cost.DROP
    if words[:2] == ["RENAME", "TABLE"]:
        run(sql)
        return Cost.INSTANT
    for cost, text in _tries(sql):
        try:
            run(text)
        except Exception as error:
            if cost is Cost.OTHER or number_of(error) not in _REFUSED:
                raise
        else:
            return cost
    raise AssertionError("the last try returns or raises")
