"""How many keys have room in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from dal.database import Database
from dal.engine import Settings

_Key = TypeVar("_Key", bound=Sequence[Any])


def that_fit(
    keys: Sequence[_Key], source: object, *, most: int, share: int = 2
) -> Iterator[Sequence[_Key]]:
    """Yield the keys in parts that one statement may have: by `max_statement_bytes`, and `most`.

    As literals they take one part in `share` of it; the rest of the statement needs its place, too.
    """
    settings = source.settings if isinstance(source, Database) else Settings
    room = settings.max_statement_bytes // share
    some: list[_Key] = []
    used = 0
    for key in keys:
        size = sum(map(_size, key))
        if some and (len(some) == most or used + size > room):
            yield some
            some, used = [], 0
        some.append(key)
        used += size
    if some:
        yield some


def _size(value: object) -> int:
    """Return how many bytes the value has as a literal, at most."""
    if isinstance(value, str):
        return 2 * len(value.encode()) + 6
    if isinstance(value, bytes):
        return 2 * len(value) + 12
    return len(str(value)) + 16
