"""Statements: each has one deadline, the owner may refuse it, and hears of it if it failed."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pymysql
from pymysql.constants import COMMAND, CR, ER
from pymysql.cursors import Cursor

from dal.errors import UsageError, is_servers
from dal.wire.network.channel import TimedOut
from dal.wire.session.cursors import whole
from dal.wire.session.login import LoggedIn
from dal.wire.session.rows import Malformed, Result, Undecodable
from dal.wire.session.state import limits_again

#: Seconds before the deadline from which on a limit of the server's is the deadline's: it is set to
#: the same moment, in whole milliseconds, by another clock.
AT_THE_DEADLINE = 0.05

# Bytes of a statement from which on a lost connection may come of its size.
_PERHAPS_TOO_LARGE = 65_536

# A statement's limit (of MariaDB as well), and that of a lock.
_WAITED_TOO_LONG = {3024, 1969, 1205}


def _number(error: BaseException) -> object:
    """Return the driver's number of an error; None where it has none."""
    return error.args[0] if isinstance(error, pymysql.Error) and error.args else None


def _is_raised_in_reading(error: Exception) -> bool:
    """Return whether the driver, or this package, raised it, and no signal handler of the user's.

    PyMySQL raises what Python does where an answer is not what it expects: an IndexError, an
    AssertionError, a struct.error, an `Exception` even.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return name.startswith(("pymysql.", "dal.wire."))


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
            self._size = len(sql) + 1
            self._is_in_doubt |= command != COMMAND.COM_QUERY
            self._sent_at = time.monotonic()
            super()._execute_command(command, sql)
        except BaseException as error:
            if isinstance(error, TimedOut):
                self._force_close()  # PyMySQL does so after an OSError
            failure = self._told_of_size(error)
            self._failed(failure)
            if failure is error:
                raise
            raise failure from error
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
            self._failed(error)
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
        try:
            if unbuffered:
                result.init_unbuffered_query()
            else:
                result.read()
        except Undecodable:
            self._result = result  # others may follow it, which are read before the next statement
            raise
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
            failure = self._understood(error)
            if isinstance(failure, pymysql.Error):
                self._sent_at = None  # this was the answer, or none will come
            self._failed(failure)
            # Not the driver's own COMMIT and ROLLBACK, which are str: let them come to their end.
            # Not behind a proxy, whose numbers are not the server's.
            sent = self._sent
            if isinstance(error, TimedOut) and isinstance(sent, bytes) and not self.settings.proxy:
                self._gave_up(sent)
            if failure is error:
                raise
            raise failure from None
        finally:
            if sent_at is not None:
                self.purpose.tally.waited(self._sent, time.monotonic() - sent_at)
        self._sent_at = None
        return answer

    def refuse_answer(self) -> NoReturn:
        """Close, and raise: the answer is none to the statement that was sent."""
        self._force_close()
        error = Malformed("rows where the statement gives none, or none where it does")
        self._failed(error)
        raise error

    def stream_failure(self, error: BaseException) -> BaseException:
        """Return what to raise for an error that was met while rows of a stream were read."""
        failure = self._understood(error)
        self._failed(failure)
        return failure

    def _understood(self, met: BaseException) -> BaseException:
        """Return what an error means that was met while an answer was read.

        Closes, unless the answer came whole: the rest would be taken for the next one's.
        """
        if isinstance(met, Undecodable):
            return met
        error: BaseException = self._told_of_size(met)
        if is_servers(_number(error)):
            is_at_the_end = self.purpose.deadline.remaining() <= AT_THE_DEADLINE
            if is_at_the_end and _number(error) in _WAITED_TOO_LONG:
                error = TimedOut(self.purpose.deadline.name)
            return error
        self._force_close()
        if isinstance(error, pymysql.Error):
            has_no_number = isinstance(error, pymysql.InternalError)
            if has_no_number or _number(error) == CR.CR_COMMANDS_OUT_OF_SYNC:
                error = Malformed(str(error))
        elif isinstance(error, Exception) and _is_raised_in_reading(error):
            error = Malformed(f"{type(error).__name__} in reading it")
        return error

    def _told_of_size(self, error: BaseException) -> BaseException:
        """Return what to raise for `error` where the statement may have been too large.

        The server says 1153 and closes while more of the statement comes, so that the client
        may find the connection reset instead.
        https://dev.mysql.com/doc/refman/8.4/en/packet-too-large.html
        """
        number, text = _number(error), f"a statement of {self._size:,} bytes"
        is_lost = number in {CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST}
        is_large = self._size >= _PERHAPS_TOO_LARGE and not isinstance(error, TimedOut)
        if number != ER.NET_PACKET_TOO_LARGE and not (is_lost and is_large):
            return error
        self._force_close()
        largest = self._largest_packet() if is_lost else 0
        if largest is None:
            text = f"{error}, at {text}: or it is larger than max_allowed_packet"
        elif self._size <= largest:
            return error
        else:
            number = ER.NET_PACKET_TOO_LARGE
            text += f" is larger than max_allowed_packet, {largest:,}".removesuffix(", 0")
        told: BaseException = pymysql.OperationalError(number, text)
        return told

    def _largest_packet(self) -> int | None:
        """Return the server's `max_allowed_packet`; None where it cannot be asked."""
        return None

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, Undecodable):
            return  # the server did all that it was told, and the next answer is the next one's
        self._is_in_doubt = True
        if self.owner is not None:
            self.owner.statement_failed(error)

    def _gave_up(self, sql: bytes) -> None:
        """Do what is to be done about a statement that runs on without its client."""
