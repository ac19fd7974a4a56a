"""A TCP connection on which every wait is bounded, however slowly the bytes drip.

PyMySQL bounds the TCP connect, then each single `recv` (pymysql/connections.py, `connect` and
`_read_bytes`): a server that sends one byte a second keeps it busy for ever. A `Channel` stands
where PyMySQL expects its socket and gives each wait only what is left of one deadline.
"""

from __future__ import annotations

import contextlib
import io
import math
import socket
import ssl
import time
from typing import Any, NoReturn

import pymysql
from pymysql.constants import CR

from dal.wire.deadline import Deadline
from dal.wire.network import tls
from dal.wire.purpose import Purpose
from dal.wire.tally import Tally

#: Bytes of everything that a server may say until the session stands; a login has some hundred.
_WHILE_CONNECTING = 1_000_000


class TimedOut(pymysql.OperationalError):
    """A wait ended before the server answered. No OSError: PyMySQL would make 2013 of it."""

    def __init__(self, passed: str | None) -> None:
        super().__init__(CR.CR_SERVER_LOST, "no answer in time")
        #: Whose deadline cut the wait short; None where its own limit did.
        self.passed = passed

    def __reduce__(self) -> tuple[Any, ...]:
        return TimedOut, (self.passed,)


class TooMuch(pymysql.OperationalError):
    """An answer is larger than it may be."""

    def __init__(self, limit: int) -> None:
        super().__init__(CR.CR_MALFORMED_PACKET, f"the answer has more than {limit:,} bytes")

    def __reduce__(self) -> tuple[Any, ...]:
        return pymysql.OperationalError, self.args


class Channel:
    """PyMySQL's socket: connected, perhaps encrypted, and never waiting past its limits."""

    def __init__(self, host: str, port: int, limit: float, deadline: Deadline) -> None:
        """Connect to the first address of `host` that answers within `limit` seconds.

        Name resolution is the C library's and outside the deadline (resolv.conf bounds it).

        Raises:
            OSError: as the operating system gives it.
            TimedOut: the time is up.
        """
        self._deadline = deadline
        #: Where the round trips are counted.
        self.tally = Tally()
        self._has_asked = False
        #: Bytes that the next answer, or the next row of a stream, may have.
        self.most = _WHILE_CONNECTING
        #: Bytes that came since the reader was made.
        self.received = 0
        #: The first error of the socket; PyMySQL keeps only its text.
        self.failure: Exception | None = None
        self.allow(limit)
        #: The address that answered, of all that `host` has.
        self.peer = host
        self._reader: io.BufferedReader | None = None
        self._socket = self._connect(host, port)

    def _connect(self, host: str, port: int) -> socket.socket:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for position, (family, kind, protocol, _, address) in enumerate(addresses, 1):
            candidate = socket.socket(family, kind, protocol)
            try:
                candidate.settimeout(self._patience())
                candidate.connect(address)
                candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                candidate.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            except BaseException as error:
                candidate.close()
                if not isinstance(error, OSError):
                    raise
                if position == len(addresses):
                    self._failed(error)
            else:
                self.peer = str(address[0])
                return candidate
        raise OSError(f"no address for {host!r}")

    def serve(self, purpose: Purpose, limit: float) -> None:
        """Be another scope's from now on, and give what comes next `limit` seconds."""
        self._deadline = purpose.deadline
        self.tally = purpose.tally
        self._has_asked = False  # whatever is owed still, the one before has paid for
        self.allow(limit)

    def allow(self, seconds: float) -> None:
        """Give everything from now on `seconds` together."""
        self._expires_at = time.monotonic() + seconds
        self._silence = math.inf
        self.allow_bytes()

    def allow_bytes(self) -> None:
        """Let what comes from now on have `most` bytes."""
        self._full_at = self.received + self.most

    def allow_each(self, seconds: float) -> None:
        """Give every single wait from now on `seconds` of its own."""
        self._expires_at = math.inf
        self._silence = seconds

    def _patience(self) -> float | None:
        """Return how long the next wait may be; None for without limit."""
        ends_at = min(self._expires_at, self._deadline.expires_at)
        seconds = min(ends_at - time.monotonic(), self._silence)
        if seconds <= 0:
            self._failed(TimeoutError())
        return None if seconds == math.inf else seconds

    def _failed(self, error: OSError) -> NoReturn:
        if isinstance(error, TimeoutError):
            deadline = self._deadline
            self.failure = TimedOut(None if deadline.remaining() else deadline.name)
            raise self.failure from None
        self.failure = error
        raise error

    def wrap_tls(self, context: ssl.SSLContext, host: str, port: int) -> None:
        """Encrypt from here on; OpenSSL's handshake as a whole draws on the deadline."""
        self._socket.settimeout(self._patience())
        try:
            self._socket = tls.wrap(self._socket, context, host, port)
        except OSError as error:
            self._failed(error)
        self._name = (host, port)

    def receive_into(self, buffer: Any) -> int:
        """Fill `buffer` with what has come; 0 means that the peer closed."""
        self._socket.settimeout(self._patience())
        try:
            size = self._socket.recv_into(buffer)
        except OSError as error:
            self._failed(error)
        self.received += size
        if self.received > self._full_at:
            self.failure = TooMuch(self.most)
            raise self.failure
        if size and self._has_asked:
            self._has_asked = False
            self.tally.round_trips += 1
        return size

    def has_news(self) -> bool:
        """Return whether the peer closed, or said something unasked; never waits.

        Between two statements a MySQL server is silent, unless it ends the session. Such a channel
        is good for nothing but being closed: a byte may be lost here. What TLS sends for itself,
        such as the session tickets of TLS 1.3, which come when they like, is no news. What came
        behind an answer, in the same segment, waits in the reader, or in OpenSSL.
        """
        reader = self._reader
        if reader is not None and not reader.closed and reader.tell() < self.received:
            return True
        encrypted = isinstance(self._socket, ssl.SSLSocket)  # which cannot peek
        try:
            self._socket.settimeout(0)
            self._socket.recv(1, 0 if encrypted else socket.MSG_PEEK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            pass
        return True

    @property
    def encryption(self) -> tuple[str, str] | None:
        """The protocol and the cipher in use; None without TLS."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return None
        cipher = self._socket.cipher()
        return str(self._socket.version()), cipher[0] if cipher else ""

    def hang_up(self) -> None:
        """Shut the socket down, from any thread; who waits on it wakes up."""
        with contextlib.suppress(OSError):
            # Not SSLSocket's own, which changes what the waiting thread reads by.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def keep_alive(self, seconds: int) -> None:
        """Ask the peer for a sign of life after so many seconds of silence (Linux)."""
        if hasattr(socket, "TCP_KEEPIDLE"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)

    # What PyMySQL calls on its socket.

    def sendall(self, data: bytes) -> None:
        """Send all of `data`; Python bounds `sendall` as a whole."""
        self._socket.settimeout(self._patience())
        self._has_asked = True
        try:
            self._socket.sendall(data)
        except OSError as error:
            self._failed(error)

    def settimeout(self, seconds: float | None) -> None:
        """Ignore PyMySQL's timeouts per call: the deadline rules."""

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002
        """Return a buffered reader; closing it leaves the channel open, as a socket's does."""
        self.received = 0
        self.allow_bytes()
        self._reader = io.BufferedReader(_Reader(self), 65536)
        return self._reader

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        if isinstance(self._socket, ssl.SSLSocket) and self.failure is None:
            tls.remember(self._socket, *self._name)
        self._socket.close()


class _Reader(io.RawIOBase):
    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._channel.receive_into(buffer)

    def tell(self) -> int:  # so that the buffered reader's own tells what it has handed out
        return self._channel.received
