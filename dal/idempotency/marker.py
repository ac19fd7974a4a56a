"""A marker for scopes without a key: one row, inserted right before COMMIT."""

from __future__ import annotations

import os

from sqlalchemy.engine import Connection

from dal.idempotency.outcome import Mark, was_committed
from dal.idempotency.table import statements
from dal.settings import Settings
from dal.wire.connection import Connection as DriverConnection

#: Microseconds that the row is kept: far longer than anybody asks for it.
_AN_HOUR = 3_600_000_000


class CommitMarker:
    """The marker of one scope."""

    def __init__(self, settings: Settings) -> None:
        run = os.urandom(16)
        self._mark = Mark("", run, run)
        self._sql = statements(settings.table_prefix)

    def write(self, connection: Connection) -> None:
        """Insert the row."""
        mark = self._mark
        row = (mark.name, mark.key, mark.run, None, _AN_HOUR)
        connection.exec_driver_sql(self._sql.insert, row)

    def was_committed(self, lost: DriverConnection) -> bool | None:
        """Return whether the scope's transaction was committed; None where nobody can be asked."""
        return was_committed(self._mark, lost)
