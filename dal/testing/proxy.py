"""A proxy before a MySQL server: it counts round trips, slows the line and breaks it."""

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Self

from dal.doctor.pins import Pin, pins_of
from dal.testing._faults import Action, Conditions, Fault, Moment
from dal.testing._link import Link
from dal.testing._wire import Trace

__all__ = ["Action", "Fault", "Moment", "Proxy", "Trace"]


class Proxy:
    """Listens on 127.0.0.1 and passes every connection on to the server at `host` and `port`.

    Connect clients to `proxy.host` and `proxy.port`. It does nothing to the bytes, so that TLS
    passes through it. Close it, or use it as a context manager.
    """

    def __init__(self, host: str, port: int) -> None:
        self.connections: list[Trace] = []
        """One trace per client connection, in the order in which they came."""
        self._target = (host, port)
        self._conditions = Conditions()
        self._links: list[Link] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.settimeout(0)
        self.host: str
        self.port: int
        self.host, self.port = self._listener.getsockname()
        # select() and not epoll: the timeouts of epoll are whole milliseconds, rounded up, which
        # would make two of a latency of one.
        self._selector = selectors.SelectSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._wake, self._awake = socket.socketpair()
        self._selector.register(self._awake, selectors.EVENT_READ, self._work)
        self._jobs: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="dal-proxy", daemon=True)
        self._thread.start()

    @property
    def latency(self) -> float:
        """Seconds added to each round trip, half of them each way. TCP's handshake stays fast."""
        return self._conditions.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._conditions.latency = seconds

    @property
    def round_trips(self) -> int:
        """The round trips of all connections in `connections`."""
        return sum(trace.round_trips for trace in self.connections)

    def pins(self) -> list[Pin]:
        """Give what would pin a connection of RDS Proxy, among the statements in `connections`.

        Raises ValueError where a client used TLS, under which no statement is seen.
        """
        if any(trace.tls for trace in self.connections):
            raise ValueError('statements are not seen under TLS: connect with tls="disabled"')
        return pins_of(text for trace in self.connections for text in trace.statements)

    def reset(self) -> None:
        """Forget the traces so far; connections that are open go on unseen."""
        self.connections.clear()

    def on(
        self,
        moment: Moment,
        action: Action,
        *,
        answer: bool = False,
        times: int | None = 1,
        interval: float = 0.05,
        cut_after: float | None = None,
    ) -> Fault:
        """Arm a fault for the next time that `moment` comes, on any connection.

        Args:
            moment: "accept", "greeting", "tls", "login", the number of a command, or bytes that a
                statement contains. The fault strikes before the bytes are passed on.
            action: "cut", "reset", "stall", "swallow" or "drip".
            answer: strike when the server has answered instead, before the answer is passed on.
                "swallow" always does.
            times: how many times it strikes; None for each time.
            interval: seconds from byte to byte of a drip.
            cut_after: seconds after which the connection is cut, following a stall, swallow, drip.

        Returns the fault, to wait for it or count it. Raises ValueError for a fault that cannot be.
        """
        fault = Fault(moment, action, answer, times, interval, cut_after)
        self._conditions.faults.append(fault)
        return fault

    def refuse(self) -> None:
        """Stop listening: new connections are refused until `release`, open ones live on."""
        self._call(self._stop_listening)

    def release(self) -> None:
        """Disarm every fault, end stalls and drips, listen again. What was swallowed is lost."""
        self._call(self._release)

    def wait_closed(self, timeout: float = 1.0) -> bool:
        """Wait until every client in `connections` has hung up; False after `timeout` seconds."""
        end = time.monotonic() + timeout
        while any(trace.closed is None for trace in self.connections):
            if time.monotonic() >= end:
                return False
            time.sleep(0.001)
        return True

    def close(self) -> None:
        """Cut every connection and end the thread."""
        if self._thread.is_alive():
            self._call(self._stop)
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, job: Callable[[], None]) -> None:
        """Run `job` in the proxy's thread, which alone touches the sockets."""
        done = threading.Event()
        self._jobs.append((job, done))
        self._wake.send(b"\0")
        done.wait()

    def _run(self) -> None:
        try:
            while self._open:
                for key, events in self._selector.select(self._patience()):
                    key.data(events)
                now = time.monotonic()
                for link in self._links:
                    link.tick(now)
                self._links = [link for link in self._links if not link.closed]
        finally:
            for link in self._links:
                link.cut()
            self._selector.close()
            for sock in (self._listener, self._wake, self._awake):
                sock.close()

    def _patience(self) -> float | None:
        due = [due for link in self._links if (due := link.due()) is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _accept(self, _: int) -> None:
        try:
            client, _address = self._listener.accept()
        except OSError:  # gone before it was taken
            return
        trace = Trace()
        self.connections.append(trace)
        link = Link(client, self._target, self._conditions, self._selector, trace)
        self._links.append(link)
        link.start()

    def _work(self, _: int) -> None:
        self._awake.recv(4096)
        while self._jobs:
            job, done = self._jobs.popleft()
            job()
            done.set()

    def _stop(self) -> None:
        self._open = False

    def _stop_listening(self) -> None:
        if self._listener not in self._selector.get_map():
            return
        self._selector.unregister(self._listener)
        self._listener.close()
        # Bound but not listening: the port stays ours, and who connects is refused.
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self.host, self.port))

    def _release(self) -> None:
        self._conditions.faults.clear()
        for link in self._links:
            link.release()
        if self._listener not in self._selector.get_map():
            self._listener.listen(256)
            self._listener.settimeout(0)
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
