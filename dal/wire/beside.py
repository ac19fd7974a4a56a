"""A connection beside another one, for what that one cannot ask by itself any more."""

from __future__ import annotations

import contextlib

from pymysql.constants import COMMAND

from dal.wire.deadline import Deadline
from dal.wire.purpose import Purpose, connecting_for
from dal.wire.session.login import LoggedIn

#: Seconds to find out why a connection was lost.
_LIMIT = 1.0


class Beside(LoggedIn):
    """Logged in at the very same address, and no more: it costs no SET.

    It watches no statements, so that one of its own that is given up is not killed in turn.
    """

    def __init__(self, other: LoggedIn, limit: float) -> None:
        """Connect as `other` did; all that is done with it takes `limit` seconds at the most."""
        with connecting_for(Purpose(deadline=Deadline(limit))):
            super().__init__(other.settings, other.login, limit, other.address)

    def _set_session(self, owed: int = 0) -> None:
        """Leave the session as the login made it."""

    def run(self, *statements: str) -> None:
        """Run statements that answer no rows, in one round trip; the first error ends it."""
        self.send_together(*((COMMAND.COM_QUERY, text.encode()) for text in statements))
        self.read_answers(len(statements))


def largest_packet(other: LoggedIn, deadline: Deadline) -> int | None:
    """Return the `max_allowed_packet` of the server of `other`; None where it cannot be asked."""
    try:
        with contextlib.closing(Beside(other, min(_LIMIT, deadline.remaining()))) as asking:
            cursor = asking.cursor()
            cursor.execute("SELECT @@max_allowed_packet")
            (value,) = cursor.fetchone()
            return int(value)
    except Exception:  # noqa: BLE001  # whatever it is, the statement failed by another error
        return None
