"""PyMySQL's connection, made lean and watchful.

Lean: login, then one SET that carries the whole session state (PyMySQL sends SET NAMES and SET
AUTOCOMMIT, SQLAlchemy six more statements). Watchful: connecting is one deadline, a statement is
one deadline, and whoever owns the connection may refuse a statement before it is sent and hears of
each that failed.
"""

from __future__ import annotations

import contextlib
import functools
import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import pymysql
from pymysql.connections import Connection as PyMySQLConnection
from pymysql.constants import CLIENT, COMMAND, CR

from dal.engine.channel import Channel, TimedOut
from dal.engine.deadline import NEVER, Deadline
from dal.engine.killing import kill_abandoned
from dal.engine.settings import Settings
from dal.engine.tls import context_for
from dal.errors import UsageError

# MySQL 8's default, written out: RDS's own default is not strict, and without strict mode values
# are truncated in silence (manual, "Server SQL Modes").
SQL_MODE = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
)

#: Seconds that the client waits longer than the server's own limit, for the server's answer.
GRACE = 1.0

#: Seconds after which the server's limits are sent again, where a deadline draws near.
RENEWAL = 2.0


class Owner(Protocol):
    """Whoever decides over a connection: the scope that it was made for."""

    @property
    def is_lost_or_refused(self) -> bool:
        """Whether the transaction is rolled back or will be, savepoints and all."""

    def before_statement(self, sql: str | bytes) -> None:
        """Raise if this statement may not be sent."""

    def statement_failed(self, error: BaseException, sql: str | bytes) -> None:
        """Take note of a statement that was sent and failed."""


@dataclass(frozen=True)
class Purpose:
    """What a connection is made for."""

    read_only: bool = False
    deadline: Deadline = NEVER
    owner: Owner | None = None


# SQLAlchemy's pool calls its creator without arguments; this is how a scope's wishes reach it.
_purpose: ContextVar[Purpose] = ContextVar("dal_connection_purpose", default=Purpose())  # noqa: B039


def current_purpose() -> Purpose:
    """Return what a connection opened here and now would be for."""
    return _purpose.get()


@contextlib.contextmanager
def connecting_for(purpose: Purpose) -> Iterator[None]:
    """Make every connection that is opened inside the block one for `purpose`."""
    token = _purpose.set(purpose)
    try:
        yield
    finally:
        _purpose.reset(token)


class ConnectFailed(pymysql.OperationalError):
    """The driver's error while connecting, with the stage that it came from."""

    def __init__(
        self, errno: int, message: str, stage: str, settings: Settings, *, may_pass: bool
    ) -> None:
        super().__init__(errno, message)
        self.stage = stage
        self.settings = settings
        #: Whether it only ran out of time.
        self.is_timeout = False
        #: Whether the same try may succeed a moment later.
        self.may_pass = may_pass


class CommitUnanswered(pymysql.OperationalError):
    """COMMIT was sent whole and no answer to it came."""


# The answer itself may say that it is none: the server is going away, or the session was killed
# while it was committing.
_NO_ANSWER = {1053, 1317, 3168, 3169, 4031}


def _is_refusal(error: Exception) -> bool:
    """Return whether this is the server saying no to a COMMIT: an error of its own numbers."""
    number = error.args[0] if isinstance(error, pymysql.Error) and error.args else None
    is_servers = isinstance(number, int) and (1000 <= number < 2000 or number >= 3000)
    return is_servers and number not in _NO_ANSWER


_HASHING_PLUGINS = {
    b"caching_sha2_password",
    b"sha256_password",
    b"mysql_native_password",
    b"client_ed25519",
}


class Connection(PyMySQLConnection):
    """One session on the server, in the state that its purpose asks for."""

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
            defer_connect=True,
        )
        if context is not None:
            self.ctx = _StartTLS(context, settings.port)
        self.settings = settings
        self._statement_limit = (settings.statement_timeout or math.inf) + GRACE
        self._connect_limit = limit
        self._address = address or settings.host
        self.purpose = current_purpose()
        self.owner: Owner | None = None
        #: Whether a COMMIT of this connection was answered.
        self.has_committed = False
        #: Whether anything was sent since the last COMMIT or ROLLBACK.
        self.has_work = False
        self._renew_at = math.inf
        self._sent: str | bytes = b""
        self.connect()

    @property
    def is_mariadb(self) -> bool:
        """Whether the greeting is MariaDB's."""
        return "MariaDB" in self.server_version

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
            self._address = channel.peer
            self._sock, self._rfile = channel, channel.makefile("rb")
            self._next_seq_id = 0
            stage = "greeting"
            self._get_server_information()
            stage = "login"
            self._request_authentication()
            stage = "session"
            # Not query(): that draws on the limits of statements.
            super()._execute_command(COMMAND.COM_QUERY, self._session_state())
            self._read_query_result()
        except Exception as error:  # noqa: BLE001  # whatever a stranger's greeting provokes
            self._force_close()
            failure = (channel and channel.failure) or error
            raise _connect_failed(error, failure, stage, self.settings) from failure
        except BaseException:
            self._force_close()
            raise
        self.has_work = False
        self.owner = self.purpose.owner

    def _session_state(self) -> str:
        """Return the one SET: everything that this session's state is made of.

        https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html has each variable.
        MariaDB 10 has the older names of two and no limit that is for SELECT alone.
        """
        old = "tx" if self.is_mariadb else "transaction"
        state = {
            f"{old}_isolation": "'READ-COMMITTED'",
            "sql_mode": f"'{SQL_MODE}'",
            "time_zone": "'+00:00'",
            # Alone, a SELECT needs no transaction: autocommit spares its COMMIT.
            "autocommit": "1" if self.purpose.read_only else "0",
        }
        if self.purpose.read_only:
            state[f"{old}_read_only"] = "1"
        state |= self._limits()
        return "SET NAMES utf8mb4, " + ", ".join(f"{name}={value}" for name, value in state.items())

    def _limits(self) -> dict[str, str]:
        """Return the server's own limits, for the time that is left."""
        settings, left = self.settings, self.purpose.deadline.remaining()
        patience = str(_seconds(min(settings.lock_wait_timeout, left)))
        limits = {"lock_wait_timeout": patience, "innodb_lock_wait_timeout": patience}
        if not self.is_mariadb:
            statement = min(settings.statement_timeout or math.inf, left)
            milliseconds = 0 if statement == math.inf else max(1, int(statement * 1000))
            limits["max_execution_time"] = str(milliseconds)
        idle = settings.idle_timeout if left == math.inf else _seconds(left + GRACE)
        if idle is not None:
            limits |= {"wait_timeout": str(idle), "net_write_timeout": str(idle)}
        self._renew_at = math.inf if left == math.inf else time.monotonic() + RENEWAL
        return limits

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
        try:
            super()._execute_command(command, sql)
        except BaseException as error:
            if isinstance(error, TimedOut):
                self._force_close()  # PyMySQL does so after an OSError
            self._failed(error, sql)
            raise
        self._sent = sql[:64]

    def _check_no_stream(self, sql: str | bytes) -> None:
        # PyMySQL would read and drop the rest, with a warning. COMMIT and ROLLBACK are str.
        if isinstance(sql, bytes) and self._result is not None and self._result.unbuffered_active:
            raise UsageError(
                "a statement while a result is streamed would drop the rest of it: read it to its "
                "end, close it, or walk with a repository's stream()"
            )

    def _renew_limits(self) -> None:
        """Bring the server's limits down to what is left; short scopes never pay for it.

        `wait_timeout` counts from the last statement: set once, it would let the locks of a
        function that dies late outlive its deadline by as much again.
        """
        self._start_clock()
        limits = ", ".join(f"{name}={value}" for name, value in self._limits().items())
        try:
            super()._execute_command(COMMAND.COM_QUERY, f"SET {limits}")
            super()._read_query_result()
        except BaseException as error:
            self._failed(error, "SET")
            raise

    def _start_clock(self) -> None:
        if self._sock is not None:  # PyMySQL says by itself that it is closed
            self._sock.allow(self._statement_limit)

    def _read_query_result(self, unbuffered: bool = False) -> int:  # noqa: FBT001, FBT002
        affected: int = self._watched(
            functools.partial(super()._read_query_result, unbuffered=unbuffered)
        )
        if unbuffered:  # the caller takes the rows in its own time
            self._sock.allow_each(self._statement_limit)
        return affected

    def _read_ok_packet(self) -> Any:
        return self._watched(super()._read_ok_packet)

    def _watched(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except BaseException as error:
            self._failed(error, self._sent)
            raise

    def _failed(self, error: BaseException, sql: str | bytes) -> None:
        if self.owner is not None:
            self.owner.statement_failed(error, sql)
        # Not the driver's own COMMIT and ROLLBACK, which are str: let them come to their end.
        if isinstance(error, TimedOut) and isinstance(sql, bytes):
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
        self.has_work = False
        self.has_committed = True

    @property
    def is_hung_up(self) -> bool:
        """Whether the server is known to have ended the session; asks the socket, never waits."""
        if not self.open:
            return True
        result = self._result
        is_owed = result is not None and (result.unbuffered_active or result.has_next)
        return not is_owed and self._sock.has_news()

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


class _StartTLS:
    """Stands where PyMySQL expects its `SSLContext` and encrypts the channel with the real one."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._context = context
        self._port = port

    def wrap_socket(self, channel: Channel, server_hostname: str) -> Channel:
        channel.wrap_tls(self._context, server_hostname, self._port)
        return channel


_LONGEST = 31_536_000  # a year: the highest value of these variables


def _seconds(limit: float) -> int:
    """Return whole seconds, at least one: MySQL's wait limits know no fractions."""
    return max(1, math.ceil(min(limit, _LONGEST)))


# Full (1040, 1203, 1226), shutting down (1053), lost on the way in.
_MAY_PASS = {1040, 1203, 1226, 1053, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST}


def _connect_failed(
    error: Exception, failure: Exception, stage: str, settings: Settings
) -> ConnectFailed:
    """Return the driver's error for `error`, which came of `failure` on the socket, if on that."""
    number, text, may_pass = CR.CR_CONN_HOST_ERROR, str(failure), False
    if isinstance(failure, TimedOut):
        if failure.deadline_passed:
            stage = "deadline"
        text = f"no complete answer within {settings.connect_timeout:g} s"
    elif isinstance(failure, ssl.SSLEOFError | ConnectionError):
        may_pass = True  # refused, reset or hung up, in the TLS handshake as well
    elif isinstance(failure, ssl.SSLError):
        number, stage = CR.CR_SSL_CONNECTION_ERROR, "tls"
    elif isinstance(failure, socket.gaierror):
        stage, may_pass = "name", failure.errno == socket.EAI_AGAIN
    elif isinstance(error, RuntimeError) and "cryptography" in text:
        number, stage = CR.CR_AUTH_PLUGIN_ERR, "rsa"
    elif isinstance(error, pymysql.Error) and error.args and isinstance(error.args[0], int):
        number, text = error.args[0], str(error.args[-1])
        may_pass = number in _MAY_PASS
    failed = ConnectFailed(number, text, stage, settings, may_pass=may_pass)
    failed.is_timeout = isinstance(failure, TimedOut)
    return failed
