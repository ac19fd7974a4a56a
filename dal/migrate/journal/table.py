"""The journal: one row for each statement of the revision that is half done, and else no table.

Its rows are written on the session that works, so that rows of data and their journal row are
committed together or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["running", "done", "failed", "inside", "applied"]

_NO_SUCH_TABLE = 1146

_CREATE = """
CREATE TABLE IF NOT EXISTS {table} (
  revision VARCHAR(32) NOT NULL,
  way VARCHAR(9) NOT NULL,
  step INT NOT NULL,
  digest VARCHAR(64) NOT NULL,
  statement MEDIUMTEXT NOT NULL,
  state VARCHAR(7) NOT NULL,
  here VARCHAR(64),
  fingerprint VARCHAR(64),
  affected BIGINT,
  last_id BIGINT UNSIGNED,
  `reads` LONGTEXT,
  position LONGTEXT,
  errno INT,
  error TEXT,
  session BIGINT UNSIGNED,
  who VARCHAR(255),
  began_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (revision, way, step)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
"""
_COLUMNS = (
    *("revision", "way", "step", "digest", "statement", "state", "here"),
    *("fingerprint", "affected"),
    *("last_id", "`reads`", "position", "errno", "error", "session", "who"),
)
_NAMES, _MARKS = ", ".join(_COLUMNS), ", ".join(["%s"] * len(_COLUMNS))
_SELECT = f"SELECT {_NAMES}, began_at FROM {{table}} ORDER BY revision, way, step"  # noqa: S608
_REPLACE = f"REPLACE INTO {{table}} ({_NAMES}) VALUES ({_MARKS})"  # noqa: S608


@dataclass
class Row:
    """One statement of a revision, and what became of it."""

    revision: str
    way: str
    step: int
    digest: str
    #: Its text, without the parameters: they are data.
    statement: str
    #: "running": a DDL was sent; "inside": a procedure was, and has committed since; "applied": it
    #: was interrupted, and took effect.
    state: State
    #: The database that was in use.
    here: str | None = None
    fingerprint: str | None = None
    affected: int | None = None
    last_id: int | None = None
    #: What was read between the statement before and this one: pairs of digest and result.
    reads: list[tuple[str, str | None]] = field(default_factory=list)
    #: How far a backfill is.
    position: Any = None
    errno: int | None = None
    error: str | None = None
    session: int | None = None
    who: str | None = None
    began_at: Any = None

    @property
    def is_done(self) -> bool:
        """Whether it is not to be sent again."""
        return self.state in {"done", "applied"}


class Journal:
    """The journal's table, by a cursor of the session that works."""

    def __init__(self, connection: Any, name: str) -> None:
        """Name the table; `name` is quoted, with its database."""
        self._connection = connection
        self.name = name
        self._exists: bool | None = None  # not asked yet

    def _run(self, sql: str, arguments: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql.replace("{table}", self.name), arguments)
            return list(cursor.fetchall())

    @property
    def exists(self) -> bool:
        """Whether there is a table."""
        if self._exists is None:
            try:
                self._run("SELECT 1 FROM {table} LIMIT 0")
            except Exception as error:
                if not error.args or error.args[0] != _NO_SUCH_TABLE:
                    raise
                self._exists = False
            else:
                self._exists = True
        return self._exists

    def rows(self) -> list[Row]:
        """Return all rows, in the order of the statements; none where there is no table."""
        if not self.exists:
            return []
        found = self._run(_SELECT)
        rows = [Row(*values) for values in found]
        for row in rows:
            row.reads = [(one, two) for one, two in json.loads(row.reads or "[]")]  # type: ignore[arg-type]
            row.position = json.loads(row.position) if row.position else None
        return rows

    def create(self) -> None:
        """Make the table if it is not there; a DDL, which commits."""
        if not self.exists:
            self._run(_CREATE)
            self._exists = True

    def write(self, row: Row) -> None:
        """Write a row, in place of one for the same statement; the caller commits."""
        values = [
            *(row.revision, row.way, row.step, row.digest, row.statement, row.state),
            *(row.here, row.fingerprint, row.affected, row.last_id),
            json.dumps(row.reads) if row.reads else None,
            None if row.position is None else json.dumps(row.position),
            *(row.errno, row.error, row.session, row.who),
        ]
        self._run(_REPLACE, values)

    def forget(self, revision: str | None = None, way: str | None = None) -> None:
        """Delete the rows of a revision, or all; the caller commits."""
        if self.exists:
            if revision is None:
                self._run("DELETE FROM {table}")
            else:
                self._run("DELETE FROM {table} WHERE revision = %s AND way = %s", (revision, way))

    def drop_if_empty(self) -> None:
        """Leave no table behind where nothing is half done; a DDL, which commits."""
        if self.exists and not self._run("SELECT 1 FROM {table} LIMIT 1"):
            self._run("DROP TABLE {table}")
            self._exists = False
