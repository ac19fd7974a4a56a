"""One client of a proxy and its connection to the server."""

import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from dal.testing._faults import Conditions, Fault
from dal.testing._wire import Piece, Step, Trace, Wire

_CONNECT_TIMEOUT = 5.0
_CHUNK = 1 << 16
_ROOM = 1 << 22
"""Bytes that may wait in one direction before its sender has to wait too."""


@dataclass
class _Lane:
    """One direction: what waits to be passed on, each piece with the time when it is due."""

    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    size: int = 0
    last: float = 0.0
    blocked: bool = False
    """The receiver takes no more for now."""
    ended: bool = False
    """The sender has sent its FIN."""
    finished: bool = False
    """... and it has been passed on."""

    def put(self, data: bytes, due: float) -> None:
        self.last = due
        self.queue.append((due, data))
        self.size += len(data)

    def hurry(self, now: float) -> None:
        self.queue = deque((now, data) for _, data in self.queue)
        self.last = now

    def flush(self, receiver: socket.socket, now: float) -> None:
        """Send what is due. Raises OSError when the receiver is gone."""
        self.blocked = False
        while self.queue and self.queue[0][0] <= now:
            due, data = self.queue.popleft()
            try:
                sent = receiver.send(data)
            except BlockingIOError:
                sent = 0
            self.size -= sent
            if sent < len(data):
                self.queue.appendleft((due, data[sent:]))
                self.blocked = True
                return
        if self.ended and not self.queue and not self.finished:
            self.finished = True
            with suppress(OSError):  # it may have hung up first
                receiver.shutdown(socket.SHUT_WR)


class Link:
    """Passes bytes between a client and the server; belongs to the proxy's thread."""

    def __init__(
        self,
        client: socket.socket,
        target: tuple[str, int],
        conditions: Conditions,
        selector: selectors.BaseSelector,
        trace: Trace,
    ) -> None:
        self.closed = False
        self._client = client
        self._server: socket.socket | None = None
        self._target = target
        self._conditions = conditions
        self._selector = selector
        self._wire = Wire(trace)
        self._up, self._down = _Lane(), _Lane()
        self._stalled = False
        self._muted = False
        self._drip: float | None = None
        self._cut_at: float | None = None
        _prepare(client)

    def start(self) -> None:
        """Connect to the server, unless a fault strikes at the accept."""
        if fault := self._conditions.fault_at(Step("accept")):
            self._strike(fault)
        if not self.closed and not self._stalled:
            self._connect()

    def due(self) -> float | None:
        """Give the time at which `tick` has something to do; None when only bytes can tell."""
        times = [] if self._cut_at is None else [self._cut_at]
        if not self._stalled:
            times += [
                lane.queue[0][0]
                for lane in (self._up, self._down)
                if lane.queue and not lane.blocked
            ]
        return min(times, default=None)

    def tick(self, now: float) -> None:
        """Do what is due."""
        due = self.due()
        if not self.closed and due is not None and due <= now:
            if self._cut_at is not None and self._cut_at <= now:
                self.cut()
            else:
                self._flush(now)

    def release(self) -> None:
        """End a stall or a drip; what was held back passes now, what was swallowed is lost."""
        if self.closed:
            return
        self._stalled = self._muted = False
        self._drip = self._cut_at = None
        if self._server is None:
            self._connect()
        now = time.monotonic()
        self._up.hurry(now)
        self._down.hurry(now)
        self._flush(now)

    def cut(self) -> None:
        """End both connections, the client's with FIN."""
        with suppress(OSError):
            self._client.recv(_CHUNK)  # closing with something unread would send RST
        self._close()

    def reset(self, *, server_too: bool = False) -> None:
        """End the client's connection with RST, and the server's with FIN or RST."""
        _reset_on_close(self._client)
        if server_too and self._server is not None:
            _reset_on_close(self._server)
        self._close()

    def _connect(self) -> None:
        try:
            self._server = socket.create_connection(self._target, _CONNECT_TIMEOUT)
        except OSError:
            self.reset()
            return
        _prepare(self._server)
        self._watch()

    def _ready(self, source: socket.socket, events: int) -> None:
        """Handle what the selector saw on one of the sockets."""
        if self.closed:
            return
        if events & selectors.EVENT_READ:
            self._read(source)
        if not self.closed:
            self._flush(time.monotonic())

    def _read(self, source: socket.socket) -> None:
        try:
            data = source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.reset(server_too=True)
            return
        from_client = source is self._client
        lane = self._up if from_client else self._down
        if data:
            self._pass(lane, self._wire.client(data) if from_client else self._wire.server(data))
            return
        lane.ended = True
        if rest := self._wire.rest(client=from_client):
            self._put(lane, rest)
        if from_client:
            self._wire.trace.closed = time.monotonic()

    def _pass(self, lane: _Lane, pieces: Iterable[Piece]) -> None:
        for step, data in pieces:
            fault = self._conditions.fault_at(step) if step is not None else None
            if fault is not None:
                self._strike(fault)
            if self.closed:
                return
            self._put(lane, data)

    def _put(self, lane: _Lane, data: bytes) -> None:
        now = time.monotonic()
        if lane is self._up or (self._drip is None and not self._muted):
            lane.put(data, now + self._conditions.latency / 2)
        elif self._drip is not None:
            for byte in data:
                lane.put(bytes([byte]), max(now, lane.last) + self._drip)

    def _strike(self, fault: Fault) -> None:
        if fault.cut_after is not None:
            self._cut_at = time.monotonic() + fault.cut_after
        match fault.action:
            case "cut":
                self.cut()
            case "reset":
                self.reset()
            case "stall":
                self._stalled = True
            case "swallow":
                self._muted = True
            case "drip":
                self._drip = fault.interval

    def _flush(self, now: float) -> None:
        if self.closed or self._server is None:
            return
        if not self._stalled:
            try:
                self._up.flush(self._server, now)
                self._down.flush(self._client, now)
            except OSError:
                self.reset(server_too=True)
                return
            if self._up.finished and self._down.finished:
                self._close()
                return
        self._watch()

    def _watch(self) -> None:
        """Tell the selector what is wanted now."""
        if self._server is not None:
            self._want(self._client, self._up, self._down)
            self._want(self._server, self._down, self._up)

    def _want(self, sock: socket.socket, source: _Lane, sink: _Lane) -> None:
        events = 0
        if not self._stalled:
            if not source.ended and source.size < _ROOM:
                events |= selectors.EVENT_READ
            if sink.blocked:
                events |= selectors.EVENT_WRITE
        key = self._selector.get_map().get(sock)
        if key is None:
            if events:
                self._selector.register(sock, events, partial(self._ready, sock))
        elif not events:
            self._selector.unregister(sock)
        elif key.events != events:
            self._selector.modify(sock, events, key.data)

    def _close(self) -> None:
        if self.closed:
            return
        self.closed = True
        trace = self._wire.trace
        trace.closed = trace.closed or time.monotonic()
        for sock in (self._client, self._server):
            if sock is not None:
                if sock in self._selector.get_map():
                    self._selector.unregister(sock)
                sock.close()


def _prepare(sock: socket.socket) -> None:
    sock.settimeout(0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reset_on_close(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
