"""One definition, sent: the mildest way first, short waits, and no copy of a big table unasked."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

from dal.errors import UsageError
from dal.migrate.ddl.algorithm import Ways, is_refused, ways
from dal.migrate.ddl.exists import without_condition
from dal.migrate.ddl.waiting import patiently
from dal.migrate.journal.steps import number_of
from dal.migrate.revision.allow import is_allowed
from dal.migrate.settings import MigrationSettings

# A change in place takes the table's lock twice, and a wait that is too short throws the work of
# the build away. Seconds.
_LONG_WAIT = 10

_SIZE = (
    "SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables "
    "WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s"
)


class TooHeavy(UsageError):
    """A statement would copy a big table, or block its writes. Nothing was done."""


class Sender:
    """Sends definitions on one session."""

    def __init__(self, connection: Any, settings: MigrationSettings) -> None:
        """Begin; `connection` is the driver's."""
        self._connection = connection
        self._settings = settings
        self._is_mariadb = "MariaDB" in connection.server_version
        with contextlib.suppress(Exception), connection.cursor() as cursor:
            # Else sizes are up to a day old; MariaDB has no such variable, and no such cache.
            cursor.execute("SET information_schema_stats_expiry = 0")

    def __call__(self, sql: str, run: Callable[[str], Any]) -> bool:
        """Send a definition by `run`; False where its IF [NOT] EXISTS leaves nothing to do.

        Raises:
            TooHeavy: it would copy or block a big table, and that is not allowed.
        """
        if self._is_mariadb:  # its clauses mean other things, and it knows IF EXISTS
            self._try(sql, run)
            return True
        with self._connection.cursor() as cursor:
            text = without_condition(cursor, sql)
        if text is None:
            return False
        found = ways(text)
        if found is None:
            self._try(text, run)
        else:
            self._mildest(found, text, run)
        return True

    def _try(self, sql: str, run: Callable[[str], Any]) -> None:
        patiently(self._connection, lambda: run(sql), sql, self._settings.patience)

    def _mildest(self, found: Ways, plain: str, run: Callable[[str], Any]) -> None:
        size = self._size(found.table)
        is_big = size > self._settings.big_table
        attempts = [found.instant, found.in_place]
        if is_big and is_allowed("shared") and not is_allowed("copy"):
            attempts.append(found.shared)
        if not is_big or is_allowed("copy"):
            attempts.append(plain)
        with self._waiting(_LONG_WAIT if is_big else None):
            reason = ""
            for attempt in attempts:
                if attempt is None:
                    continue
                try:
                    self._try(attempt, run)
                except Exception as error:
                    reason = str(error.args[-1])
                    if attempt is plain or not is_refused(number_of(error), reason):
                        raise
                else:
                    return
        raise TooHeavy(
            f"{found.table} has {size / 2**20:,.0f} MiB, and MySQL cannot do this without copying "
            f"it or blocking its writes ({reason}). Expand instead (add a column, backfill(), "
            'switch, drop), or say that it may: with allow("copy", reason="..."), or "shared".'
        )

    @contextlib.contextmanager
    def _waiting(self, seconds: int | None) -> Any:
        if seconds is None or seconds <= self._settings.lock_wait:
            yield
            return
        with self._connection.cursor() as cursor:
            cursor.execute("SET lock_wait_timeout = %s", (seconds,))
        try:
            yield
        finally:
            with contextlib.suppress(Exception), self._connection.cursor() as cursor:
                cursor.execute("SET lock_wait_timeout = %s", (self._settings.lock_wait,))

    def _size(self, table: str) -> int:
        parts = [
            part.strip("`").replace("``", "`")
            for part in re.findall(r"`(?:[^`]|``)+`|[^.\s]+", table)
        ]
        with self._connection.cursor() as cursor:
            cursor.execute(_SIZE, (parts[0] if len(parts) == 2 else None, parts[-1]))
            return int(cursor.fetchone()[0])
