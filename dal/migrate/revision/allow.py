"""What a revision may do although it hurts: named, with a reason, where it is done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal, get_args

from dal.errors import InvalidArgument

Hurt = Literal["copy", "shared", "contract", "rows"]

_allowed: ContextVar[Mapping[str, str]] = ContextVar(
    "dal_migration_allowed", default=MappingProxyType({})
)


@contextlib.contextmanager
def allow(what: Hurt, *, reason: str) -> Iterator[None]:
    """Let the block's statements do what is refused otherwise.

    Args:
        what: "copy": copy a big table, which blocks its writes all the while. "shared": block the
            writes of a big table without copying it. "contract": take away what the code of the
            release before still uses. "rows": change the rows of a big table in one statement.
        reason: Why that is fine here, for who reads the revision.

    Raises:
        InvalidArgument: another word, or no reason.
    """
    if what not in get_args(Hurt):
        raise InvalidArgument(f"allow() takes one of {', '.join(get_args(Hurt))}, not {what!r}")
    if not isinstance(reason, str) or not reason.strip():
        raise InvalidArgument("allow() wants a reason, a text for who reads the revision")
    token = _allowed.set({**_allowed.get(), what: reason})
    try:
        yield
    finally:
        _allowed.reset(token)


def allowed() -> Mapping[str, str]:
    """Return what is allowed here and now, with the reasons."""
    return _allowed.get()


def is_allowed(what: Hurt) -> bool:
    """Return whether the statement that is sent here and now may do this."""
    return what in _allowed.get()
