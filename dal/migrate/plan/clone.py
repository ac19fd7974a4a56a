"""A database's structure, made again beside it: tables, views, triggers, routines, and no rows."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from dal.errors import UsageError
from dal.migrate.names import quoted

#: A database is a rehearsal's, and may be dropped, where this table is in it.
MARK = "dal_plan_marks_this_database"
_DEFINER = re.compile(
    r" DEFINER=(?:`(?:[^`]|``)*`|'[^']*')@(?:`(?:[^`]|``)*`|'[^']*')", re.IGNORECASE
)
_BAD_DB = 1049


def rehearsal_name(database: str) -> str:
    """Return what the rehearsal's database is called; MySQL takes 64 characters."""
    name = f"{database}_dal_plan"
    if len(name) <= 64:
        return name
    return f"{database[:40]}_{hashlib.sha256(database.encode()).hexdigest()[:8]}_dal_plan"


def _rows(cursor: Any, sql: str, arguments: tuple[Any, ...] | None = None) -> list[Any]:
    cursor.execute(sql, arguments)
    return list(cursor.fetchall())


def create(cursor: Any, name: str) -> None:
    """Make an empty database, in place of what an earlier rehearsal may have left.

    Raises:
        UsageError: there is a database of that name that is no rehearsal's.
    """
    there = _rows(
        cursor, "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (name,)
    )
    if there:
        marked = _rows(
            cursor,
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            (name, MARK),
        )
        if not marked:
            raise UsageError(
                f"there is a database {name} that no rehearsal made: rename or drop it, the "
                "rehearsal wants that name"
            )
        drop(cursor, name)
    cursor.execute(f"CREATE DATABASE {quoted(name)}")
    cursor.execute(f"CREATE TABLE {quoted(name)}.{quoted(MARK)} (id INT PRIMARY KEY)")


def drop(cursor: Any, name: str) -> None:
    """Drop a rehearsal's database."""
    cursor.execute(f"DROP DATABASE IF EXISTS {quoted(name)}")


def copy(source: Any, database: str, to: Any, name: str, rows_of: list[str]) -> list[str]:
    """Make the structure of `database` again in `name`; return what could not be made.

    Args:
        source: A cursor on the server of the structure.
        database: The database to copy.
        to: A cursor on the server of the rehearsal; its session changes.
        name: The rehearsal's database.
        rows_of: Tables whose rows are copied too: the recorded revisions.
    """
    source.execute(f"USE {quoted(database)}")
    source.execute("SELECT @@character_set_database, @@collation_database")
    charset, collation = source.fetchone()
    to.execute(f"ALTER DATABASE {quoted(name)} CHARACTER SET {charset} COLLATE {collation}")
    to.execute(f"USE {quoted(name)}")
    to.execute("SET SESSION foreign_key_checks = 0")
    kinds = dict(_rows(source, "SHOW FULL TABLES"))
    for table in (table for table, kind in kinds.items() if kind == "BASE TABLE"):
        (row,) = _rows(source, f"SHOW CREATE TABLE {quoted(table)}")
        to.execute(row[1])
        if table in rows_of:
            _copy_rows(source, to, table)
    missing = _functions(source, to, database, name)
    missing += _views(source, to, database, name, [t for t, k in kinds.items() if k == "VIEW"])
    for trigger, *_ in _rows(source, "SHOW TRIGGERS"):
        (row,) = _rows(source, f"SHOW CREATE TRIGGER {quoted(trigger)}")
        missing += _make(to, row[2], database, name, f"trigger {trigger}")
    to.execute("SET SESSION foreign_key_checks = 1")
    return missing


def _copy_rows(source: Any, to: Any, table: str) -> None:
    for row in _rows(source, f"SELECT * FROM {quoted(table)}"):  # noqa: S608
        marks = ", ".join(["%s"] * len(row))
        to.execute(f"INSERT INTO {quoted(table)} VALUES ({marks})", row)  # noqa: S608


def _make(to: Any, sql: str | None, database: str, name: str, what: str) -> list[str]:
    """Make one, as this account's own, in the rehearsal's database; return it if that fails."""
    if sql is None:
        return [f"{what} (the account may not read it: SHOW_ROUTINE)"]
    here = _DEFINER.sub("", sql, count=1).replace(f"{quoted(database)}.", f"{quoted(name)}.")
    try:
        to.execute(here)
    except Exception as error:  # noqa: BLE001  # of whatever kind: the plan says what it lacks
        return [f"{what} ({error.args[-1] if error.args else error})"]
    return []


def _functions(source: Any, to: Any, database: str, name: str) -> list[str]:
    missing = []
    for kind in ("FUNCTION", "PROCEDURE"):
        found = _rows(source, f"SHOW {kind} STATUS WHERE Db = %s", (database,))
        for _, routine, *_ in found:
            (row,) = _rows(source, f"SHOW CREATE {kind} {quoted(routine)}")
            missing += _make(to, row[2], database, name, f"{kind.lower()} {routine}")
    return missing


def _views(source: Any, to: Any, database: str, name: str, views: list[str]) -> list[str]:
    """Make the views, those that use others after them."""
    missing: list[str] = []
    left = list(views)
    while left:
        missing, failed = [], []
        for view in left:
            (row,) = _rows(source, f"SHOW CREATE VIEW {quoted(view)}")
            problem = _make(to, row[1], database, name, f"view {view}")
            if problem:
                missing += problem
                failed.append(view)
        if len(failed) == len(left):
            break
        left = failed
    return missing if left else []
