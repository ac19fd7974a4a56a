"""The table of keys, and every statement on it.

Keys are bytes: the default collation takes "A1" for "a1" and "e" for "é", and utf8mb4_bin "x" for
"x ". Answers are text: a JSON column sorts keys and makes doubles of long integers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import DATETIME, MEDIUMTEXT, VARCHAR

from dal.settings import TABLE_PREFIX


def add_table(metadata: sa.MetaData, prefix: str = TABLE_PREFIX) -> sa.Table:
    """Return the table of keys, added to `metadata`."""
    return sa.Table(
        f"{prefix}idempotency",
        metadata,
        sa.Column("name", VARCHAR(100, charset="ascii", collation="ascii_bin"), primary_key=True),
        sa.Column("idempotency_key", sa.VARBINARY(255), primary_key=True),
        sa.Column("run", sa.BINARY(16), nullable=False),
        sa.Column("payload", sa.BINARY(32)),
        sa.Column("answer", MEDIUMTEXT()),
        sa.Column("created_at", DATETIME(fsp=6), nullable=False),
        sa.Column("expires_at", DATETIME(fsp=6), nullable=False),
        sa.Index(f"ix_{prefix}idempotency_expires_at", "expires_at"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )


@dataclass(frozen=True)
class Statements:
    """The SQL text of each statement, in the driver's own style."""

    insert: str
    select: str
    delete_expired: str
    keep_answer: str
    purge: str


@functools.cache
def select_outcome(prefix: str, *, is_mariadb: bool) -> str:
    """Return the statement that reads a key's run, or fails at once where the row is locked.

    One row in any case; first comes whether this server takes no writes.
    """
    lock = "LOCK IN SHARE MODE NOWAIT" if is_mariadb else "FOR SHARE OF one NOWAIT"
    return (
        "SELECT @@global.read_only OR @@global.innodb_read_only, one.run "  # noqa: S608
        f"FROM (SELECT 1 AS n) AS nothing LEFT JOIN `{prefix}idempotency` AS one "
        f"ON one.name = %s AND one.idempotency_key = %s {lock}"
    )


@functools.cache
def statements(prefix: str) -> Statements:
    """Return the statements on the table with this prefix; all times are the server's, in UTC."""
    table = f"`{prefix}idempotency`"
    key = "name = %s AND idempotency_key = %s"
    return Statements(
        insert=f"INSERT INTO {table} "  # noqa: S608  # the prefix is checked by Settings
        "(name, idempotency_key, run, payload, created_at, expires_at) VALUES (%s, %s, %s, %s, "
        "UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL %s MICROSECOND)",
        select="SELECT run, payload, answer, expires_at <= UTC_TIMESTAMP(6) "  # noqa: S608
        f"FROM {table} WHERE {key}",
        delete_expired=f"DELETE FROM {table} WHERE {key} AND run = %s "  # noqa: S608
        "AND expires_at <= UTC_TIMESTAMP(6)",
        keep_answer=f"UPDATE {table} SET answer = %s WHERE {key}",  # noqa: S608
        purge=f"DELETE FROM {table} WHERE expires_at <= UTC_TIMESTAMP(6) "  # noqa: S608
        "ORDER BY expires_at LIMIT %s",
    )
