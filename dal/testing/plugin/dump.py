"""What is in a database: its definitions, as the server writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NEXT_NUMBER = re.compile(r" AUTO_INCREMENT=\d+")


def _rows(cursor: Any, sql: str) -> list[Any]:
    cursor.execute(sql)
    return list(cursor.fetchall())


def _lines(text: str) -> str:
    """Return a definition with its lines in order: a column's place is no trace."""
    first, *rest = (line.strip().rstrip(",") for line in text.split("\n"))
    return "\n".join([first, *sorted(rest)])


def definitions(connection: Any, versions: str) -> dict[str, str]:
    """Return every table, view, trigger and routine of the connection's database."""
    found: dict[str, str] = {}
    with connection.cursor() as cursor:
        for name, kind in _rows(cursor, "SHOW FULL TABLES"):
            if name in {versions, f"{versions}_steps"}:
                continue
            what = "VIEW" if kind == "VIEW" else "TABLE"
            (row,) = _rows(cursor, f"SHOW CREATE {what} `{name}`")
            found[f"{what.lower()} {name}"] = _lines(_NEXT_NUMBER.sub("", row[1]))
        for trigger, *_ in _rows(cursor, "SHOW TRIGGERS"):
            (row,) = _rows(cursor, f"SHOW CREATE TRIGGER `{trigger}`")
            found[f"trigger {trigger}"] = row[2]
        for kind in ("FUNCTION", "PROCEDURE"):
            for _, routine, *_ in _rows(cursor, f"SHOW {kind} STATUS WHERE Db = DATABASE()"):
                (row,) = _rows(cursor, f"SHOW CREATE {kind} `{routine}`")
                found[f"{kind.lower()} {routine}"] = row[2]
    return found


def rows(connection: Any, versions: str) -> dict[str, list[Any]]:
    """Return what is in every table, in an order of its own."""
    with connection.cursor() as cursor:
        names = [name for name, kind in _rows(cursor, "SHOW FULL TABLES") if kind != "VIEW"]
        return {
            name: sorted(map(repr, _rows(cursor, f"SELECT * FROM `{name}`")))
            for name in names
            if name not in {versions, f"{versions}_steps"}
        }


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return what differs, in a form to read; empty where nothing does."""
    told = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if old is None or new is None:
            told.append(f"{name}: {'is there' if old is None else 'is gone'}")
            continue
        was = old if isinstance(old, list) else old.split("\n")
        now = new if isinstance(new, list) else new.split("\n")
        told += [f"{name}: - {line}" for line in was if line not in now]
        told += [f"{name}: + {line}" for line in now if line not in was]
    return "\n".join(told)
