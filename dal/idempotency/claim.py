"""One invocation's claim to a key: the key's INSERT comes first, the answer's UPDATE last.

Both are in the work's transaction, so the lock on the row is the only state there is: whoever waits
for it hears how the first ended. A first that is killed leaves nothing.

    INSERT     new: the handler runs, the answer is kept, COMMIT
       │ 1062: somebody has committed this key (a row that is not committed is waited for)
    SELECT     its answer is this one's, too; another payload is refused; an expired key is deleted
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy.engine import Connection

from dal.aws.answer import decoded, proven_to_replay
from dal.errors import (
    AlreadyInProgress,
    ConnectionLost,
    Deadlock,
    DuplicateKey,
    LockWaitTimeout,
    PayloadMismatch,
)
from dal.idempotency.outcome import DoneElsewhere, Mark, was_committed
from dal.idempotency.table import Statements, statements
from dal.scope import Scope
from dal.settings import Settings
from dal.wire.backoff import Backoff
from dal.wire.connection import Connection as DriverConnection
from dal.wire.deadline import Deadline

Result = TypeVar("Result")

# How often a key may vanish, or expire, between two statements.
_TRIES = 5


class Claim:
    """One invocation, with its key."""

    def __init__(self, name: str, key: bytes, payload: bytes | None, microseconds: int) -> None:
        self._name = name
        self._key = key
        self._payload = payload
        self._microseconds = microseconds
        self._run = b""
        self._is_mine = False
        self._sql: Statements
        self._scope: Scope

    def attempt(
        self,
        open_scope: Callable[[], AbstractContextManager[Scope]],
        unit: Callable[[], Result],
        deadline: Deadline,
        settings: Settings,
    ) -> Result:
        """Return what `unit` returns, run once the key is this one's; or the stored answer.

        What the claim itself meets is no attempt at the work: it is claimed again, for as long as
        one waits for a lock. Of several who wait for a first that rolls back, InnoDB gives one
        the key, and ends the others as a deadlock: each held a shared lock.

        Raises:
            AlreadyInProgress: another invocation holds the key, and went on holding it.
            PayloadMismatch: the key belongs to another payload.
        """
        self._sql = statements(settings.table_prefix)
        backoff = Backoff(base=0.01, cap=0.1)
        patience = Deadline(settings.lock_wait_timeout)
        while True:
            self._is_mine = False
            try:
                with open_scope() as self._scope:
                    self._scope.marker = self
                    stored = self._take(self._scope)
                    if stored is not None:
                        self._scope.let_go("replayed")
                        answer: Result = stored[0]
                        return answer
                    return unit()
            except DoneElsewhere:
                continue  # its answer is stored
            except (Deadlock, ConnectionLost) as error:
                if self._is_mine:
                    raise
                if not backoff.wait(deadline, patience):
                    if isinstance(error, ConnectionLost):
                        raise
                    raise self._in_progress() from error

    def keep(self, encoded: str | bytes) -> None:
        """Let the answer be stored with the work.

        Raises:
            UnencodableAnswer: a repeat could not be given this answer.
        """
        text = proven_to_replay(encoded)
        if text != "null":
            self._scope.before_commit(self._write_answer, text)

    def write(self, connection: Connection) -> None:
        """Write no marker: the key's row is there."""

    def was_committed(self, lost: DriverConnection) -> bool | None:
        """Return whether the transaction was committed; None where nobody can be asked."""
        return was_committed(Mark(self._name, self._key, self._run), lost)

    def _write_answer(self, connection: Connection, answers: list[Any]) -> None:
        connection.exec_driver_sql(self._sql.keep_answer, (answers[-1], self._name, self._key))

    def _take(self, scope: Scope) -> tuple[Any] | None:
        """Return the stored answer; None where the key is this one's now."""
        connection = scope.connection()
        for _ in range(_TRIES):
            if self._insert(connection):
                return None
            key = (self._name, self._key)
            row = connection.exec_driver_sql(self._sql.select, key).one_or_none()
            if row is None:  # purged just now
                continue
            run, payload, answer, has_expired = row
            if has_expired:
                connection.exec_driver_sql(self._sql.delete_expired, (*key, run))
                continue
            if None not in (payload, self._payload) and payload != self._payload:
                raise PayloadMismatch(
                    f"this key of {self._name!r} was used before, with another payload: a new "
                    "event needs a key of its own"
                )
            return (None if answer is None else decoded(answer),)
        raise self._in_progress()

    def _insert(self, connection: Connection) -> bool:
        self._run = os.urandom(16)
        row = (self._name, self._key, self._run, self._payload, self._microseconds)
        try:
            connection.exec_driver_sql(self._sql.insert, row)
        except DuplicateKey:
            return False
        except LockWaitTimeout as error:
            raise self._in_progress() from error
        self._is_mine = True
        return True

    def _in_progress(self) -> AlreadyInProgress:
        return AlreadyInProgress(
            f"another invocation with this key of {self._name!r} is at work; its answer will be "
            "there for a later repeat"
        )
