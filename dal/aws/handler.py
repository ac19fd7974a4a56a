"""A Lambda handler as one unit of work."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from dal.aws.answer import is_failure, prove_encodable
from dal.errors import InvalidArgument
from dal.scope.attempts import Result, checked_attempts

Handler = TypeVar("Handler", bound=Callable[..., Any])
RollbackWhen = Callable[[Any], bool]

#: Seconds kept back from the invocation's time, for ROLLBACK and the answer.
RESERVE = 0.5

#: Lambda's id of the invocation that is being handled; None where there is none.
request_id: ContextVar[str | None] = ContextVar("dal_request_id", default=None)


class UnitsOfWork(Protocol):
    """What opens scopes."""

    @property
    def has_scope(self) -> bool:
        """Whether a scope is open here, which a new one would join."""

    def scope(self, *, read_only: bool = ...) -> AbstractContextManager[Any]:
        """Open a scope, or join the one that is open."""

    def run(
        self, unit: Callable[[], Result], *, attempts: int, read_only: bool, deadline: float
    ) -> Result:
        """Return what `unit` returns, run in a scope, again after a transient error."""

    def rollback_only(self) -> None:
        """Let the current scope end with ROLLBACK."""


def as_unit_of_work(
    database: UnitsOfWork,
    handler: Handler,
    *,
    read_only: bool,
    attempts: int,
    reserve: float,
    rollback_when: RollbackWhen,
) -> Handler:
    """Return `handler` with one scope of `database` around each call, or each attempt at it."""
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
    if isinstance(reserve, bool) or not isinstance(reserve, int | float) or not 0 <= reserve < 900:
        raise InvalidArgument(f"reserve is seconds, from 0 to less than 900, not {reserve!r}")
    if not callable(rollback_when):
        raise InvalidArgument(f"rollback_when wants a callable, not {rollback_when!r}")

    checked_attempts(attempts)

    @functools.wraps(handler)
    def unit_of_work(*args: Any, **kwargs: Any) -> Any:
        if database.has_scope:  # called by another handler, whose unit and answer count
            with database.scope(read_only=read_only):
                return handler(*args, **kwargs)

        def unit() -> Any:
            answer = handler(*args, **kwargs)
            prove_encodable(answer)
            if rollback_when(answer):
                database.rollback_only()
            return answer

        context, seconds = lambda_context(args, kwargs)
        known = getattr(context, "aws_request_id", None)
        token = request_id.set(known if isinstance(known, str) else None)
        try:
            return database.run(
                unit,
                attempts=attempts,
                read_only=read_only,
                deadline=max(0.0, seconds - reserve),
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


__all__ = ["RESERVE", "as_unit_of_work", "is_failure"]
