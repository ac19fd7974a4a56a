"""The tables of the outbox, and every statement on them.

The relay's SELECT names its indexes: what is known of a queue's table is always stale, and with the
statistics of the empty table one window of it took 923 ms in place of 5.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import BIGINT, DATETIME, MEDIUMTEXT, SMALLINT, TINYINT, VARCHAR

from dal.settings import TABLE_PREFIX

#: How many shards there are. It must never change: two releases side by side share the table.
SHARDS = 16


def add_tables(metadata: sa.MetaData, prefix: str = TABLE_PREFIX) -> tuple[sa.Table, sa.Table]:
    """Return the tables of messages and of shards, added to `metadata`."""
    options: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4"}
    messages = sa.Table(
        f"{prefix}outbox",
        metadata,
        sa.Column("id", BIGINT(unsigned=True), primary_key=True, autoincrement=True),
        sa.Column("shard", TINYINT(unsigned=True), nullable=False),
        sa.Column("topic", VARCHAR(255, charset="ascii", collation="ascii_bin"), nullable=False),
        sa.Column("message_key", sa.VARBINARY(255)),
        sa.Column("message_id", sa.BINARY(16), nullable=False),
        sa.Column("payload", MEDIUMTEXT(), nullable=False),
        sa.Column("created_at", DATETIME(fsp=6), nullable=False),
        sa.Column("available_at", DATETIME(fsp=6), nullable=False),
        sa.Column("attempts", SMALLINT(unsigned=True), nullable=False),
        sa.Column("is_dead", TINYINT(display_width=1), nullable=False),
        sa.Column("error", sa.VARCHAR(500)),
        sa.Index(f"ix_{prefix}outbox_shard", "is_dead", "shard", "id"),
        sa.Index(f"ix_{prefix}outbox_available", "is_dead", "shard", "available_at"),
        **options,
    )
    shards = sa.Table(
        f"{prefix}outbox_shard",
        metadata,
        sa.Column("shard", TINYINT(unsigned=True), primary_key=True, autoincrement=False),
        **options,
    )
    return messages, shards


@dataclass(frozen=True)
class Statements:
    """The SQL text of each statement, in the driver's own style."""

    insert: str
    row: str
    shards: str
    fill_shards: str
    own: str
    window: str
    delete: str
    refuse: str
    dead: str
    revive: str
    purge: str
    backlog: str


@functools.cache
def statements(prefix: str) -> Statements:
    """Return the statements on the tables with this prefix; all times are the server's, in UTC."""
    table, shards = f"`{prefix}outbox`", f"`{prefix}outbox_shard`"
    by_id, by_time = f"`ix_{prefix}outbox_shard`", f"`ix_{prefix}outbox_available`"
    now = "UTC_TIMESTAMP(6)"
    columns = "id, message_id, topic, message_key, payload, attempts, error"
    return Statements(
        insert=f"INSERT INTO {table} (shard, topic, message_key, message_id, payload, "  # noqa: S608
        "created_at, available_at, attempts, is_dead) VALUES ",
        row=f"(%s, %s, %s, %s, %s, {now}, {now}, 0, 0)",
        shards=f"SELECT DISTINCT shard, (SELECT COUNT(*) FROM {shards}) FROM {table} "  # noqa: S608
        "WHERE is_dead = 0",
        fill_shards=f"INSERT IGNORE INTO {shards} (shard) VALUES "  # noqa: S608
        + ", ".join(f"({shard})" for shard in range(SHARDS)),
        own=f"SELECT shard FROM {shards} WHERE shard = %s FOR UPDATE SKIP LOCKED",  # noqa: S608
        # What waits for its next try holds back the rest of its key, and nothing else.
        window=f"SELECT {', '.join(f'o.{name}' for name in columns.split(', '))} "  # noqa: S608
        f"FROM {table} AS o FORCE INDEX ({by_id}) LEFT JOIN ("
        "SELECT topic, message_key, MIN(id) AS id "
        f"FROM {table} FORCE INDEX ({by_time}) WHERE is_dead = 0 AND shard = %s "
        f"AND available_at > {now} AND message_key IS NOT NULL GROUP BY topic, message_key"
        ") AS held ON held.topic = o.topic AND held.message_key = o.message_key "
        f"AND held.id < o.id WHERE o.is_dead = 0 AND o.shard = %s AND o.available_at <= {now} "
        "AND held.id IS NULL ORDER BY o.id LIMIT %s",
        delete=f"DELETE FROM {table} WHERE id IN ",  # noqa: S608
        refuse=f"UPDATE {table} SET attempts = attempts + 1, error = %s, "  # noqa: S608
        f"available_at = {now} + INTERVAL %s MICROSECOND, is_dead = %s WHERE id = %s",
        dead=f"SELECT {columns} FROM {table} WHERE is_dead = 1 ORDER BY id LIMIT %s",  # noqa: S608
        revive=f"UPDATE {table} SET is_dead = 0, attempts = 0, error = NULL, "  # noqa: S608
        f"available_at = {now} WHERE is_dead = 1 ORDER BY id LIMIT %s",
        purge=f"DELETE FROM {table} WHERE is_dead = 1 "  # noqa: S608
        f"AND created_at <= {now} - INTERVAL %s MICROSECOND ORDER BY id LIMIT %s",
        backlog=f"SELECT COALESCE(SUM(is_dead = 0), 0), COALESCE(SUM(is_dead), 0), "  # noqa: S608
        f"TIMESTAMPDIFF(MICROSECOND, MIN(IF(is_dead, NULL, created_at)), {now}) FROM {table}",
    )
