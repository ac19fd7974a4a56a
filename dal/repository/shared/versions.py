"""The version column of a mapped class: the first one, the next one, and the one that was read."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.exc import ObjectDeletedError

from dal.errors import InvalidArgument
from dal.repository.shared.identity import accepted_types, is_expression


def version_name(mapper: Mapper[Any]) -> str | None:
    """Return the name of the attribute that is the version (`version_id_col`); None without one."""
    if mapper.version_id_col is None:
        return None
    return mapper.get_property_by_column(mapper.version_id_col).key


def first_version(mapper: Mapper[Any]) -> dict[str, Any]:
    """Return the version of a new row by column key; nothing where there is none, or the server's.

    It is called once for all rows of a call.
    """
    if mapper.version_id_col is None or not mapper.version_id_generator:
        return {}
    return {str(mapper.version_id_col.key): mapper.version_id_generator(None)}


def next_version(mapper: Mapper[Any], expected: object = None) -> dict[str, Any]:
    """Return the change that moves the version on, by attribute name; nothing without a version.

    Raises:
        InvalidArgument: the model's own generator wants the version that is stored, which only
            `expected_version` tells.
    """
    name = version_name(mapper)
    if name is None or not mapper.version_id_generator:
        return {}
    if expected is not None:
        return {name: mapper.version_id_generator(expected)}
    if not isinstance(mapper.version_id_col.type, sa.Integer):  # type: ignore[union-attr]
        raise InvalidArgument(
            f"{mapper.class_.__name__} makes its versions by itself, from the stored one: "
            "write it with update() and expected_version"
        )
    return {name: getattr(mapper.class_, name) + 1}


def version_of(mapper: Mapper[Any], entity: object) -> Any | None:
    """Return the version that this entity was read with; None where there is no entity.

    One that the server made at a write of this transaction is loaded now: the row is locked since.
    """
    name = version_name(mapper)
    if name is None or entity is None:
        return None
    state = sa.inspect(entity)
    if name in state.expired_attributes:
        try:
            return getattr(entity, name)
        except ObjectDeletedError:
            return None
    return state.dict.get(name)


def has_version(mapper: Mapper[Any], expected: Any) -> ColumnElement[bool]:
    """Return the condition that a row has this version: the same text, not one of equal rank."""
    column = getattr(mapper.class_, version_name(mapper) or "")
    if not isinstance(expected, str):
        return column == expected  # type: ignore[no-any-return]
    from sqlalchemy.dialects import mysql  # noqa: PLC0415  # `import dal` does without

    stored = sa.cast(sa.cast(column, mysql.CHAR(charset="utf8mb4")), sa.BINARY)
    return sa.and_(
        column == expected, stored == sa.cast(sa.literal(expected, column.type), sa.BINARY)
    )


def checked_expected(mapper: Mapper[Any], expected: object) -> Any:
    """Return the expected version.

    Raises:
        InvalidArgument: the model has no version, or it is of another type.
    """
    if expected is None:
        return None
    if mapper.version_id_col is None:
        raise InvalidArgument(f"{mapper.class_.__name__} has no version to expect")
    kinds = accepted_types(mapper.version_id_col)
    if is_expression(expected) or isinstance(expected, bool) or not isinstance(expected, kinds):
        raise InvalidArgument(
            f"expected_version is {kinds[0].__name__}, not {type(expected).__name__}"
        )
    return expected
