"""A Lambda handler as one unit of work."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from dal.aws.answer import is_failure, prove_encodable
from dal.errors import InvalidArgument

Handler = TypeVar("Handler", bound=Callable[..., Any])
RollbackWhen = Callable[[Any], bool]

#: Seconds kept back from the invocation's time, for ROLLBACK and the answer.
RESERVE = 0.5


class UnitsOfWork(Protocol):
    """What opens scopes."""

    def scope(
        self, *, read_only: bool = ..., deadline: float | None = ...
    ) -> AbstractContextManager[Any]:
        """Open a scope that ends in `deadline` seconds at the latest."""

    def rollback_only(self) -> None:
        """Let the current scope end with ROLLBACK."""


def as_unit_of_work(
    database: UnitsOfWork,
    handler: Handler,
    *,
    read_only: bool,
    reserve: float,
    rollback_when: RollbackWhen,
) -> Handler:
    """Return `handler` with one scope of `database` around each call."""
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
    if isinstance(reserve, bool) or not isinstance(reserve, int | float) or reserve < 0:
        raise InvalidArgument(f"reserve is seconds, 0 or more, not {reserve!r}")
    if not callable(rollback_when):
        raise InvalidArgument(f"rollback_when wants a callable, not {rollback_when!r}")

    @functools.wraps(handler)
    def unit_of_work(*args: Any, **kwargs: Any) -> Any:
        deadline = seconds_left(args, kwargs, reserve)
        with database.scope(read_only=read_only, deadline=deadline):
            answer = handler(*args, **kwargs)
            prove_encodable(answer)
            if rollback_when(answer):
                database.rollback_only()
        return answer

    return unit_of_work  # type: ignore[return-value]


def seconds_left(args: Any, kwargs: Any, reserve: float) -> float | None:
    """Return the seconds until the invocation's deadline less `reserve`; None without a context."""
    for value in (*args, *kwargs.values()):
        remaining = getattr(value, "get_remaining_time_in_millis", None)
        if remaining is not None:
            return max(0.0, float(remaining()) / 1000 - reserve)
    return None


__all__ = ["RESERVE", "as_unit_of_work", "is_failure"]
