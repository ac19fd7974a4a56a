"""Statements: each has one deadline, the owner may refuse it, and hears of it if it failed."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import pymysql
from pymysql.constants import COMMAND, CR
from pymysql.cursors import Cursor

from dal.errors import UsageError, is_servers
from dal.wire.network.channel import TimedOut
from dal.wire.session.cursors import whole
from dal.wire.session.login import LoggedIn
from dal.wire.session.rows import Result
from dal.wire.session.state import limits_again


class Statements(LoggedIn):
    """A connection that watches what is sent and what comes back."""

    def _execute_command(self, command: int, sql: str | bytes) -> None:
        """Send one command: everything that reaches the server comes through here."""
        if self.owner is not None:
            self._check_no_stream(sql)
            self.owner.before_statement(sql)
        try:
            self._check_order()
            if time.monotonic() >= self._renew_at:
                self._renew_limits()
            self._start_clock()
            self.has_work = True
            self._is_in_doubt |= command != COMMAND.COM_QUERY
            self._sent_at = time.monotonic()
            super()._execute_command(command, sql)
        except BaseException as error:
            if isinstance(error, TimedOut):
                self._force_close()  # PyMySQL does so after an OSError
            self._failed(error, sql)
            raise
        self._sent = sql[:64]

    def _check_order(self) -> None:
        """Close, and raise, where the next answer would not be that to what is sent next."""
        is_unread = self._sent_at is not None and self._next_seq_id == 1
        if is_unread and self.open:  # an interrupt struck in between
            self._force_close()
            raise pymysql.OperationalError(
                CR.CR_COMMANDS_OUT_OF_SYNC, "the answer to the statement before was never read"
            )
        if not self._is_owed:
            self._check_silence()

    def query(self, sql: str | bytes, unbuffered: bool = False) -> int:  # noqa: FBT001, FBT002
        """Run one statement and read its answer, or the head of one that is streamed."""
        affected: int = super().query(sql, unbuffered)
        self.answered_all()
        return affected

    def answered_all(self) -> None:
        """Renew the limits where a long statement has ended: their idle time counts from now.

        A scope that only reads holds no locks, and needs its last moment for the answer.
        """
        is_late = time.monotonic() >= self._renew_at and not self.purpose.read_only
        if is_late and self.open and not self._is_owed:
            result = self._result
            self._renew_limits()
            self._result = result

    @property
    def is_waiting(self) -> bool:
        """Whether a statement was sent whose answer has not begun to come."""
        return self._sent_at is not None

    @property
    def _is_owed(self) -> bool:
        """Whether the server still has something to say to what it was sent."""
        result = self._result
        return result is not None and bool(result.unbuffered_active or result.has_next)

    def drop_stream(self) -> None:
        """Read and drop what is left of a streamed result, which nobody will want any more."""
        result = self._result
        if result is not None and result.unbuffered_active:
            self._start_clock()
            result._finish_unbuffered_query()  # noqa: SLF001

    def cursor(self, cursor: type[Cursor] | None = None) -> Cursor:
        """Return a cursor of this class, or PyMySQL's usual one."""
        kind: Any = cursor or self.cursorclass
        return whole(kind)(self)

    def _check_no_stream(self, sql: str | bytes) -> None:
        # PyMySQL would read and drop the rest, with a warning. COMMIT and ROLLBACK are str.
        if isinstance(sql, bytes) and self._result is not None and self._result.unbuffered_active:
            raise UsageError(
                "a statement while a result is streamed would drop the rest of it: read it to its "
                "end, close it, or walk with a repository's stream()"
            )

    def _renew_limits(self) -> None:
        """Bring the server's limits down to what is left; short scopes never pay for it.

        `wait_timeout` counts from the end of the last statement: set once, it would let the locks
        of a function that freezes late outlive its deadline by as much again. It must cover what
        is left, as a function may think until then without a statement. So what the last statement
        of a frozen one took (a lock wait, a SELECT) comes on top, and nothing can shorten that.
        """
        self._start_clock()
        limits = limits_again(self.settings, self.purpose, is_mariadb=self.is_mariadb)
        self._renew_at = self._next_renewal()
        try:
            super()._execute_command(COMMAND.COM_QUERY, limits)
            super()._read_query_result()
        except BaseException as error:
            self._failed(error, "SET")
            raise

    def _start_clock(self) -> None:
        if self._sock is not None:  # PyMySQL says by itself that it is closed
            self._sock.allow(self._statement_limit)

    def _read_query_result(self, unbuffered: bool = False) -> int:  # noqa: FBT001, FBT002
        affected: int = self._watched(functools.partial(self._read_result, unbuffered=unbuffered))
        if unbuffered:  # the caller takes the rows in its own time, and unwatched
            self._is_in_doubt = True
            self._sock.allow_each(self._statement_limit)
        self.purpose.tally.answered(self._result)
        if self.owner is not None and (status := self._result.server_status) is not None:
            self.owner.answered(status)
        return affected

    def _read_result(self, *, unbuffered: bool) -> Any:
        # As PyMySQL's _read_query_result, but for the class.
        self._result = None
        result = Result(self)
        if unbuffered:
            result.init_unbuffered_query()
        else:
            result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows

    def _read_ok_packet(self) -> Any:
        return self._watched(super()._read_ok_packet)

    def _watched(self, read: Callable[[], Any]) -> Any:
        sent_at = self._sent_at
        try:
            answer = read()
        except BaseException as error:
            is_answer = isinstance(error, pymysql.Error) and is_servers(error.args[0])
            if not is_answer:
                self._force_close()  # the rest of the answer would be taken for that to the next
            if isinstance(error, pymysql.Error):
                self._sent_at = None  # this was the answer, or none will come
            self._failed(error, self._sent)
            # Not the driver's own COMMIT and ROLLBACK, which are str: let them come to their end.
            # Not behind a proxy, whose numbers are not the server's.
            sent = self._sent
            if isinstance(error, TimedOut) and isinstance(sent, bytes) and not self.settings.proxy:
                self._gave_up(sent)
            raise
        finally:
            if sent_at is not None:
                self.purpose.tally.waited(self._sent, time.monotonic() - sent_at)
        self._sent_at = None
        return answer

    def _failed(self, error: BaseException, sql: str | bytes) -> None:
        self._is_in_doubt = True
        if self.owner is not None:
            self.owner.statement_failed(error, sql)

    def _gave_up(self, sql: bytes) -> None:
        """Do what is to be done about a statement that runs on without its client."""
