"""The entities of a result: one for each row, or an error where the session can hold only one.

A session holds one entity for each primary key, as the model maps it. Where that is not unique in
the data, or NULL, as of a view, several rows become one entity, and rows would be missing without
a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Result
from sqlalchemy.sql.base import ExecutableOption

from dal.errors import InvalidArgument, UsageError


def checked_options(options: object) -> Sequence[ExecutableOption]:
    """Return the loader options.

    Raises:
        InvalidArgument: they are no list, or something in it is no option.
    """
    if not isinstance(options, list | tuple) or not all(
        isinstance(option, ExecutableOption) for option in options
    ):
        raise InvalidArgument(
            "options are a list of SQLAlchemy's, such as [selectinload(User.posts)]"
        )
    return options


def entities(result: Result[Any], model: type[Any]) -> list[Any]:
    """Return the entities of a result that selects nothing else.

    Raises:
        UsageError: two rows have the same key, or one has none.
    """
    if _repeats(result):
        return list(result.unique().scalars())
    found = list(result.scalars())
    _check(found, model)
    return found


def rows_with_entities(result: Result[Any], model: type[Any]) -> list[Any]:
    """Return the rows of a result that selects an entity first, and columns.

    Raises:
        UsageError: as `entities`.
    """
    if _repeats(result):
        return list(result.unique().all())
    found = list(result.all())
    _check([row[0] for row in found], model)
    return found


def _repeats(result: Result[Any]) -> bool:
    # Joined eager loading of collections repeats the entity, and SQLAlchemy asks for unique().
    return bool(result._unique_filter_state)  # noqa: SLF001


def _check(found: list[Any], model: type[Any]) -> None:
    different = set(map(id, found))
    if len(different) == len(found) and id(None) not in different:
        return
    names = ", ".join(column.name for column in sa.inspect(model).primary_key)
    raise UsageError(
        f"the primary key that {model.__name__} maps ({names}) is NULL or not unique in these "
        "rows, and a session holds one entity for each key: map a key that is, or read the columns "
        "with rows()"
    )
