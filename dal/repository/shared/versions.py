"""The version column of a mapped class: the first one, the next one, and the one that was read."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from dal.errors import InvalidArgument


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
    """Return the version that this entity was read with; None where it is not loaded."""
    name = version_name(mapper)
    return None if name is None or entity is None else sa.inspect(entity).dict.get(name)


def checked_expected(mapper: Mapper[Any], expected: object) -> Any:
    """Return the expected version.

    Raises:
        InvalidArgument: the model has no version, or it is of another type.
    """
    if expected is None:
        return None
    if mapper.version_id_col is None:
        raise InvalidArgument(f"{mapper.class_.__name__} has no version to expect")
    if isinstance(mapper.version_id_col.type, sa.Integer) and (
        isinstance(expected, bool) or not isinstance(expected, int)
    ):
        raise InvalidArgument(f"expected_version is int, not {expected!r}")
    return expected
