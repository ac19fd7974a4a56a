"""A Lambda handler as one unit of work."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from dal.aws.answer import is_failure, prove_encodable
from dal.errors import InvalidArgument, UsageError
from dal.scope.attempts import checked_attempts
from dal.scope.current import current_scope
from dal.scope.units import UnitsOfWork
from dal.wire.deadline import INVOCATION, Deadline

Handler = TypeVar("Handler", bound=Callable[..., Any])
RollbackWhen = Callable[[Any], bool]

#: Seconds kept back from the invocation's time, for ROLLBACK and the answer.
RESERVE = 0.5

#: Lambda's id of the invocation that is being handled; None where there is none.
request_id: ContextVar[str | None] = ContextVar("dal_request_id", default=None)


class Claim(Protocol):
    """One invocation's claim to its key."""

    def keep(self, encoded: str | bytes) -> None:
        """Let the answer be stored with the work."""


class Keys(Protocol):
    """What tells which events are the same one: a `dal.Idempotency`."""

    def claim(self, event: Any, context: object) -> Claim:
        """Return what one invocation needs to be the only one with its key."""


class Run(Protocol):
    """What runs a unit of work: `Database.run`, with a claim."""

    def __call__(
        self,
        unit: Callable[[], Any],
        *,
        attempts: int,
        read_only: bool,
        deadline: Deadline,
        claim: Any,
    ) -> Any:
        """Return what `unit` returns, run in a scope, again after a transient error."""


def as_unit_of_work(
    database: UnitsOfWork,
    handler: Handler,
    *,
    read_only: bool,
    attempts: int,
    reserve: float,
    rollback_when: RollbackWhen,
    idempotency: Keys | None,
    run: Run,
) -> Handler:
    """Return `handler` with one scope of `database` around each call, or each attempt at it."""
    name = _checked_function(handler)
    checked_reserve(reserve)
    if not callable(rollback_when):
        raise InvalidArgument(f"rollback_when wants a callable, not {rollback_when!r}")
    checked_attempts(attempts)
    _check_keys(idempotency, read_only=read_only)

    def claimed(args: Any, kwargs: Any, context: object) -> Claim | None:
        if idempotency is None:
            return None
        return idempotency.claim(_event(args, kwargs, context), context)

    @functools.wraps(handler)
    def unit_of_work(*args: Any, **kwargs: Any) -> Any:
        if database.has_scope:  # called by another handler, whose unit and answer count
            if idempotency is not None:
                raise UsageError(
                    f"{name} is idempotent and was called inside a scope, whose rollback would "
                    "take its key along: call it outside, or call the function that it decorates"
                )
            with database.scope(read_only=read_only):
                return handler(*args, **kwargs)

        context, seconds = lambda_context(args, kwargs)
        claim = claimed(args, kwargs, context)

        def unit() -> Any:
            answer = handler(*args, **kwargs)
            encoded = prove_encodable(answer)
            _check_failures_are_undone(database, answer)
            if rollback_when(answer):
                database.rollback_only()
            elif claim is not None:
                claim.keep(encoded)
            return answer

        known = getattr(context, "aws_request_id", None)
        token = request_id.set(known if isinstance(known, str) else None)
        try:
            return run(
                unit,
                attempts=attempts,
                read_only=read_only,
                deadline=Deadline(max(0.0, seconds - reserve), INVOCATION),
                claim=claim,
            )
        finally:
            request_id.reset(token)

    return unit_of_work  # type: ignore[return-value]


def lambda_context(args: Any, kwargs: Any) -> tuple[object, float]:
    """Return Lambda's context and the seconds it leaves; None and infinity where there is none."""
    for value in (*args, *kwargs.values()):
        remaining = getattr(value, "get_remaining_time_in_millis", None)
        milliseconds = remaining() if callable(remaining) else None
        if isinstance(milliseconds, int | float):  # and not what a mock of a test gives
            return value, milliseconds / 1000
    return None, math.inf


def _check_failures_are_undone(database: UnitsOfWork, answer: object) -> None:
    """Raise where a batch processor caught what a record raised: half of that would be stored.

    Raises:
        UsageError: records failed, and no savepoint was rolled back.
    """
    if not isinstance(answer, dict) or not answer.get("batchItemFailures"):
        return
    scope = current_scope(database)
    is_plain = scope is not None and scope.has_written and not scope.is_lost_or_refused
    if scope is None or not is_plain or scope.has_undone_a_part:
        return
    raise UsageError(
        "records of this batch failed, and what they had written would be committed with the "
        "rest, so nothing is: give each record to db.record_handler(), without @db.handler around "
        "the processor, or to a db.savepoint()"
    )


def checked_reserve(reserve: object) -> float:
    """Return the seconds that are kept back.

    Raises:
        InvalidArgument: it is no number from 0 to less than 900.
    """
    if isinstance(reserve, bool) or not isinstance(reserve, int | float) or not 0 <= reserve < 900:
        raise InvalidArgument(f"reserve is seconds, from 0 to less than 900, not {reserve!r}")
    return reserve


def _checked_function(handler: object) -> str:
    """Return its name.

    Raises:
        InvalidArgument: it is no plain function.
    """
    name = getattr(handler, "__qualname__", repr(handler))
    if not callable(handler):
        raise InvalidArgument(f"a handler is a function, not {handler!r}")
    if any(
        kind(handler)
        for kind in (
            inspect.iscoroutinefunction,
            inspect.isgeneratorfunction,
            inspect.isasyncgenfunction,
        )
    ):
        raise InvalidArgument(
            f"{name} would run after its scope had ended; the Lambda runtime calls plain functions"
        )
    return str(name)


def _event(args: Any, kwargs: Any, context: object) -> Any:
    """Return the event: what stands before the context, or is named so, or comes first."""
    if "event" in kwargs:
        return kwargs["event"]
    places = [place for place, value in enumerate(args) if value is context and place > 0]
    if not args:
        raise InvalidArgument("an idempotent handler was called without an event")
    return args[places[-1] - 1] if places and context is not None else args[0]


def _check_keys(idempotency: object, *, read_only: bool) -> None:
    if idempotency is None:
        return
    if not callable(getattr(idempotency, "claim", None)):
        raise InvalidArgument(f"idempotency wants a dal.Idempotency, not {idempotency!r}")
    if read_only:
        raise InvalidArgument(
            "idempotency with read_only: a read-only handler has no effect to keep from happening "
            "twice; leave one of them out"
        )


__all__ = ["RESERVE", "as_unit_of_work", "is_failure"]
