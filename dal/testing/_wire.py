"""What one MySQL connection does, read from the bytes that pass: logins, commands, round trips.

A round trip is the client writing and the server answering; the first byte of the answer counts
it. The TCP connect, the greeting and the TLS handshake do not count; the login counts one, each
command one, COM_QUIT, which has no answer, none. Without TLS the packets tell. With TLS the record
headers do, by the rules of `_Tls`.
"""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

_COM_QUERY = 3
_CLIENT_SSL = 0x800
_SSL_REQUEST_LENGTH = 32

_HANDSHAKE = 22
_APPLICATION_DATA = 23
_SERVER_HELLO = b"\x02"
_SHA384_SUITE = 0x1302
# What TLS 1.3 adds to a record: the true type and the tag, of one length in every suite in use.
_SEAL = 1 + 16

Kind = Literal["accept", "greeting", "tls", "login", "command"]


@dataclass
class Trace:
    """What one client connection has done so far."""

    round_trips: int = 0
    packets: int = 0
    """Packets that the client sent; with TLS its records of application data."""
    bytes_up: int = 0
    bytes_down: int = 0
    statements: list[str] = field(default_factory=list)
    """The text of each COM_QUERY; nothing is visible under TLS."""
    tls: bool = False
    """Whether the client asked for TLS."""
    opened: float = field(default_factory=time.monotonic)
    closed: float | None = None
    """When the client hung up or was cut off; None while the connection is open."""


@dataclass(frozen=True)
class Step:
    """A moment in the life of a connection; `answer` is the server's side of it."""

    kind: Kind
    number: int = 0
    """Of a command, from 1."""
    statement: bytes = b""
    """Of a COM_QUERY without TLS."""
    answer: bool = False


Piece = tuple[Step | None, bytes]
"""Bytes to pass on, and the step that begins with them."""


class Wire:
    """Reads the two streams of a connection, cuts them into pieces and keeps the trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._from_client = bytearray()
        self._from_server = bytearray()
        self._tls: _Tls | None = None
        self._last: Step | None = None
        self._logged_in = False
        self._commands = 0
        self._asked = False

    def client(self, data: bytes) -> Iterator[Piece]:
        """Give the whole packets (or TLS records) that the client has sent by now."""
        self.trace.bytes_up += len(data)
        buffer = self._from_client
        buffer += data
        while piece := _cut_record(buffer) if self._tls else _cut_packet(buffer):
            yield (self._sealed(self._tls, piece) if self._tls else self._plain(piece)), piece

    def server(self, data: bytes) -> Iterator[Piece]:
        """Give what the server has sent: as it comes, with TLS in whole records."""
        self.trace.bytes_down += len(data)
        if self._tls is None:
            yield self._answer(), data
            return
        buffer = self._from_server
        buffer += data
        while record := _cut_record(buffer):
            yield (self._answer() if self._tls.answers(record) else None), record

    def rest(self, *, client: bool) -> bytes:
        """Give the unfinished piece of a stream that has ended."""
        buffer = self._from_client if client else self._from_server
        rest = bytes(buffer)
        buffer.clear()
        return rest

    def _plain(self, packet: bytes) -> Step | None:
        if not self._logged_in:
            if _asks_for_tls(packet):
                self._tls = _Tls()
                self.trace.tls = True
                return Step("tls")
            return self._log_in()
        if packet[3] != 0:  # not the first of its sequence: a command goes on, or the login does
            return self._ask(None)
        statement = packet[5:] if packet[4:5] == bytes([_COM_QUERY]) else b""
        if statement:
            self.trace.statements.append(statement.decode(errors="replace"))
        return self._command(statement)

    def _sealed(self, tls: "_Tls", record: bytes) -> Step | None:
        if not tls.asks(record):
            return None
        if not self._logged_in:
            return self._log_in()
        return self._ask(None) if self._asked else self._command(b"")

    def _log_in(self) -> Step | None:
        self._logged_in = True
        return self._ask(Step("login"))

    def _command(self, statement: bytes) -> Step | None:
        self._commands += 1
        return self._ask(Step("command", self._commands, statement))

    def _ask(self, step: Step | None) -> Step | None:
        self.trace.packets += 1
        self._asked = True
        self._last = step or self._last
        return step

    def _answer(self) -> Step | None:
        if self._last is None:
            self._last = Step("greeting")
            return self._last
        if not self._asked:
            return None
        self._asked = False
        self.trace.round_trips += 1
        return replace(self._last, answer=True)


class _Tls:
    """Tells application data from the rest by the headers of the records.

    In TLS 1.2 the record type says it. In TLS 1.3 everything after the server's hello is typed as
    application data, so three facts help. The client's Finished ends its handshake; its length
    follows from the cipher suite, and what comes before it (MySQL always asks for a certificate,
    so there is at least an empty one) is shorter or much longer. The server's session tickets come
    before or after the login, but never after its answer: either way that flip counts once. And an
    alert has a length that no MySQL packet has; else the server's farewell to COM_QUIT would count.
    What the server sends in the handshake needs no rule: nothing was asked by then.
    """

    def __init__(self) -> None:
        self._suite: int | None = None
        self._finished = False

    def asks(self, record: bytes) -> bool:
        """Whether this record of the client carries data of the application."""
        if record[0] != _APPLICATION_DATA or self._is_alert(record):
            return False
        if self._is_tls_1_3 and not self._finished:
            hash_length = 48 if self._suite == _SHA384_SUITE else 32
            self._finished = len(record) == 5 + 4 + hash_length + _SEAL
            return False
        return True

    def answers(self, record: bytes) -> bool:
        """Whether this record of the server may carry data of the application."""
        if self._suite is None and record[0] == _HANDSHAKE and record[5:6] == _SERVER_HELLO:
            session = record[43]  # after header 5, type and length 4, version 2, random 32
            (self._suite,) = struct.unpack_from(">H", record, 44 + session)
        return record[0] == _APPLICATION_DATA and not self._is_alert(record)

    @property
    def _is_tls_1_3(self) -> bool:
        return self._suite is not None and self._suite >> 8 == 0x13

    def _is_alert(self, record: bytes) -> bool:
        return self._is_tls_1_3 and len(record) == 5 + 2 + _SEAL


def _cut_packet(buffer: bytearray) -> bytes:
    """Cut one whole MySQL packet (length 3, sequence 1, payload) off the buffer, or nothing."""
    return _cut(buffer, 4 + int.from_bytes(buffer[:3], "little"), 4)


def _cut_record(buffer: bytearray) -> bytes:
    """Cut one whole TLS record (type 1, version 2, length 2, data) off the buffer, or nothing."""
    return _cut(buffer, 5 + int.from_bytes(buffer[3:5], "big"), 5)


def _cut(buffer: bytearray, length: int, header: int) -> bytes:
    if len(buffer) < max(length, header):
        return b""
    piece = bytes(buffer[:length])
    del buffer[:length]
    return piece


def _asks_for_tls(packet: bytes) -> bool:
    """Whether a client's first packet is the short form of the login that only asks for TLS."""
    flags = int.from_bytes(packet[4:8], "little")
    return len(packet) == 4 + _SSL_REQUEST_LENGTH and bool(flags & _CLIENT_SSL)
