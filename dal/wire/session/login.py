"""The beginning of a session: connect, log in, one SET that carries the whole session state.

PyMySQL sends SET NAMES and SET AUTOCOMMIT, SQLAlchemy six statements more. Everything until the
session is ready draws on one deadline.
"""

from __future__ import annotations

import functools
import math
import ssl
import struct
import time
from typing import Any

import pymysql
from pymysql.connections import Connection as PyMySQLConnection
from pymysql.constants import CLIENT, COMMAND, CR
from pymysql.cursors import Cursor

from dal.credentials import Login
from dal.errors import UsageError
from dal.settings import Settings
from dal.wire.network.channel import Channel
from dal.wire.network.connect_failed import WantsRSA, connect_failed
from dal.wire.network.tls import context_for
from dal.wire.purpose import Owner, current_purpose
from dal.wire.session.literals import CONVERSIONS, Literals
from dal.wire.session.state import GRACE, session_state

#: Seconds after which the server's limits are sent again, where a deadline draws near.
RENEWAL = 0.5

_HASHING_PLUGINS = {
    b"caching_sha2_password",
    b"sha256_password",
    b"mysql_native_password",
    b"client_ed25519",
}


class LoggedIn(Literals):
    """A connection that is ready once it is made, in the state that its purpose asks for."""

    _result: Any  # PyMySQL's, of the last statement

    def __init__(
        self, settings: Settings, login: Login, limit: float, address: str | None = None
    ) -> None:
        """Connect within `limit` seconds, to `address` where one is given."""
        context = context_for(settings)
        super().__init__(
            host=settings.host,
            port=settings.port,
            user=login.user,
            password=login.encoded(),
            database=settings.database,
            charset="utf8mb4",
            conv=CONVERSIONS,
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
        self.login = login
        self._statement_limit = (settings.statement_timeout or math.inf) + GRACE
        self._connect_limit = limit
        #: Where it is connected to: a number, once it is.
        self.address = address or settings.host
        self._begin()
        self.connect()

    def _begin(self) -> None:
        """Forget what an earlier scope did; the purpose is that of here and now."""
        self.purpose = current_purpose()
        self.owner: Owner | None = None
        #: Whether a COMMIT of this connection was answered.
        self.has_committed = False
        #: Whether a COMMIT left, and nothing says what became of it.
        self.is_commit_open = False
        #: Whether anything was sent since the last COMMIT or ROLLBACK.
        self.has_work = False
        self._renew_at = math.inf
        self._sent: str | bytes = b""
        self._size = 0  # of the last statement, on the wire
        self._sent_at: float | None = None  # None once its first answer has come
        self._is_in_doubt = False

    def _take_up(self) -> None:
        """Let the owner decide over what is sent from here on."""
        self.has_work = False
        self.owner = self.purpose.owner

    @property
    def is_mariadb(self) -> bool:
        """Whether the greeting is MariaDB's."""
        return "MariaDB" in self.server_version

    @property
    def encryption(self) -> tuple[str, str] | None:
        """The protocol and the cipher in use, as the socket says; None without TLS."""
        channel: Channel = self._sock
        return channel.encryption

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
            channel = Channel(self.address, self.port, self._connect_limit, self.purpose.deadline)
            channel.tally = self.purpose.tally
            self.address = channel.peer
            self._sock, self._rfile = channel, channel.makefile("rb")
            self._next_seq_id = 0
            stage = "greeting"
            self._get_server_information()
            stage = "login"
            self._request_authentication()
            channel.most = self.settings.max_result_bytes
            stage = "session"
            self._set_session()
        except Exception as error:  # noqa: BLE001  # whatever a stranger's greeting provokes
            self._force_close()
            failure = (channel and channel.failure) or error
            raise connect_failed(error, failure, stage, self.settings) from failure
        except BaseException:
            self._force_close()
            raise
        self._logged_in_at = time.monotonic()
        self._take_up()

    @property
    def age(self) -> float:
        """Seconds since the login."""
        return time.monotonic() - self._logged_in_at

    def _set_session(self, owed: int = 0) -> None:
        """Send the one SET; not by query(), which draws on the limits of statements.

        The answers to `owed` commands sent before come first.
        """
        self.read_answers(owed)
        self._check_silence()
        self._sent = state = session_state(self.settings, self.purpose, is_mariadb=self.is_mariadb)
        self._renew_at = self._next_renewal()
        PyMySQLConnection._execute_command(self, COMMAND.COM_QUERY, state)  # noqa: SLF001
        self._read_query_result()

    def send_together(self, *commands: tuple[int, bytes]) -> None:
        """Send commands, none larger than 16 MB, without waiting for their answers."""
        self._write_bytes(
            b"".join(struct.pack("<iB", len(data) + 1, code) + data for code, data in commands)
        )
        self._result = None
        self._next_seq_id = 1

    def read_answers(self, number: int) -> None:
        """Read the answers to so many commands, each an OK.

        Raises:
            pymysql.Error: one is an error, or none at all.
        """
        for _ in range(number):
            self._next_seq_id = 1
            self._read_ok_packet()

    def _check_silence(self) -> None:
        """Close, and raise, if the server has said something unasked, or closed.

        It would be taken for the answer to what is sent next, to COMMIT even, and each answer from
        there on for that to the command after its own.
        """
        if self._sock is not None and self._sock.has_news():
            self._force_close()
            raise pymysql.OperationalError(
                CR.CR_SERVER_GONE_ERROR,
                "the server had ended the session, or sent what nobody asked for",
            )

    # PyMySQL takes a key from the server and sends the password under it, without TLS: to whoever
    # answers there.
    @property
    def server_public_key(self) -> None:
        """None: a key of the server's is not taken."""

    @server_public_key.setter
    def server_public_key(self, key: bytes | None) -> None:
        if key is not None:
            raise WantsRSA

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
