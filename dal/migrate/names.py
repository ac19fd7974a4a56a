"""Where the versions and the journal are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def journal_name(options: Mapping[str, Any]) -> str:
    """Return the name of the journal's table, beside the table of the versions."""
    return f"{options.get('version_table') or 'alembic_version'}_steps"


def quoted_journal(options: Mapping[str, Any], database: str) -> str:
    """Return the same with its database, for a statement: a revision may USE another one."""
    schema = options.get("version_table_schema") or database
    return f"{quoted(schema)}.{quoted(journal_name(options))}"


def quoted(name: str) -> str:
    """Return a name in MySQL's quotes."""
    return "`" + name.replace("`", "``") + "`"
