"""One unit of work: one session, at most one connection, one COMMIT or one ROLLBACK.

    OPEN ──────── complete() ──► COMMITTING ──── COMMIT ────► ENDED
      │                              │ what a hook of the session swallowed
      │ an error that may have       ▼
      │ undone more than itself   ROLLING_BACK ─ ROLLBACK ──► ENDED
      ▼                              ▲
    OPEN, rollback-only ─────────────┘
       every further statement, and complete() itself, raises that first error

A savepoint is rollback-only by itself after a flush failed in it, or after a joined scope left it
with an exception; rolling back to it mends that. Nothing mends a scope. A savepoint ends as the
innermost one (dal.scope.savepoints), or the scope is doomed.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, NoReturn, Protocol, cast

import pymysql
import sqlalchemy.exc
from sqlalchemy import orm
from sqlalchemy.engine import Connection, Engine

from dal import errors
from dal.engine.translate import named_error
from dal.scope import savepoints, statements
from dal.scope.ended import check_all_written, forget
from dal.scope.report import Outcome
from dal.scope.session import Session
from dal.scope.watch import Watch
from dal.wire.connection import Connection as DriverConnection
from dal.wire.deadline import NEVER, Deadline
from dal.wire.purpose import Purpose, connecting_for
from dal.wire.tally import Tally

log = logging.getLogger("dal")

#: Writes all that it was given, in one transaction and right before its COMMIT.
Write = Callable[[Connection, list[Any]], object]


class Marker(Protocol):
    """A row of the scope's transaction, which is there once it is committed."""

    def write(self, connection: Connection) -> None:
        """Insert the row, unless it is there; the last statement before COMMIT."""

    def was_committed(self, lost: DriverConnection) -> bool | None:
        """Return whether the transaction was committed; None where nobody can be asked.

        Raises an error of `dal` where it was not.
        """


class State(enum.Enum):
    """Where a scope is in its life."""

    OPEN = "open"
    COMMITTING = "committing"
    ROLLING_BACK = "rolling back"
    ENDED = "ended"


class Scope:
    """One unit of work and everything that is open for it."""

    def __init__(
        self,
        engine: Engine,
        *,
        read_only: bool = False,
        deadline: Deadline = NEVER,
        tally: Tally | None = None,
    ) -> None:
        self.read_only = read_only
        self.deadline = deadline
        self.tally = tally or Tally()
        self.session = Session(self)
        self._engine = engine
        self._thread = threading.get_ident()
        self._process = os.getpid()
        self._state = State.OPEN
        self._connection: Connection | None = None
        self._driver: DriverConnection | None = None
        self._error: BaseException | None = None
        self._failed: BaseException | None = None  # what the driver raised, if that was it
        self._rollback_asked = False
        self._savepoints = savepoints.Savepoints()
        self._callbacks: list[Callable[[], object]] = []
        #: What was changed here and belongs to a scope that has ended.
        self.changed_elsewhere: set[orm.InstanceState[Any]] = set()
        self._watch = Watch(read_only=read_only)
        self._greeting: str | None = None  # None where it may be a proxy's
        self._reading = statements.Reading()  # of the last statement
        self._writes: list[tuple[Write, Any]] = []  # put off until COMMIT
        self._ended_as: Outcome | None = None
        #: Whether a savepoint was rolled back.
        self.has_undone_a_part = False
        #: By what the outcome of a COMMIT whose answer was lost is found out.
        self.marker: Marker | None = None

    # Use ----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise unless a statement may be sent now.

        Raises:
            WrongThread: this is not the thread that opened the scope.
            ScopeEnded: the scope is over.
            RollbackOnly, or the first error itself: the scope can only be rolled back.
        """
        self.check_owner()
        error = self._error or self._savepoints.error
        if error is not None:
            self._raise_again(error)

    @property
    def has_ended(self) -> bool:
        """Whether it has committed or rolled back."""
        return self._state is State.ENDED

    @property
    def is_open_here(self) -> bool:
        """Whether it has not ended and belongs to this thread.

        A context that was copied for a task or a thread goes on holding a scope that is neither.
        """
        return self._is_mine() and not self.has_ended

    def check_owner(self) -> None:
        """Raise `WrongThread` or `ScopeEnded` unless this scope may be used here and now."""
        if not self._is_mine():
            raise errors.WrongThread(
                "this scope belongs to the thread, and process, that opened it; "
                "open a scope of its own in each thread"
            )
        if self.has_ended:
            raise errors.ScopeEnded(
                "this scope has ended; load what you need inside it, or open a new one"
            )

    def _is_mine(self) -> bool:
        return (threading.get_ident(), os.getpid()) == (self._thread, self._process)

    @staticmethod
    def _raise_again(error: BaseException) -> NoReturn:
        if isinstance(error, errors.Error | sqlalchemy.exc.SQLAlchemyError | pymysql.Error):
            raise error
        raise errors.RollbackOnly(
            f"the scope is rollback-only since {type(error).__name__} ended a part of it; let that "
            "exception leave the scope, or put the part into db.savepoint()"
        ) from error

    def connection(self) -> Connection:
        """Return the scope's connection; the first call makes it.

        Raises:
            ConnectError, DeadlineExceeded: none could be made; the scope may try again.
        """
        self.check()
        if self._connection is None:
            with connecting_for(Purpose(self.read_only, self.deadline, self, self.tally)):
                connection = self._engine.connect()
            self._connection = connection.execution_options(dal_owner=self)
            self._driver = driver = cast("DriverConnection", connection.connection.dbapi_connection)
            self._greeting = None if driver.settings.proxy else driver.server_version
        return self._connection

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block wrote, and nothing else, if it raises.

        Two round trips: SAVEPOINT, then RELEASE or ROLLBACK TO.

        Raises:
            ReadOnlyScope: the scope is read-only.
            the first error: a flush failed in the block, and it was left normally all the same.
        """
        if self.read_only:
            raise errors.ReadOnlyScope("a read-only scope has no transaction, so no savepoints")
        self.check()
        if not self._savepoints.would_nest():
            self.refuse(savepoints.ANOTHER_TASKS)
        nested = orm.Session.begin(self.session, nested=True)
        mine = self._savepoints.open(
            callbacks=len(self._callbacks), writes=len(self._writes), transaction=nested
        )
        try:
            yield
            self.check_owner()
            if not self._ends_in_turn(mine):
                self.check()
            self.session.flush()  # also raises what the block has swallowed
        except BaseException:
            if self._ends_in_turn(mine):
                self._savepoints.close(mine)
                del self._callbacks[mine.callbacks :]
                del self._writes[mine.writes :]
                if self._error is None:
                    nested.rollback()
                    self.has_undone_a_part = True
            raise
        finally:
            self._savepoints.leave(mine)
        self._savepoints.close(mine)
        nested.commit()

    def _ends_in_turn(self, savepoint: savepoints.Savepoint) -> bool:
        """Return whether it may be undone or kept now; if not, the scope is doomed."""
        if self.has_ended:
            return False
        is_alone = (
            self._is_mine()
            and self._savepoints.innermost is savepoint
            and not self.session.is_at_work
            and (self._driver is None or not self._driver.is_waiting)
        )
        if is_alone and (
            self._error is not None  # with which SQLAlchemy may have closed it
            or self.session.get_nested_transaction() is savepoint.transaction
        ):
            return True
        self._doom(errors.TransactionControl(f"refused inside a scope: {savepoints.OUT_OF_TURN}"))
        return False

    @contextlib.contextmanager
    def joined(self, *, read_only: bool) -> Iterator[None]:
        """Let an inner scope take part in this one; an exception that leaves it undoes this one.

        Raises:
            ReadOnlyScope: the inner scope wants to write and this one is read-only.
            TransactionControl: a savepoint was opened in the inner scope and is open still, or one
                around it has ended.
        """
        self.check()
        if self.read_only and not read_only:
            raise errors.ReadOnlyScope(
                "a read-write scope cannot open inside a read-only one; open the outer one, or its "
                "handler, without read_only"
            )
        around = self._savepoints.innermost
        try:
            yield
            if self._savepoints.innermost is not around and not self.has_ended:
                self.refuse(savepoints.CROSSED)
        except BaseException as error:
            if self._savepoints.innermost is around:
                self.fail(error)
            else:  # rolling back to that one would not undo all of the inner scope
                self._doom(error)
            raise

    def rollback_only(self) -> None:
        """Let the scope end with ROLLBACK, without an error."""
        self.check_owner()
        self._rollback_asked = True

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Call `callback` once the work is committed, with no scope active."""
        self.check()
        if not callable(callback):
            raise errors.InvalidArgument(
                f"after_commit() wants a callable, not {type(callback).__name__}"
            )
        self._callbacks.append(callback)

    @property
    def has_written(self) -> bool:
        """Whether a statement has written rows, or a change or message is still to be written."""
        pending = bool(self._writes) or self.session.has_unwritten_changes()
        return pending or self.tally.rows_written > 0

    def before_commit(self, write: Write, item: object) -> None:
        """Let `write` have `item`, with all others that it was given here, right before COMMIT.

        After the last flush, in the order of the first items. One given in a savepoint that is
        rolled back is dropped.
        """
        self.check()
        self._writes.append((write, item))

    def let_go(self, outcome: Outcome) -> None:
        """End without COMMIT and without a word: nothing was written that would have to be undone.

        Locks go with the session, which the server rolls back as it is closed or reset.
        """
        self._rollback_asked = True
        self._ended_as = outcome
        if self._driver is not None and not self._driver.settings.proxy:
            self._driver.has_work = False

    # What goes wrong ----------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """Make the innermost savepoint, or the scope, rollback-only because of `error`."""
        innermost = self._savepoints.innermost
        if innermost is None:
            self._doom(error)
        elif innermost.error is None:
            innermost.error = error

    def refuse(self, what: str) -> NoReturn:
        """Refuse what would break the scope, which is rollback-only from here on.

        Code that swallows this error believes in a commit that never was.
        """
        self.check_owner()
        error = errors.TransactionControl(f"refused inside a scope: {what}")
        self._doom(error)
        raise error

    def _doom(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error

    # What the connection tells and asks (dal.wire.connection.Owner) ---------------------------

    @property
    def is_lost_or_refused(self) -> bool:
        """Whether the whole transaction is rolled back, or will be."""
        return self._error is not None or self._state is State.ROLLING_BACK

    def before_statement(self, sql: str | bytes) -> None:
        """Refuse what may not be sent now."""
        if self._watch.is_asking:
            return
        # The driver's own are str; SQL text of users arrives as bytes.
        if self._state is State.COMMITTING and sql == "COMMIT":
            self.check()  # hooks of the session have run since
            self._ask()
            return
        if self._state is State.ROLLING_BACK and sql == "ROLLBACK":
            return
        if self.session.is_at_work and sql == "ROLLBACK":
            return  # SQLAlchemy's, after a flush that failed; `fail` hears of it next
        self.check()
        self._ask()
        self._reading = reading = statements.read(sql, self._greeting)
        if reading.refusal is not None:
            self.refuse(f"{reading.word} {reading.refusal}")
        if self.read_only and statements.is_refused_read_only(sql, self._greeting):
            raise errors.ReadOnlyScope(
                "a read-only scope takes no locks and has no savepoints; open it, or the handler, "
                "without read_only"
            )
        # In a read-only scope nothing but the session's own variable keeps others from writing.
        is_telling = reading.tells_all and not (self.read_only and reading.word == "SET")
        if not is_telling and self._driver is not None:
            self._watch.put_in_question(self._driver)

    def answered(self, status: int) -> None:
        """Doom the scope, and raise, if an answer shows that its transaction is not the same."""
        if self._error is None and self._state in {State.OPEN, State.COMMITTING}:
            self._break_off(self._watch.broken_by(status))

    def _ask(self) -> None:
        """Ask the server about the last statement, if its text did not tell all."""
        self._break_off(self._watch.ask(self._driver))

    def _break_off(self, what: str | None) -> None:
        if what is not None:
            error = errors.TransactionControl(
                f"{self._reading.word or 'a statement'}, or a procedure or trigger in it, {what} "
                "inside a scope: what ran in this scope so far may be stored, and it is not "
                "committed; the scope alone ends its transaction"
            )
            self._doom(error)
            raise error

    def statement_failed(self, error: BaseException) -> None:
        """Become rollback-only, unless `error` is known to undo just its statement."""
        if self._state not in {State.OPEN, State.COMMITTING}:
            return
        if self._watch.has_asked_for(error):
            return
        number = error.args[0] if isinstance(error, pymysql.Error) and error.args else None
        # A procedure that fails keeps what its statements before the failing one have done.
        if number in errors.STATEMENT_ONLY and self._reading.word not in statements.OPAQUE:
            return
        if self._error is None:
            self._failed = error
            self._error = named_error(error) or error
            if self._error is not error:
                self._error.__cause__ = error

    @property
    def is_marked(self) -> bool:
        """Whether a lost COMMIT can be asked for."""
        return self.marker is not None

    def was_committed(self) -> bool | None:
        """Return whether the COMMIT without an answer committed; None where nobody can be asked.

        Raises:
            ConnectionLost: it did not; nothing is stored.
        """
        if self.marker is None or self._driver is None:
            return None
        return self.marker.was_committed(self._driver)

    def half_done(self, error: BaseException) -> None:
        """Become rollback-only, or the savepoint: there is no going on with half of the work."""
        named = named_error(error)
        if named is not None:
            named.__cause__ = error
        self.fail(named or error)

    def raised_as(self, original: BaseException, shown: BaseException) -> None:
        """Learn what user code got to see in place of the driver's error."""
        if self._failed is original:
            self._error = shown

    # The end ------------------------------------------------------------------------------------

    def complete(self) -> None:
        """COMMIT and close; ROLLBACK and close where that was asked for or has become necessary.

        Raises:
            the error that made the scope rollback-only; what the last flush or COMMIT raises.
            ReadOnlyScope: a read-only scope holds changes.
            ScopeEnded: an object of an ended scope was changed, and no session has it.
            CommitOutcomeUnknown: COMMIT left, and its answer never came.
        """
        try:
            if self._rollback_asked:
                self._roll_back()
            else:
                self.session.flush()  # raises the first error; in a read-only scope any change
                check_all_written(self.changed_elsewhere)
                if self.read_only:
                    self._ask()
                else:
                    self._commit()
        except BaseException as error:
            self._roll_back()
            if self.fate == "unknown" and not isinstance(error, Exception):
                log.error(  # the exit leaves as it is, and says nothing of it
                    "%s came while COMMIT was pending: the transaction may or may not be stored",
                    type(error).__name__,
                )
            raise
        finally:
            self.close()

    @property
    def fate(self) -> Literal["committed", "unknown"] | None:
        """What became of COMMIT, if it left, whatever was raised since; None where it did not."""
        if self._driver is not None and self._driver.has_committed:
            return "committed"
        return "unknown" if self._driver is not None and self._driver.is_commit_open else None

    @property
    def outcome(self) -> Outcome:
        """How `complete` ended, where it raised nothing."""
        if self._ended_as is not None:
            return self._ended_as
        if self._connection is None:
            return "unused"
        if self._rollback_asked:
            return "rolled back"
        return "read" if self.read_only else "committed"

    def abandon(self) -> None:
        """ROLLBACK and close; raises nothing of its own."""
        try:
            self._roll_back()
        finally:
            self.close()

    def run_callbacks(self) -> None:
        """Run all that `after_commit` registered; one that raises is logged.

        An exit (any BaseException) leaves as it is, once the rest have run.
        """
        leaving: BaseException | None = None
        for callback in self._callbacks:
            try:
                callback()
            except Exception:
                log.exception("an after_commit callback failed; what was committed stands")
            except BaseException as error:  # noqa: BLE001  # raised below
                leaving = leaving or error
        if leaving is not None:
            raise leaving

    def _commit(self) -> None:
        if self._savepoints.innermost is not None:
            self.refuse(savepoints.OPEN_STILL)
        self._write_last()
        if self._connection is None:
            return
        if self.marker is not None:
            self.marker.write(self._connection)
        self._state = State.COMMITTING
        try:
            orm.Session.commit(self.session)
            if self._connection.in_transaction():  # used around the session
                self._connection.commit()
        except Exception:
            if self._driver is None or not self._driver.has_committed:
                raise
            log.exception("a hook of the session failed after COMMIT; what was committed stands")

    def _write_last(self) -> None:
        """Write what was put off."""
        if not self._writes:
            return
        self.session.flush_all()
        connection = self.connection()
        if self._driver is not None:
            self._driver.drop_stream()
        for write in dict(self._writes):
            write(connection, [item for to, item in self._writes if to == write])

    def _roll_back(self) -> None:
        self._callbacks.clear()
        self._state = State.ROLLING_BACK
        if os.getpid() != self._process:
            return  # the connection is the parent's, and goes on there
        try:
            orm.Session.rollback(self.session)
            if self._connection is not None and self._connection.in_transaction():
                self._connection.rollback()
        except Exception as error:  # noqa: BLE001  # closing rolls back, too
            log.debug("ROLLBACK failed, the connection is closed instead: %s", error)

    def close(self) -> None:
        """Close what is open, without COMMIT; does nothing a second time."""
        if self.has_ended:
            return
        try:
            if os.getpid() == self._process:
                self.session.end()
                if self._connection is not None:
                    self._connection.close()
        except Exception as error:  # noqa: BLE001  # nothing is left to lose
            log.debug("closing failed, the socket is dropped: %s", error)
        finally:
            self._state = State.ENDED
            forget(self.changed_elsewhere)
            if self._driver is not None:
                self._driver.drop()
