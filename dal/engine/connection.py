"""PyMySQL's connection, made lean and watchful.

Lean: login, then one SET that carries the whole session state (PyMySQL sends SET NAMES and SET
AUTOCOMMIT, SQLAlchemy six more statements). Watchful: connecting is one deadline, a statement is
one deadline, and whoever owns the connection may refuse a statement before it is sent and hears of
each that failed.
"""

from __future__ import annotations

import copy
import functools
import math
import ssl
import struct
import time
from collections.abc import Callable
from typing import Any

import pymysql
from pymysql.connections import Connection as PyMySQLConnection
from pymysql.constants import CLIENT, COMMAND, CR
from pymysql.cursors import Cursor

from dal.engine.channel import Channel, TimedOut
from dal.engine.connect_failed import connect_failed
from dal.engine.cursors import whole
from dal.engine.deadline import Deadline
from dal.engine.killing import kill_abandoned
from dal.engine.purpose import Lender, Owner, Purpose, connecting_for, current_purpose
from dal.engine.rows import Result
from dal.engine.session_state import GRACE, limits_again, session_state
from dal.engine.settings import Settings
from dal.engine.tls import context_for
from dal.errors import UsageError

#: Seconds after which the server's limits are sent again, where a deadline draws near.
RENEWAL = 0.5


class CommitUnanswered(pymysql.OperationalError):
    """COMMIT was sent whole and no answer to it came."""


# The answer itself may say that it is none: the server is going away, or the session was killed
# while it was committing.
_NO_ANSWER = {1053, 1317, 3168, 3169, 4031}


def is_servers(number: object) -> bool:
    """Return whether this is an error number of the server's; 2000 to 2999 are the client's."""
    return isinstance(number, int) and (1000 <= number < 2000 or number >= 3000)


def _is_refusal(error: Exception) -> bool:
    """Return whether this is the server saying no to a COMMIT: an error of its own numbers."""
    number = error.args[0] if isinstance(error, pymysql.Error) and error.args else None
    return is_servers(number) and number not in _NO_ANSWER


_HASHING_PLUGINS = {
    b"caching_sha2_password",
    b"sha256_password",
    b"mysql_native_password",
    b"client_ed25519",
}


class Connection(PyMySQLConnection):
    """One session on the server, in the state that its purpose asks for."""

    _result: Any  # PyMySQL's, of the last statement

    def __init__(
        self, settings: Settings, password: bytes, limit: float, address: str | None = None
    ) -> None:
        """Connect within `limit` seconds, to `address` where one is given."""
        context = context_for(settings)
        super().__init__(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=password,
            database=settings.database,
            charset="utf8mb4",
            autocommit=None,
            client_flag=CLIENT.FOUND_ROWS,  # SQLAlchemy reads rowcount as matched, not changed
            ssl=context,
            ssl_disabled=context is None,
            cursorclass=_cursor_class(settings.max_statement_bytes),
            defer_connect=True,
        )
        if context is not None:
            self.ctx = _StartTLS(context, settings.port)
        self.settings = settings
        self._statement_limit = (settings.statement_timeout or math.inf) + GRACE
        self._connect_limit = limit
        self._address = address or settings.host
        self._begin()
        self.connect()

    def _begin(self) -> None:
        self.purpose = current_purpose()
        self.owner: Owner | None = None
        #: Who takes the session back, if it is clean, in place of closing it.
        self.lender: Lender | None = None
        #: Whether a COMMIT of this connection was answered.
        self.has_committed = False
        #: Whether anything was sent since the last COMMIT or ROLLBACK.
        self.has_work = False
        self._renew_at = math.inf
        self._sent: str | bytes = b""
        self._sent_at: float | None = None  # None once its first answer has come
        self._is_in_doubt = False

    @property
    def is_mariadb(self) -> bool:
        """Whether the greeting is MariaDB's."""
        return "MariaDB" in self.server_version

    @property
    def encryption(self) -> tuple[str, str] | None:
        """The protocol and the cipher in use, as the socket says; None without TLS."""
        channel: Channel = self._sock
        return channel.encryption

    # Connecting ---------------------------------------------------------------------------------

    def connect(self, sock: None = None) -> None:  # noqa: ARG002
        """Connect, log in, set the session.

        Raises:
            ConnectFailed: with the stage that failed; the cause is the first error.
        """
        if self.owner is not None:
            raise UsageError("the connection of a scope does not connect again: its work would go")
        self._closed = False
        self._current_timeout = None
        stage = "connect"
        channel: Channel | None = None
        try:
            channel = Channel(self._address, self.port, self._connect_limit, self.purpose.deadline)
            channel.tally = self.purpose.tally
            self._address = channel.peer
            self._sock, self._rfile = channel, channel.makefile("rb")
            self._next_seq_id = 0
            stage = "greeting"
            self._get_server_information()
            stage = "login"
            self._request_authentication()
            stage = "session"
            self._set_session()
        except Exception as error:  # noqa: BLE001  # whatever a stranger's greeting provokes
            self._force_close()
            failure = (channel and channel.failure) or error
            raise connect_failed(error, failure, stage, self.settings) from failure
        except BaseException:
            self._force_close()
            raise
        self._take_up()

    def _set_session(self, owed: int = 0) -> None:
        """Send the one SET; not by query(), which draws on the limits of statements.

        The answers to `owed` commands sent before come first.
        """
        self._sent = state = session_state(self.settings, self.purpose, is_mariadb=self.is_mariadb)
        self._renew_at = self._next_renewal()
        super()._execute_command(COMMAND.COM_QUERY, state)
        for _ in range(owed):
            self._read_ok_packet()
            self._next_seq_id = 1
        self._read_query_result()

    def _next_renewal(self) -> float:
        is_bounded = self.purpose.deadline.remaining() < math.inf
        has_limits = not self.settings.proxy
        return time.monotonic() + RENEWAL if is_bounded and has_limits else math.inf

    def _process_auth(self, plugin_name: bytes, auth_packet: Any, handler: Any = None) -> Any:
        # PyMySQL answers any server that asks for the password in the clear, TLS or not.
        if plugin_name not in _HASHING_PLUGINS and self.settings.tls != "verify":
            raise pymysql.OperationalError(
                CR.CR_AUTH_PLUGIN_ERR,
                f"the server asks for the password by {plugin_name!r}, in clear text perhaps, "
                "which needs tls='verify'",
            )
        return super()._process_auth(plugin_name, auth_packet, handler)

    def sibling(self, deadline: Deadline) -> Connection:
        """Return another connection to the very same address."""
        with connecting_for(Purpose(deadline=deadline)):
            return Connection(self.settings, self.password, deadline.remaining(), self._address)

    # Handing the session on ---------------------------------------------------------------------

    @property
    def _is_clean(self) -> bool:
        """Whether all was answered, nothing failed, and nothing is left to commit or roll back."""
        is_owed = self._sent_at is not None or self._is_owed
        is_done = self.purpose.read_only or not self.has_work
        return self.open and is_done and not (is_owed or self._is_in_doubt)

    def close(self) -> None:
        """Close, or let the lender have the session back if it is clean."""
        if self.lender is not None and self._is_clean and self.lender.take_back(self):
            return
        super().close()

    def hand_on(self, *commands: tuple[int, bytes]) -> Connection:
        """Send `commands` without waiting for their answers; return who has the session now.

        This connection is closed with that: whoever still holds it reaches nothing through it.
        """
        self._start_clock()
        self._write_bytes(
            b"".join(struct.pack("<iB", len(data) + 1, code) + data for code, data in commands)
        )
        self._result = None
        heir = copy.copy(self)
        heir.owner, heir.lender, heir.purpose = None, None, Purpose()  # nothing of the scope
        self._sock.serve(heir.purpose, math.inf)
        self._sock = self._rfile = None  # type: ignore[assignment]
        self._closed = True
        return heir

    def resume(self, limit: float, owed: int) -> None:
        """Begin anew in a session that was handed on with `owed` commands, within `limit` seconds.

        Raises:
            Exception: the session is not what it was, whatever shows it. Nothing had begun.
        """
        self._begin()
        self._sock.serve(self.purpose, limit)
        self._set_session(owed)
        self._take_up()

    def _take_up(self) -> None:
        self.has_work = False
        self.owner = self.purpose.owner

    # Statements ---------------------------------------------------------------------------------

    def _execute_command(self, command: int, sql: str | bytes) -> None:
        """Send one command: everything that reaches the server comes through here."""
        if self.owner is not None:
            self._check_no_stream(sql)
            self.owner.before_statement(sql)
        if time.monotonic() >= self._renew_at:
            self._renew_limits()
        self._start_clock()
        self.has_work = True
        self._is_in_doubt |= self._sent_at is not None or command != COMMAND.COM_QUERY
        self._sent_at = time.monotonic()
        try:
            super()._execute_command(command, sql)
        except BaseException as error:
            if isinstance(error, TimedOut):
                self._force_close()  # PyMySQL does so after an OSError
            self._failed(error, sql)
            raise
        self._sent = sql[:64]

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
    def _is_owed(self) -> bool:
        """Whether the server still has something to say to what it was sent."""
        result = self._result
        return result is not None and bool(result.unbuffered_active or result.has_next)

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
            self._failed(error, self._sent)
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
        # Not the driver's own COMMIT and ROLLBACK, which are str: let them come to their end.
        # Not behind a proxy, whose numbers are not the server's.
        if isinstance(error, TimedOut) and isinstance(sql, bytes) and not self.settings.proxy:
            kill_abandoned(self, sql.decode(self.encoding, "ignore"))

    # Transactions -------------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit.

        Raises:
            CommitUnanswered: COMMIT left and its answer did not come: outcome unknown.
            pymysql.Error: it did not leave, or the server refused it: not committed.
        """
        self._check_hung_up()
        # A send that fails leaves nothing in the kernel's buffer: those few bytes never left.
        self._execute_command(COMMAND.COM_QUERY, "COMMIT")
        try:
            self._read_ok_packet()
        except Exception as error:
            if _is_refusal(error):
                raise
            raise CommitUnanswered(CR.CR_SERVER_LOST, str(error)) from error
        self.purpose.tally.commits += 1
        self.has_work = False
        self.has_committed = True

    @property
    def is_hung_up(self) -> bool:
        """Whether the server is known to have ended the session; asks the socket, never waits."""
        return not self.open or (not self._is_owed and self._sock.has_news())

    def _check_hung_up(self) -> None:
        # The send would succeed all the same: it takes the peer's RST to make one fail.
        if self.open and self.is_hung_up:
            self._force_close()
            error = pymysql.OperationalError(
                CR.CR_SERVER_GONE_ERROR, "the server had ended the session before COMMIT was sent"
            )
            self._failed(error, "COMMIT")
            raise error

    def rollback(self) -> None:
        """Roll back; without a round trip where nothing was sent that could be undone."""
        if self.has_work and not self.purpose.read_only:
            super().rollback()
            self.purpose.tally.rollbacks += 1
            self.has_work = False

    def _force_close(self) -> None:
        result = getattr(self, "_result", None)
        if result is not None and result.unbuffered_active:
            # Collected later, it would read what is left of a stream from the closed socket.
            result.unbuffered_active, result.connection = False, None
        super()._force_close()

    def drop(self) -> None:
        """Close the socket if it is open still, without a word to the server."""
        self._force_close()


@functools.cache
def _cursor_class(longest: int) -> type[Cursor]:
    """Return PyMySQL's cursor with another length of what `executemany` puts together."""
    return type("Cursor", (Cursor,), {"max_stmt_length": longest})


class _StartTLS:
    """Stands where PyMySQL expects its `SSLContext` and encrypts the channel with the real one."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._context = context
        self._port = port

    def wrap_socket(self, channel: Channel, server_hostname: str) -> Channel:
        channel.wrap_tls(self._context, server_hostname, self._port)
        return channel
