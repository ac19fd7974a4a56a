"""What a unit of work has cost so far, added up where it happens."""

from __future__ import annotations

from typing import Any


class Tally:
    """Plain counters of one unit of work, over all its attempts; seconds are floats.

    Attributes:
        connections: Sessions that were made; tries that failed are among `retries`, if repeated.
        connect_seconds: Making them: every try, the waits in between, asking for the password; or
            taking up one that was kept.
        round_trips: Commands that were sent and answered, logins and the SET included; not TCP,
            greeting and TLS.
        statements: What was sent but COMMIT, ROLLBACK and the settings of the session.
        statement_seconds: From sending a statement until the last row of its first result was
            read; of a stream, until its rows begin to come.
        commits: COMMITs that the server confirmed.
        commit_seconds: From sending COMMIT until its answer came, or was given up.
        rollbacks: ROLLBACKs that the server confirmed.
        rows_read: Rows that came.
        rows_written: Rows that INSERT, UPDATE, DELETE and their like found, changed or not.
        retries: By the name of the error: how often connecting, or the whole unit, was tried again.
    """

    __slots__ = (
        "commit_seconds",
        "commits",
        "connect_seconds",
        "connections",
        "retries",
        "rollbacks",
        "round_trips",
        "rows_read",
        "rows_written",
        "statement_seconds",
        "statements",
    )

    def __init__(self) -> None:
        self.connections = self.round_trips = self.statements = 0
        self.commits = self.rollbacks = self.rows_read = self.rows_written = 0
        self.connect_seconds = self.statement_seconds = self.commit_seconds = 0.0
        self.retries: dict[str, int] = {}

    def waited(self, sql: str | bytes, seconds: float) -> None:
        """Note a command and how long its answer took; the driver's own are str."""
        if isinstance(sql, bytes):
            self.statements += 1
            self.statement_seconds += seconds
        elif sql == "COMMIT":
            self.commit_seconds += seconds

    def answered(self, result: Any) -> None:
        """Note the rows of a `MySQLResult`; those of a stream as they come."""
        if not result.field_count:
            self.rows_written += result.affected_rows
        elif result.unbuffered_active:
            self._watch(result)
        else:
            self.rows_read += len(result.rows)

    def _watch(self, stream: Any) -> None:
        read = stream._read_rowdata_packet_unbuffered  # noqa: SLF001

        def counted() -> Any:
            row = read()
            if row is not None:
                self.rows_read += 1
            return row

        stream._read_rowdata_packet_unbuffered = counted  # noqa: SLF001

    def retry(self, cause: type[BaseException]) -> None:
        """Note one more try, because of an error of this class."""
        name = cause.__name__
        self.retries[name] = self.retries.get(name, 0) + 1
