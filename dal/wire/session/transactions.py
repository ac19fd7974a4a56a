"""COMMIT and ROLLBACK: what is known of the transaction once they are sent."""

from __future__ import annotations

import math

import pymysql
from pymysql.constants import COMMAND, CR, SERVER_STATUS

from dal.errors import COMMIT_REFUSED, Error, is_servers
from dal.wire.session.statements import Statements


class CommitUnanswered(pymysql.OperationalError):
    """COMMIT was sent whole, and no answer came that says what became of it."""


def _is_refusal(error: BaseException) -> bool:
    """Return whether this is the server's answer that COMMIT has surely rolled back."""
    if not isinstance(error, pymysql.Error) or not error.args:
        return False
    number = error.args[0]
    return number in COMMIT_REFUSED and (number != 1180 or "149" in str(error.args[-1]))


def _unanswered(error: Exception) -> CommitUnanswered:
    if isinstance(error, pymysql.Error) and error.args and is_servers(error.args[0]):
        return CommitUnanswered(error.args[0], f"{error.args[-1]} (MySQL error {error.args[0]})")
    return CommitUnanswered(CR.CR_SERVER_LOST, str(error))


# What no OK to a COMMIT says, but that to a statement before it would.
_IS_NONE = SERVER_STATUS.SERVER_STATUS_IN_TRANS | SERVER_STATUS.SERVER_MORE_RESULTS_EXISTS


class Transactions(Statements):
    """A connection whose COMMIT tells an answer from none."""

    def commit(self) -> None:
        """Commit.

        Raises:
            CommitUnanswered: COMMIT left and its answer did not come: outcome unknown.
            ConnectionLost: the same, and the owner has found out that it was rolled back.
            pymysql.Error: it did not leave, or the server refused it: not committed.
        """
        self.drop_stream()  # PyMySQL warns of what it drops
        has_left = False
        try:
            self._execute_command(COMMAND.COM_QUERY, "COMMIT")
            has_left = True
            self._leave_time_to_ask()
            answer = self._read_ok_packet()
            if answer.affected_rows or answer.server_status & _IS_NONE:
                self._force_close()
                raise pymysql.OperationalError(
                    CR.CR_COMMANDS_OUT_OF_SYNC, "what came is the answer to another statement"
                )
            self.has_committed = True
        except BaseException as error:
            if not has_left:
                # A send that fails leaves nothing in the kernel's buffer: those few bytes never
                # left. An exit may have struck on either side of the send.
                has_left = self._sent_at is not None and not isinstance(error, pymysql.Error)
            if not has_left or _is_refusal(error):
                raise
            self.is_commit_open = not self.has_committed
            if not isinstance(error, Exception):
                raise
            if not self._was_committed(error):
                raise _unanswered(error) from error
            self.has_committed, self.is_commit_open = True, False
        self.purpose.tally.commits += 1
        self.has_work = False

    def _leave_time_to_ask(self) -> None:
        """Wait for the answer for half of what is left, where its outcome can be asked for."""
        left = self.purpose.deadline.remaining()
        if self.owner is not None and self.owner.is_marked and left < math.inf:
            self._sock.allow(min(self._statement_limit, max(1.0, left / 2)))

    def _was_committed(self, error: Exception) -> bool | None:
        if self.owner is None or not self.owner.is_marked:
            return None
        self._force_close()
        self.has_work = False
        try:
            return self.owner.was_committed()
        except Error as verdict:
            self.is_commit_open = False
            raise verdict from error

    def rollback(self) -> None:
        """Roll back; without a round trip where nothing was sent that could be undone."""
        if self.has_work and not self.purpose.read_only:
            self.drop_stream()
            super().rollback()
            self.purpose.tally.rollbacks += 1
            self.has_work = False

    def _force_close(self) -> None:
        result = getattr(self, "_result", None)
        if result is not None and result.unbuffered_active:
            # Collected later, it would read what is left of a stream from the closed socket.
            result.unbuffered_active, result.connection = False, None
        super()._force_close()
