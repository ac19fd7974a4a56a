"""PyMySQL's connection, made lean and watchful, and ready to be lent from scope to scope.

Lean: login, then one SET (session/login.py). Watchful: connecting is one deadline, a statement is
one deadline, and whoever owns the connection may refuse a statement before it is sent and hears of
each that failed (session/statements.py, session/transactions.py).
"""

from __future__ import annotations

import copy
import math
from typing import Protocol

from dal.wire.purpose import Purpose
from dal.wire.session.transactions import Transactions


class Lender(Protocol):
    """Whoever lent a scope its connection."""

    def take_back(self, connection: Connection) -> bool:
        """Take the session over; False where it is not wanted, and is to be closed."""


class Connection(Transactions):
    """One session on the server, in the state that its purpose asks for."""

    #: Who takes the session back, if it is clean, in place of closing it.
    lender: Lender | None = None

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
        self._check_silence()
        self._start_clock()
        self.send_together(*commands)
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

    def is_same_server(self, other: Connection) -> bool:
        """Return whether both lead to the same address and version."""
        mine, theirs = (self.address, self.server_version), (other.address, other.server_version)
        return mine == theirs

    def _gave_up(self, sql: bytes) -> None:
        from dal.wire.killing import kill  # noqa: PLC0415  # for what is seldom

        kill(self, sql.decode(self.encoding, "ignore"))

    def _largest_packet(self) -> int | None:
        from dal.wire.beside import largest_packet  # noqa: PLC0415  # for what is seldom

        return largest_packet(self, self.purpose.deadline)

    def hang_up(self) -> None:
        """End the way to the server, from any thread: what runs there goes on, and is not killed.

        Whoever waits for an answer here gets an error at once.
        """
        channel = self._sock
        if channel is not None:
            channel.hang_up()

    def keep_alive(self, seconds: int) -> None:
        """Ask the server's machine for a sign of life after so many seconds of silence."""
        self._sock.keep_alive(seconds)

    def drop(self) -> None:
        """Close the socket if it is open still, without a word to the server."""
        self._force_close()
