"""What a DDL costs, by asking the server: the first algorithm that it does not refuse.

A refused algorithm has changed nothing, so the statement is simply sent again with the next.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from dal.migrate.ddl.algorithm import Ways, is_refused, ways
from dal.migrate.journal.kinds import tokens
from dal.migrate.journal.steps import number_of

_SYNTAX = 1064


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


def _of_its_own_clause(words: list[str]) -> Cost:
    if "INSTANT" in words:
        return Cost.INSTANT
    if "COPY" in words:
        return Cost.COPY
    return Cost.SHARED if {"SHARED", "EXCLUSIVE"} & set(words) else Cost.INPLACE


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
    found = ways(sql)
    if found is None:
        run(sql)
        return Cost.OTHER
    return _mildest(found, sql, run)


def _mildest(found: Ways, sql: str, run: Callable[[str], Any]) -> Cost:
    last = Cost.COPY
    for text, cost in (
        (found.instant, Cost.INSTANT),
        (found.in_place, Cost.INPLACE),
        (found.shared, Cost.SHARED),
    ):
        try:
            if text is not None:
                run(text)
                return cost
        except Exception as error:
            number = number_of(error)
            if not is_refused(number, str(error.args[-1])):
                raise
            if number == _SYNTAX:  # no clause is taken there, so none tells
                last = Cost.OTHER
    run(sql)
    return last
