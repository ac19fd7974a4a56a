"""The safe way, written out."""

from __future__ import annotations

import re
import shlex
from typing import Any

from dal.migrate.plan.classes import Cost

_SPECIFICATION = re.compile(
    r"\s*ALTER\s+(?:IGNORE\s+)?TABLE\s+(?:`(?:[^`]|``)+`|[\w$.]+)\s+(.*)", re.IGNORECASE | re.DOTALL
)


def gone(what: str) -> str:
    """Return how to take something away."""
    return (
        f"The release at work reads and writes {what} still, and SQLAlchemy names every mapped "
        "column. First ship a release without it in the models; drop it in a revision of the "
        "release after that."
    )


def renamed(table: str, old: str, new: str) -> str:
    """Return how to rename a column."""
    return (
        f"Keep the column and rename the attribute alone: mapped_column({old!r}). Or in three "
        f"releases: add {table}.{new} and write both; backfill {new} and read it; drop {old}."
    )


def renamed_table(old: str, new: str) -> str:
    """Return how to rename a table."""
    return (
        f"Keep the table and rename the class alone: __tablename__ = {old!r}. Or give the release "
        f"at work a view called {old} that shows all of {new}, in the same revision."
    )


def narrowed(table: str, column: str) -> str:
    """Return how to make a column hold less."""
    return (
        "The release at work may write what no longer fits, and rows may hold it. First ship a "
        f"release that writes only what fits; look for rows that do not; then change "
        f"{table}.{column} in a revision of the release after that."
    )


def required(table: str, column: str) -> str:
    """Return how to add a column that must have a value."""
    return (
        f"The release at work does not know {table}.{column}: its INSERT fails (1364), and the "
        "rows that are there get 0 or ''. Add it with a server_default, or nullable; let the new "
        "release write it, backfill, and set NOT NULL in a revision of the release after that."
    )


def lost() -> str:
    """Return how to keep what MODIFY does not repeat."""
    return (
        "MODIFY and CHANGE take away what they do not repeat. Give op.alter_column() the "
        "existing_type, existing_nullable, existing_server_default and existing_comment, as "
        "autogenerate writes them; for ON UPDATE put it into existing_server_default."
    )


def blocks(cost: Cost) -> str:
    """Return how to change a big table without making writers wait."""
    if cost is Cost.SHARED:
        return (
            'Run it when nobody writes the table, inside `with allow("shared", reason=...)`. For '
            "an index on an expression: add a virtual column (INSTANT) and index that (no lock)."
        )
    return (
        "Expand instead: add a new column (INSTANT), let the release write both, backfill() it, "
        "read the new one, and drop the old one later (INSTANT). Or run it when nobody writes the "
        'table, inside `with allow("copy", reason=...)`. Or let a tool copy the table beside its '
        "use, then say so: dal migrate resolve REVISION STEP --done."
    )


def rows(table: str) -> str:
    """Return how to change many rows."""
    return (
        f'Use backfill("{table}", ...): it goes by the primary key, commits each batch, waits in '
        "between, and goes on where it stopped."
    )


def copiers(sql: str, table: str, address: Any) -> tuple[str, ...]:
    """Return the command lines of pt-online-schema-change and gh-ost for an ALTER.

    pt-online-schema-change asks for replicas in words that MySQL 9 does not know (1064), and reads
    EXPLAIN in its old form: with the new one it takes a table for empty and copies it at once.
    """
    found = _SPECIFICATION.fullmatch(sql)
    if found is None:
        return ()
    alter = shlex.quote(" ".join(found[1].split()))
    host, port, user, database = address
    dsn = shlex.quote(f"h={host},P={port},u={user},D={database},t={table}")
    return (
        f"pt-online-schema-change --alter {alter} --recursion-method=none "
        "--set-vars explain_format=TRADITIONAL,lock_wait_timeout=1 --ask-pass --execute "
        f"{dsn}",
        f"gh-ost --alter={alter} --host={host} --port={port} --user={user} --ask-pass "
        f"--database={database} --table={table} --attempt-instant-ddl --allow-on-master --execute",
    )
