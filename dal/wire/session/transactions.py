"""COMMIT and ROLLBACK: what is known of the transaction once they are sent."""

from __future__ import annotations

import pymysql
from pymysql.constants import COMMAND, CR

from dal.errors import is_servers
from dal.wire.session.statements import Statements


class CommitUnanswered(pymysql.OperationalError):
    """COMMIT was sent whole and no answer to it came."""


# The answer itself may say that it is none: the server is going away, or the session was killed
# while it was committing.
_NO_ANSWER = {1053, 1317, 3168, 3169, 4031}


def _is_refusal(error: Exception) -> bool:
    """Return whether this is the server saying no to a COMMIT: an error of its own numbers."""
    number = error.args[0] if isinstance(error, pymysql.Error) and error.args else None
    return is_servers(number) and number not in _NO_ANSWER


class Transactions(Statements):
    """A connection whose COMMIT tells an answer from none."""

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
        self.purpose.tally.commits += 1
        self.has_work = False
        self.has_committed = True

    @property
    def is_hung_up(self) -> bool:
        """Whether the server is known to have ended the session; asks the socket, never waits."""
        return not self.open or (not self._is_owed and self._sock.has_news())

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
            self.purpose.tally.rollbacks += 1
            self.has_work = False

    def _force_close(self) -> None:
        result = getattr(self, "_result", None)
        if result is not None and result.unbuffered_active:
            # Collected later, it would read what is left of a stream from the closed socket.
            result.unbuffered_active, result.connection = False, None
        super()._force_close()
