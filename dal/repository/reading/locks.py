"""Locking reads: which row locks a SELECT takes, and what it does where another holds them."""

from __future__ import annotations

from typing import Any, Literal, get_args

from sqlalchemy import Select

from dal.errors import InvalidArgument

Lock = Literal[
    "update",
    "update nowait",
    "update skip locked",
    "share",
    "share nowait",
    "share skip locked",
]
"""The words after FOR in MySQL's own clause.

"update" keeps other writers and other locking reads out of the rows until the scope ends, "share"
only the writers. Met by a lock of another, they wait for `lock_wait_timeout`; "nowait" raises
`LockNotAvailable` at once, "skip locked" leaves those rows out.
"""


def locked(query: Select[Any], lock: Lock | None) -> Select[Any]:
    """Return the query with this lock.

    It refreshes what the session holds already, outside a scope too: who locks a row goes on to
    write from what it reads.

    Raises:
        InvalidArgument: there is no such lock.
    """
    if lock is None:
        return query
    if lock not in get_args(Lock):
        raise InvalidArgument(
            f"lock is one of {', '.join(get_args(Lock))}; not the given {type(lock).__name__}"
        )
    strength, _, otherwise = lock.partition(" ")
    query = query.with_for_update(
        read=strength == "share",
        nowait=otherwise == "nowait",
        skip_locked=otherwise == "skip locked",
    )
    return query.execution_options(populate_existing=True)
