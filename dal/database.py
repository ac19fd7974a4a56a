"""`Database`: settings, engine and scopes in one object, made at module level; opens nothing."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self, overload

from sqlalchemy.engine import URL, Engine

from dal import aws
from dal.aws.handler import Handler, RollbackWhen
from dal.engine import Settings, create_engine, settings_of
from dal.errors import InvalidArgument, NoActiveScope, UsageError
from dal.scope import Scope, Session, as_current, current_scope
from dal.scope.attempts import Result, checked_attempts, run_again
from dal.scope.report import Unit, Write, to_log, unit_of_work
from dal.settings import Report
from dal.wire.deadline import NEVER, RUN, SCOPE, Deadline

if TYPE_CHECKING:  # loaded by those who use it
    from dal.idempotency.claim import Claim
    from dal.idempotency.idempotency import Idempotency
    from dal.outbox import Outbox


BatchHandler = Callable[..., dict[str, Any]]


class Database:
    """One MySQL database, and the only way to a unit of work on it."""

    def __init__(self, url: str | URL | Settings, **settings: Any) -> None:
        """Take the address as a URL or ready `Settings`; opens nothing.

        Raises:
            ConfigurationError: a setting is wrong; names it, never its secret.
        """
        self._settings = settings_of(url, **settings)
        self._engine = create_engine(self._settings)
        self._write = _writer(self._settings.report)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """Read `DATABASE_URL`, or `DB_HOST`, `DB_PORT`, `DB_USER`, `DB_PASSWORD`, `DB_NAME`.

        Every other setting comes from `DAL_<NAME>`; keywords stand above variables.

        Raises:
            ConfigurationError: a variable is missing, wrong or unknown; names it.
        """
        return cls(Settings.from_env(environ, **settings))

    def __repr__(self) -> str:
        return f"Database({self._settings.url()})"

    @property
    def settings(self) -> Settings:
        """What this database was made with."""
        return self._settings

    @property
    def engine(self) -> Engine:
        """The engine below: its connections are their own, outside every scope."""
        return self._engine

    @functools.cached_property
    def outbox(self) -> Outbox:
        """The messages that leave when the work is committed."""
        from dal.outbox import Outbox  # noqa: PLC0415  # for those who ask

        return Outbox(self)

    @property
    def has_scope(self) -> bool:
        """Whether a scope of this database is open here."""
        scope = current_scope(self)
        return scope is not None and scope.is_open_here

    @property
    def session(self) -> Session:
        """The session of the current scope.

        Raises:
            NoActiveScope: no scope of this database is open here.
            WrongThread: the scope was opened by another thread.
        """
        return self._current().session

    @contextlib.contextmanager
    def scope(self, *, read_only: bool = False, deadline: float | None = None) -> Iterator[Session]:
        """Open a unit of work: COMMIT if the block ends normally, ROLLBACK if it raises.

        Inside another scope of this database it joins that one: the outer scope commits, keeps its
        deadline, and is undone by an exception that leaves the inner one.

        Args:
            read_only: SELECTs alone, each fresh, without transaction and COMMIT.
            deadline: Seconds from now after which nothing is waited for; None: no such limit.

        Raises:
            the error that made the scope rollback-only, even if the block swallowed it.
            ConstraintViolation, Deadlock and the like: what the last flush or COMMIT meets.
            CommitOutcomeUnknown: COMMIT left and its answer never came.
            DeadlineExceeded: no time is left to send COMMIT; it was rolled back.
            ReadOnlyScope: a read-only scope holds changes, or a writing one opens inside it.
        """
        outer = current_scope(self)
        if outer is not None and outer.is_open_here:
            with outer.joined(read_only=read_only):
                yield outer.session
            return
        limit = _deadline(deadline, SCOPE)
        with (
            unit_of_work(self._settings.database, self._write) as unit,
            self._attempt(unit, read_only=read_only, deadline=limit) as scope,
        ):
            yield scope.session

    @contextlib.contextmanager
    def _attempt(self, unit: Unit, *, read_only: bool, deadline: Deadline) -> Iterator[Scope]:
        """Open the scope of one attempt at `unit`."""
        scope = Scope(self._engine, read_only=read_only, deadline=deadline, tally=unit.tally)
        if self._settings.commit_marker and not read_only:
            from dal.idempotency.marker import CommitMarker  # noqa: PLC0415  # for those who ask

            scope.marker = CommitMarker(self._settings)
        with as_current(self, scope):
            try:
                try:
                    yield scope
                except BaseException:
                    scope.abandon()
                    raise
                scope.complete()
                unit.outcome = scope.outcome
            finally:
                unit.fate = scope.fate
                scope.close()  # an interrupt may strike between any two of these lines
        scope.run_callbacks()

    def run(
        self,
        unit: Callable[[], Result],
        *,
        attempts: int = 3,
        read_only: bool = False,
        deadline: float | None = None,
    ) -> Result:
        """Return what `unit` returns, run in a scope; again in a fresh one after a transient error.

        Args:
            unit: The unit of work; what it does outside the database happens again.
            attempts: How often to run it at most.
            read_only: As for `scope`.
            deadline: Seconds from now for all attempts together; None: no such limit.

        Raises:
            UsageError: a scope is open already: nobody could undo just a part of it.
            what the last attempt raised, with those before in its `attempts`.
        """
        limit = _deadline(deadline, RUN)
        return self._run(unit, attempts=attempts, read_only=read_only, deadline=limit)

    def _run(
        self,
        unit: Callable[[], Result],
        *,
        attempts: int,
        read_only: bool,
        deadline: Deadline,
        claim: Claim | None = None,
    ) -> Result:
        checked_attempts(attempts)
        if self.has_scope:
            raise UsageError(
                "db.run() inside a scope: a part of a transaction cannot be run again; call the "
                "function itself, or end the scope first"
            )

        with unit_of_work(self._settings.database, self._write) as whole:

            def scope() -> AbstractContextManager[Scope]:
                return self._attempt(whole, read_only=read_only, deadline=deadline)

            def attempt() -> Result:
                if claim is not None:
                    return claim.attempt(scope, unit, deadline, self._settings)
                with scope():
                    return unit()

            return run_again(attempt, attempts=attempts, deadline=deadline, tally=whole.tally)

    def savepoint(self) -> AbstractContextManager[None]:
        """Undo what the block wrote, and nothing else, if it raises; two round trips.

        Raises:
            NoActiveScope, ReadOnlyScope: there is no transaction to undo a part of.
            the first error: a flush failed in the block, and it was left normally all the same.
        """
        return self._current().savepoint()

    def rollback_only(self) -> None:
        """Let the current scope end with ROLLBACK, without an error; its answer stands.

        Raises:
            NoActiveScope: no scope of this database is open here.
        """
        self._current().rollback_only()

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Call `callback` after the COMMIT of the current scope, before the answer leaves.

        Not called if the scope, or the savepoint around this call, is rolled back. No scope is
        active then. One that raises is logged; the others run, and the answer stands.

        Raises:
            NoActiveScope: no scope of this database is open here.
        """
        self._current().after_commit(callback)

    @overload
    def handler(self, handler: Handler, /) -> Handler: ...

    @overload
    def handler(
        self,
        /,
        *,
        read_only: bool = False,
        attempts: int = 1,
        reserve: float = aws.RESERVE,
        rollback_when: RollbackWhen = aws.is_failure,
        idempotency: Idempotency | None = None,
    ) -> Callable[[Handler], Handler]: ...

    def handler(
        self,
        handler: Handler | None = None,
        /,
        *,
        read_only: bool = False,
        attempts: int = 1,
        reserve: float = aws.RESERVE,
        rollback_when: RollbackWhen = aws.is_failure,
        idempotency: Idempotency | None = None,
    ) -> Handler | Callable[[Handler], Handler]:
        """Make a Lambda handler one unit of work: bare, or with keywords.

        COMMIT comes after the handler has returned and its answer has been proven encodable, and
        before the answer leaves. An exception means ROLLBACK and leaves as it is.

        Args:
            handler: The handler.
            read_only: SELECTs alone, each fresh, without transaction and COMMIT.
            attempts: How often to run it at most; again only after a transient error (a deadlock,
                a lost connection), whole, in a fresh scope, and while there is time. The handler
                must bear it: what it does outside the database happens again.
            reserve: Seconds of the invocation's time kept back for ROLLBACK and the answer.
            rollback_when: Given the answer, says whether it means ROLLBACK; the answer leaves all
                the same. By default a dictionary with an integer `statusCode` of 400 or more.
            idempotency: What makes two events the same one: its key and the answer are stored with
                the work, and a repeat gets that answer without running the handler. Nothing is
                kept of an exception and of an answer that means ROLLBACK.

        Raises:
            UnencodableAnswer: the runtime could not send the answer, or a repeat could not be given
                it; rolled back.
            AlreadyInProgress: another invocation with the same key is at work, and did not end
                within `lock_wait_timeout`; the handler has not begun.
            PayloadMismatch: the key was used before with another payload.
            InvalidArgument: the event has no key that can be one.
            UsageError: with `idempotency`, inside a scope: its rollback would not be its own.
            what `scope()` raises at its end.
        """

        def decorate(function: Handler) -> Handler:
            return aws.as_unit_of_work(
                self,
                function,
                read_only=read_only,
                attempts=attempts,
                reserve=reserve,
                rollback_when=rollback_when,
                idempotency=idempotency,
                run=self._run,
            )

        return decorate if handler is None else decorate(handler)

    @overload
    def record_handler(
        self,
        function: Callable[..., object],
        /,
        *,
        idempotency: Idempotency | None = None,
        attempts: int = 1,
        reserve: float = aws.RESERVE,
    ) -> Callable[..., None]: ...

    @overload
    def record_handler(
        self,
        /,
        *,
        idempotency: Idempotency | None = None,
        attempts: int = 1,
        reserve: float = aws.RESERVE,
    ) -> Callable[[Callable[..., object]], Callable[..., None]]: ...

    def record_handler(
        self,
        function: Callable[..., object] | None = None,
        /,
        *,
        idempotency: Idempotency | None = None,
        attempts: int = 1,
        reserve: float = aws.RESERVE,
    ) -> Callable[..., None] | Callable[[Callable[..., object]], Callable[..., None]]:
        """Return `function` with a unit of work around each record: bare, or with keywords.

        For Powertools' batch processors, which pass the context to a parameter `lambda_context`:
        without it there is no deadline. What the function returns is dropped.

        Args:
            function: Takes a record; and the context, if it has a parameter `lambda_context`.
            idempotency: As for `handler`; its `key` takes the record.
            attempts: As for `handler`.
            reserve: Seconds of the invocation's time kept back; a record is not begun in them.

        Raises:
            InvalidArgument: `function` is no plain function, or another argument is wrong.
            DeadlineExceeded: (when called) no time is left to begin this record.
        """
        from dal.aws.batches import record_handler  # noqa: PLC0415  # for those who ask

        decorate = functools.partial(
            record_handler,
            self,
            idempotency=idempotency,
            attempts=attempts,
            reserve=reserve,
            run=self._run,
        )
        return decorate if function is None else decorate(function)

    @overload
    def batch_handler(
        self,
        function: Callable[..., object],
        /,
        *,
        idempotency: Idempotency | None = None,
        attempts: int = 1,
        reserve: float = aws.RESERVE,
    ) -> BatchHandler: ...

    @overload
    def batch_handler(
        self,
        /,
        *,
        idempotency: Idempotency | None = None,
        attempts: int = 1,
        reserve: float = aws.RESERVE,
    ) -> Callable[[Callable[..., object]], BatchHandler]: ...

    def batch_handler(
        self,
        function: Callable[..., object] | None = None,
        /,
        *,
        idempotency: Idempotency | None = None,
        attempts: int = 1,
        reserve: float = aws.RESERVE,
    ) -> BatchHandler | Callable[[Callable[..., object]], BatchHandler]:
        """Return a Lambda handler that gives each record of a batch to `function`, one unit each.

        For SQS, Kinesis and DynamoDB streams. It answers `batchItemFailures`: a record that raised,
        or was not begun as the time was up. A FIFO group stops at its first failure, and the rest
        of it is answered as failed; a stream stops altogether at its first. The event source needs
        ReportBatchItemFailures.

        Args:
            function: As for `record_handler`, and so are the others.
            idempotency: As for `handler`; its `key` takes the record.
            attempts: As for `handler`.
            reserve: Seconds of the invocation's time kept back; a record is not begun in them.

        Raises:
            InvalidArgument: `function` is no plain function, or another argument is wrong; (when
                called) the event is of another source.
        """
        from dal.aws.batches import batch_handler  # noqa: PLC0415  # for those who ask

        handler_of = self.record_handler(
            idempotency=idempotency, attempts=attempts, reserve=reserve
        )

        def decorate(function: Callable[..., object]) -> BatchHandler:
            return batch_handler(handler_of(function))

        return decorate if function is None else decorate(function)

    def _current(self) -> Scope:
        scope = current_scope(self)
        if scope is None or scope.has_ended:
            raise NoActiveScope(
                "no scope is open: decorate the handler with @db.handler, or write "
                "`with db.scope():`"
            )
        scope.check_owner()
        return scope


def _writer(report: Report) -> Write | None:
    if report == "emf":
        from dal.aws import emf  # noqa: PLC0415  # for those who want it

        return emf.write
    return to_log() if report == "log" else None


def _deadline(seconds: float | None, name: str) -> Deadline:
    if seconds is None:
        return NEVER
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise InvalidArgument(
            f"deadline is seconds from now, 0 or more, not {type(seconds).__name__}"
        )
    return NEVER if seconds == math.inf else Deadline(seconds, name)
