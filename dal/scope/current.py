"""Which scope is current, for each database by itself.

In a `ContextVar`: a host that serves several requests in one process keeps them apart by context.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from dal.scope.scope import Scope

_scopes: ContextVar[Mapping[object, Scope]] = ContextVar("dal_scopes", default={})  # noqa: B039


def current_scope(database: object) -> Scope | None:
    """Return the scope of `database` that is open here; None where there is none."""
    return _scopes.get().get(database)


def open_scopes() -> list[Scope]:
    """Return the scopes that are open here, of all databases."""
    return [scope for scope in _scopes.get().values() if scope.is_open_here]


@contextlib.contextmanager
def as_current(database: object, scope: Scope) -> Iterator[None]:
    """Make `scope` the current one of `database` inside the block."""
    before = _scopes.get().get(database)
    _scopes.set({**_scopes.get(), database: scope})
    try:
        yield
    finally:
        # Of the map as it is now: scopes of other databases may have come and gone.
        now = {key: each for key, each in _scopes.get().items() if key is not database}
        _scopes.set(now if before is None else {**now, database: before})
