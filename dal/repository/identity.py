"""The primary key of a mapped class: its attributes, and the condition that finds one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Mapper

from dal.errors import InvalidArgument


def column_names(model: type[Any]) -> list[str]:
    """Return the names of the attributes that stand for columns."""
    return [attribute.key for attribute in _mapper(model).column_attrs]


def key_names(model: type[Any]) -> list[str]:
    """Return the names of the attributes that are the primary key, in its order."""
    mapper = _mapper(model)
    return [mapper.get_property_by_column(column).key for column in mapper.primary_key]


def identity_values(model: type[Any], identity: object) -> tuple[Any, ...]:
    """Return the values of this key, in its order.

    Args:
        model: The mapped class.
        identity: The value; a tuple in the key's order or a dictionary for several columns.

    Raises:
        InvalidArgument: None, too few or too many values, or one of another type than its column.
    """
    names = key_names(model)
    if isinstance(identity, Mapping):
        if set(identity) != set(names):
            raise InvalidArgument(f"the key of {model.__name__} is {names}, not {list(identity)}")
        values: Sequence[Any] = [identity[name] for name in names]
    elif isinstance(identity, tuple | list):
        values = identity
    else:
        values = [identity]
    if len(values) != len(names):
        raise InvalidArgument(
            f"the key of {model.__name__} has {len(names)} columns ({', '.join(names)}), "
            f"not {len(values)}"
        )
    columns = _mapper(model).primary_key
    return tuple(
        _checked(value, column, name)
        for column, value, name in zip(columns, values, names, strict=True)
    )


def identity_condition(model: type[Any], identity: object) -> ColumnElement[bool]:
    """Return the condition that only the row with this key fits.

    Raises:
        InvalidArgument: as `identity_values`.
    """
    values = identity_values(model, identity)
    names = key_names(model)
    return sa.and_(
        *(getattr(model, name) == value for name, value in zip(names, values, strict=True))
    )


def expected_type(column: Any) -> type[Any]:
    """Return the Python type of a column's values; `object` where its type does not say."""
    if isinstance(column.type, sa.TypeDecorator):  # it says what the type below it takes
        return object
    try:
        expected: type[Any] = column.type.python_type
    except NotImplementedError:
        return object
    return expected


def _checked(value: Any, column: Any, name: str) -> Any:
    # MySQL compares text and numbers as floats: id = '1x' finds 1, and name = 0 finds most rows.
    expected = expected_type(column)
    kind = expected if expected in {int, str} else object
    if value is None or isinstance(value, bool | sa.ClauseElement) or not isinstance(value, kind):
        wanted = kind.__name__ if kind is not object else "a value"
        raise InvalidArgument(f"{name} is {wanted}, not {value!r}")
    return value


def _mapper(model: type[Any]) -> Mapper[Any]:
    mapper: Mapper[Any] = sa.inspect(model)
    return mapper
