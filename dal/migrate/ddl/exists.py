"""IF EXISTS and IF NOT EXISTS where MySQL has none: answered from what is there.

Alembic writes them for columns, indexes and constraints; MySQL takes them for whole tables alone.
"""

from __future__ import annotations

import re
from typing import Any

_NAME = r"(`(?:[^`]|``)+`|[\w$]+)"
_TABLE = rf"((?:{_NAME[1:-1]}\s*\.\s*)?(?:{_NAME[1:-1]}))"
_FORMS = [
    # what it looks for, whether it has to be there, the statement
    (
        "column",
        False,
        rf"\s*ALTER\s+TABLE\s+{_TABLE}\s+ADD\s+(?:COLUMN\s+)?(IF\s+NOT\s+EXISTS\s+){_NAME}",
    ),
    (
        "column",
        True,
        rf"\s*ALTER\s+TABLE\s+{_TABLE}\s+DROP\s+(?:COLUMN\s+)?(IF\s+EXISTS\s+){_NAME}",
    ),
    (
        "constraint",
        True,
        rf"\s*ALTER\s+TABLE\s+{_TABLE}\s+DROP\s+(?:CONSTRAINT|FOREIGN\s+KEY|CHECK|INDEX|KEY)\s+"
        rf"(IF\s+EXISTS\s+){_NAME}",
    ),
    ("index", True, rf"\s*DROP\s+INDEX\s+(IF\s+EXISTS\s+){_NAME}\s+ON\s+{_TABLE}"),
    (
        "index",
        False,
        rf"\s*CREATE\s+(?:UNIQUE\s+|FULLTEXT\s+|SPATIAL\s+)?INDEX\s+(IF\s+NOT\s+EXISTS\s+){_NAME}"
        rf"\s+ON\s+{_TABLE}",
    ),
]
_COMPILED = [
    (kind, wanted, re.compile(form, re.IGNORECASE | re.DOTALL)) for kind, wanted, form in _FORMS
]
_QUERIES = {
    "column": [
        "SELECT 1 FROM information_schema.columns WHERE table_name = %s AND column_name = %s "
        "AND table_schema = COALESCE(%s, DATABASE()) LIMIT 1"
    ],
    "index": [
        "SELECT 1 FROM information_schema.statistics WHERE table_name = %s AND index_name = %s "
        "AND table_schema = COALESCE(%s, DATABASE()) LIMIT 1"
    ],
}
_QUERIES["constraint"] = [
    *_QUERIES["index"],
    "SELECT 1 FROM information_schema.table_constraints WHERE table_name = %s AND "
    "constraint_name = %s AND table_schema = COALESCE(%s, DATABASE()) LIMIT 1",
]


def without_condition(cursor: Any, sql: str) -> str | None:
    """Return the statement as MySQL takes it; None where there is nothing to do."""
    for kind, wanted, form in _COMPILED:
        found = form.match(sql)
        if found is None:
            continue
        table, condition, name = _parts(found)
        schema, table = _split(table)
        is_there = any(
            _ask(cursor, query, (table, _bare(name), schema)) for query in _QUERIES[kind]
        )
        return sql.replace(condition, "", 1) if is_there is wanted else None
    return sql


def _parts(found: re.Match[str]) -> tuple[str, str, str]:
    groups = found.groups()
    if groups[0].upper().startswith("IF"):
        return groups[2], groups[0], groups[1]
    return groups[0], groups[1], groups[2]


def _ask(cursor: Any, query: str, arguments: tuple[Any, ...]) -> bool:
    cursor.execute(query, arguments)
    return cursor.fetchone() is not None


def _split(table: str) -> tuple[str | None, str]:
    parts = re.findall(r"`(?:[^`]|``)+`|[\w$]+", table)
    return (_bare(parts[0]) if len(parts) == 2 else None), _bare(parts[-1])


def _bare(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name
