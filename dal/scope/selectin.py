"""`selectinload` joins rows in Python: what it would lose for a key's spelling is an error.

Of a child that refers to 'ada' and a parent 'Ada' the server says that they belong together, and so
do `joinedload` and a lazy load. `selectinload` looks the one up by the other in a dictionary: the
child is missing in the collection, the parent is None.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from sqlalchemy.engine import ChunkedIteratorResult
from sqlalchemy.orm import ORMExecuteState

from dal.errors import InvalidArgument

# SQLAlchemy's name of the parameter.
_KEYS = "primary_keys"
_AGAIN = "dal_selectin_again"
# Values that are equal to the server exactly where they are equal in Python.
_EXACT = frozenset({int, bytes, uuid.UUID, Decimal})


def lose_no_row(state: ORMExecuteState, result: ChunkedIteratorResult[Any]) -> None:
    """Let the result raise `InvalidArgument` where `selectinload` would lose one of its rows."""
    if not state.is_relationship_load or not isinstance(state.parameters, dict):
        return
    given = state.parameters.get(_KEYS) or ()
    keys = [key if isinstance(key, tuple) else (key,) for key in given]
    if all(type(value) in _EXACT for key in keys for value in key):
        return
    result.iterator = _checked(state, result.iterator, keys)


def _checked(state: ORMExecuteState, rows: Iterator[Any], keys: list[Any]) -> Iterator[Any]:
    missing, size = set(keys), len(keys[0])
    known = frozenset(keys)
    prop: Any = state.loader_strategy_path[-1]  # type: ignore[index]
    for row in rows:
        key = tuple(row[:size])
        if key not in known:
            raise InvalidArgument(
                f"{prop} joins rows whose keys are equal to the server and spelled in different "
                "ways, and selectinload() would lose them: use joinedload()"
            )
        missing.discard(key)
        yield row
    # A parent comes once, by its own spelling; that of another child may find it, too.
    if missing and prop._use_get and not state.execution_options.get(_AGAIN):  # noqa: SLF001
        again = [key[0] if size == 1 else key for key in missing]
        options = {**state.execution_options, _AGAIN: True}
        state.session.execute(state.statement, {_KEYS: again}, execution_options=options).all()
