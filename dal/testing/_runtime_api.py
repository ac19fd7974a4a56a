"""The platform's side of the AWS Lambda Runtime API: just enough HTTP for one client on loopback.

It has no thread: whoever waits for the next request reads it. A request that nobody waits for
(the runtime's `GET next` between two invocations) rests in the socket.
"""

import selectors
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """One HTTP request, and the connection that waits for its reply."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    connection: socket.socket


class RuntimeApi:
    """An HTTP server on 127.0.0.1 that is driven by its caller."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._buffers: dict[socket.socket, bytearray] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    @property
    def address(self) -> str:
        """Host and port, as AWS_LAMBDA_RUNTIME_API wants them."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def receive(self, timeout: float) -> Request | None:
        """Give the next whole request, or None after `timeout` seconds or when a client hung up."""
        for connection in self._buffers:
            if request := self._take(connection):
                return request
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket):
                return self._read(key.fileobj)
        return None

    def reply(
        self,
        request: Request,
        status: HTTPStatus,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer `request`; a client that is gone by now is no error."""
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in (fields | dict(headers or {})).items()]
        head = "\r\n".join([f"HTTP/1.1 {status.value} {status.phrase}", *lines])
        try:
            request.connection.sendall(head.encode() + _HEAD_END + body)
        except OSError:
            self._drop(request.connection)

    def close(self) -> None:
        """Close every socket."""
        for connection in list(self._buffers):
            self._drop(connection)
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        # With Nagle on, the tail of a reply may wait 40 ms for the client's delayed ACK.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffers[connection] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> Request | None:
        try:
            data = connection.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return None
        self._buffers[connection] += data
        return self._take(connection)

    def _take(self, connection: socket.socket) -> Request | None:
        """Cut one whole request off the connection's buffer."""
        buffer = self._buffers[connection]
        end = buffer.find(_HEAD_END)
        if end < 0:
            return None
        first, *fields = buffer[:end].decode("latin-1").split("\r\n")
        pairs = (field.split(":", 1) for field in fields)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        start = end + len(_HEAD_END)
        stop = start + int(headers.get("content-length", 0))
        if len(buffer) < stop:
            return None
        method, path, _ = first.split(" ", 2)
        body = bytes(buffer[start:stop])
        del buffer[:stop]
        return Request(method, path, headers, body, connection)

    def _drop(self, connection: socket.socket) -> None:
        if self._buffers.pop(connection, None) is not None:
            self._selector.unregister(connection)
            connection.close()
