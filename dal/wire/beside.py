"""A connection beside another one, for what that one cannot ask by itself any more."""

from __future__ import annotations

from typing import Any

from pymysql.constants import COMMAND

from dal.wire.deadline import Deadline
from dal.wire.purpose import Purpose, connecting_for
from dal.wire.session.login import LoggedIn


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

    def ask(self, statement: str) -> Any:
        """Return the first value of the first row."""
        with self.cursor() as cursor:
            cursor.execute(statement)
            (value, *_) = cursor.fetchone()
        return value
