"""Rules: what a statement does to code that still runs, to data, and to those who wait.

While a release is rolled out, and as long as it may be rolled back, code of two releases is at work
on one schema. So a revision may add what the old code does without (expand), and what is taken away
waits for the release after (contract).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dal.migrate.drift.definition import ColumnLine, Definition, parse
from dal.migrate.journal.kinds import tokens
from dal.migrate.plan import advice
from dal.migrate.plan.classes import Cost
from dal.migrate.plan.recording import Sent
from dal.migrate.plan.report import Finding
from dal.migrate.plan.widening import is_narrower


@dataclass(frozen=True)
class Size:
    """About how big a table is on the target."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class Target:
    """What the rules know of the target.

    Attributes:
        sizes: The tables that are there, by name; None where no target was looked at.
        big_table: Bytes from which on a table is big.
        address: Host, port, user and database, for command lines.
        old: The tables that were there before the first pending revision.
    """

    sizes: Mapping[str, Size] | None
    big_table: int
    address: Any
    old: frozenset[str]

    def is_big(self, table: str) -> bool:
        """Return whether a table is big, or may be: its size is not known."""
        if table not in self.old:
            return False
        if self.sizes is None:
            return True
        return table in self.sizes and self.sizes[table].bytes >= self.big_table


def findings(sent: Sent, target: Target) -> list[Finding]:
    """Return what is to be said of one statement."""
    found = [
        *_tables_gone(sent, target),
        *(finding for each in _both(sent, target) for finding in _changed(sent, *each)),
        *_cost(sent, target),
    ]
    return [_allowed(finding, sent.allowed) for finding in found]


def _allowed(finding: Finding, allowed: Mapping[str, str]) -> Finding:
    key = {"blocks": "copy", "rows": "rows"}.get(finding.rule, "contract")
    reason = allowed.get(key) or (allowed.get("shared") if finding.rule == "blocks" else None)
    return replace(finding, allowed=reason) if reason else finding


def _both(sent: Sent, target: Target) -> Iterator[tuple[str, Definition, Definition]]:
    for table in sent.before.keys() & sent.after.keys() & target.old:
        if sent.before[table] != sent.after[table]:
            yield table, parse(sent.before[table]), parse(sent.after[table])


def _tables_gone(sent: Sent, target: Target) -> Iterator[Finding]:
    came = [name for name in sent.after if name not in sent.before]
    for table in sorted(sent.before.keys() - sent.after.keys()):
        if table not in target.old:
            continue
        if came:
            new = came[0]
            yield Finding(
                "renamed", f"table {table} is called {new}", advice.renamed_table(table, new)
            )
        else:
            yield Finding("gone", f"table {table} is gone", advice.gone(table))


def _changed(sent: Sent, table: str, old: Definition, new: Definition) -> Iterator[Finding]:
    gone = [name for name in old.columns if name not in new.columns]
    came = [name for name in new.columns if name not in old.columns]
    for name in gone:
        twin = next((other for other in came if _is_renamed(sent, name, other)), None)
        if twin is not None:
            came.remove(twin)
            text = f"column {table}.{name} is called {twin}"
            yield Finding("renamed", text, advice.renamed(table, name, twin))
        else:
            text = f"column {table}.{name} is gone"
            yield Finding("gone", text, advice.gone(f"{table}.{name}"))
    for name in came:
        if _is_required(new.columns[name]):
            text = f"column {table}.{name} is NOT NULL and has no default"
            yield Finding("required", text, advice.required(table, name))
    for name in old.columns.keys() & new.columns.keys():
        yield from _column(sent, table, name, old.columns[name], new.columns[name])


def _is_renamed(sent: Sent, old: str, new: str) -> bool:
    """Return whether the statement names both in one breath: CHANGE a b, RENAME COLUMN a TO b."""
    words = [word.strip("`").replace("``", "`") for word in tokens(sent.sql)]
    pairs = {
        (words[place], words[place + 1 if words[place + 1].upper() != "TO" else place + 2])
        for place in range(len(words) - 2)
    }
    return (old, new) in pairs


def _is_required(column: ColumnLine) -> bool:
    has_default = " DEFAULT " in f"{column.rest} " or " AUTO_INCREMENT" in column.rest
    return not column.is_nullable and not has_default and column.generated is None


def _column(
    sent: Sent, table: str, name: str, old: ColumnLine, new: ColumnLine
) -> Iterator[Finding]:
    if is_narrower(old, new):
        why = (
            "is NOT NULL now"
            if old.type == new.type and old.is_nullable
            else (f"holds less: {old.type} to {new.type}")
        )
        yield Finding("narrowed", f"column {table}.{name} {why}", advice.narrowed(table, name))
    words = {word.upper() for word in tokens(sent.sql)}
    lost = list(_lost(old, new)) if words & {"MODIFY", "CHANGE"} else []
    if lost:
        text = f"column {table}.{name} loses {', '.join(lost)}"
        yield Finding("lost", text, advice.lost())


def _lost(old: ColumnLine, new: ColumnLine) -> Iterator[str]:
    (was, updated), (is_, updates) = _default(old), _default(new)
    if was and not is_:
        yield was
    if updated and not updates:
        yield updated
    for word in (" AUTO_INCREMENT", " INVISIBLE"):
        if word in old.rest and word not in new.rest:
            yield word.strip()
    if old.comment and not new.comment:
        yield f"COMMENT {old.comment}"
    if old.collation and new.collation and old.collation != new.collation:
        yield f"COLLATE {old.collation}"


def _default(column: ColumnLine) -> tuple[str, str]:
    """Return DEFAULT and ON UPDATE; NULL is none."""
    before, on_update, after = column.rest.partition(" ON UPDATE ")
    _, default, value = before.partition(" DEFAULT ")
    value = value.removesuffix(" INVISIBLE")
    return (f"DEFAULT {value}" if default and value != "NULL" else ""), (
        f"ON UPDATE {after}" if on_update else ""
    )


def _cost(sent: Sent, target: Target) -> Iterable[Finding]:
    big = [table for table in sent.before if target.is_big(table)]
    if not big:
        return
    table = big[0]
    if sent.cost in {Cost.COPY, Cost.SHARED, Cost.OTHER}:
        what = {
            Cost.COPY: f"copies {table}, and no row of it can be written until that is done",
            Cost.SHARED: f"lets nobody write {table} until it is done",
            Cost.OTHER: f"MySQL does not say how it treats {table}: no ALGORITHM is known for it",
        }[sent.cost]
        commands = advice.copiers(sent.sql, table, target.address)
        yield Finding("blocks", what, advice.blocks(sent.cost), commands)
    elif sent.cost is Cost.ROWS and _writes_many(sent.sql):
        text = f"changes rows of {table} in one transaction, and locks them until its end"
        yield Finding("rows", text, advice.rows(table))


def _writes_many(sql: str) -> bool:
    words = [word.upper() for word in tokens(sql)]
    if "LIMIT" in words:
        return False
    return words[0] in {"UPDATE", "DELETE", "WITH"} or "SELECT" in words
