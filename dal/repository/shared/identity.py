"""The primary key of a mapped class: its attributes, and the condition that finds one row."""

from __future__ import annotations

import datetime
import functools
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import Mapper

from dal.errors import InvalidArgument
from dal.model.checks import decorated, server_type

_ACCEPTED: dict[type[Any], tuple[type[Any], ...]] = {
    int: (int,),
    str: (str,),
    bytes: (bytes,),
    float: (float, int, Decimal),
    Decimal: (Decimal, int),
    datetime.date: (datetime.date,),
    datetime.datetime: (datetime.datetime,),
    datetime.time: (datetime.time, datetime.timedelta),
    datetime.timedelta: (datetime.timedelta,),
    uuid.UUID: (uuid.UUID,),
}


def column_names(model: type[Any]) -> list[str]:
    """Return the names of the attributes that stand for columns."""
    return [attribute.key for attribute in _mapper(model).column_attrs]


def key_names(model: type[Any]) -> list[str]:
    """Return the names of the attributes that are the primary key, in its order."""
    return list(_key_of(_mapper(model)))


@functools.lru_cache(maxsize=256)
def _key_of(mapper: Mapper[Any]) -> dict[str, tuple[type[Any], ...]]:
    """Return the attributes of the key, in its order, and the types of their values."""
    return {
        mapper.get_property_by_column(column).key: accepted_types(column)
        for column in mapper.primary_key
    }


# Values that are equal to the server exactly where they are equal in Python. Text is not:
# collations ignore case, accents, spaces at the end; and a float may be spelled as a Decimal.
_EXACT: tuple[tuple[type[Any], frozenset[type[Any]]], ...] = (
    (sa.Integer, frozenset({int})),
    (sa.Float, frozenset()),
    (sa.Numeric, frozenset({int, Decimal})),
    (sa.types._Binary, frozenset({bytes})),  # noqa: SLF001
)


@functools.lru_cache(maxsize=256)
def _exact_types(mapper: Mapper[Any]) -> tuple[frozenset[type[Any]], ...]:
    return tuple(_exact_types_of(column.type) for column in mapper.primary_key)


def _exact_types_of(kind: Any) -> frozenset[type[Any]]:
    bare = server_type(kind)
    types = next((types for base, types in _EXACT if isinstance(bare, base)), frozenset())
    return types | {uuid.UUID}


def is_exact(model: type[Any], values: Sequence[Any]) -> bool:
    """Return whether the server finds a key by these values only where Python calls them equal."""
    exact = _exact_types(_mapper(model))
    return all(type(value) in types for value, types in zip(values, exact, strict=True))


def identity_values(model: type[Any], identity: object) -> tuple[Any, ...]:
    """Return the values of this key, in its order.

    Args:
        model: The mapped class.
        identity: The value; a tuple in the key's order or a dictionary for several columns.

    Raises:
        InvalidArgument: None, too few or too many values, or one of another type than its column.
    """
    key = _key_of(_mapper(model))
    if isinstance(identity, Mapping):
        if set(identity) != set(key):
            raise InvalidArgument(
                f"the key of {model.__name__} is {list(key)}, not the {len(identity)} names given"
            )
        values: Sequence[Any] = [identity[name] for name in key]
    elif isinstance(identity, tuple | list):
        values = identity
    else:
        values = [identity]
    if len(values) != len(key):
        raise InvalidArgument(
            f"the key of {model.__name__} has {len(key)} columns ({', '.join(key)}), "
            f"not {len(values)}"
        )
    return tuple(
        _checked(value, kinds, name)
        for (name, kinds), value in zip(key.items(), values, strict=True)
    )


def select_by_key(model: type[Any]) -> tuple[Select[Any], list[str]]:
    """Return the SELECT of the row with a key, and the names of its parameters in the key's order.

    Building a statement costs more than sending it: this one serves for every key.
    """
    parameters = [f"dal_key_{place}" for place, _ in enumerate(key_names(model))]
    return sa.select(model).where(
        *(
            getattr(model, name) == sa.bindparam(parameter)
            for name, parameter in zip(key_names(model), parameters, strict=True)
        )
    ), parameters


def identity_condition(model: type[Any], identity: object) -> ColumnElement[bool]:
    """Return the condition that only the row with this key fits.

    Raises:
        InvalidArgument: as `identity_values`.
    """
    return key_condition(model, identity_values(model, identity))


def key_condition(model: type[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition that only the row with these values of the key fits."""
    names = key_names(model)
    return sa.and_(
        *(getattr(model, name) == value for name, value in zip(names, values, strict=True))
    )


def keys_condition(model: type[Any], keys: Sequence[Sequence[Any]]) -> ColumnElement[bool]:
    """Return the condition that only the rows with these keys fit; each key is a sequence."""
    columns = [getattr(model, name) for name in key_names(model)]
    if len(columns) == 1:
        in_one: ColumnElement[bool] = columns[0].in_([key[0] for key in keys])
        return in_one
    return sa.tuple_(*columns).in_([tuple(key) for key in keys])


def accepted_types(column: Any) -> tuple[type[Any], ...]:
    """Return the Python types of a column's values; `object` where its type does not say.

    MySQL compares and converts across types: id = '1x' finds 1, and name = 0 finds most rows.
    """
    makers, kind = decorated(column.type)
    # What a decorator makes of it is checked when the statement is made; Enum checks by itself.
    if makers or isinstance(kind, sa.Enum):
        return (object,)
    if kind.__visit_name__ == "SET":  # a String that takes sets, and is compared with bits
        return (object,)
    if kind.__visit_name__ in {"BIT", "YEAR"}:
        return (int,)
    try:
        expected = kind.python_type
    except NotImplementedError:
        return (object,)
    return _ACCEPTED.get(expected, (object,))


def is_expression(value: object) -> bool:
    """Return whether the value is SQL, such as `Account.balance + 1`."""
    return isinstance(value, sa.ClauseElement) or hasattr(value, "__clause_element__")


def _checked(value: Any, kinds: tuple[type[Any], ...], name: str) -> Any:
    is_one = isinstance(value, kinds) and not isinstance(value, bool)
    if value is None or is_expression(value) or not is_one:
        wanted = "a value" if kinds == (object,) else kinds[0].__name__
        raise InvalidArgument(f"{name} is {wanted}, not {type(value).__name__}")
    return value


def mapper_of_one_table(model: type[Any]) -> Mapper[Any]:
    """Return the mapper of a model whose rows one statement can write.

    Raises:
        InvalidArgument: joined inheritance spreads each row over several tables, and one UPDATE or
            DELETE would leave half of it.
    """
    mapper = _mapper(model)
    if len(mapper.tables) > 1:
        raise InvalidArgument(
            f"rows of {model.__name__} lie in several tables: load the entity and change it, or "
            "session.delete() it"
        )
    return mapper


def _mapper(model: type[Any]) -> Mapper[Any]:
    mapper: Mapper[Any] = sa.inspect(model)
    return mapper
