"""Classes that share a table: what is written by one of them stays of that class.

SQLAlchemy limits what it reads, updates and deletes by a class to the rows of it and its
subclasses, as the discriminator tells them. What is inserted or assigned it takes as it comes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from dal.errors import InvalidArgument


def shares_table(mapper: Mapper[Any]) -> bool:
    """Return whether rows of other classes than this one's lie in its table."""
    return mapper.inherits is not None and mapper.single


def discriminator_of(mapper: Mapper[Any]) -> sa.Column[Any] | None:
    """Return the column that tells the class of a row; None where there is none.

    Raises:
        InvalidArgument: an expression tells it, and so no value that is given.
    """
    told_by = mapper.polymorphic_on
    if isinstance(told_by, sa.Column) or told_by is None:
        return told_by
    if shares_table(mapper):
        raise InvalidArgument(
            f"an expression tells which rows are {mapper.class_.__name__}: add() instances"
        )
    return None


def is_of(mapper: Mapper[Any], column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a row is of this class or of a subclass."""
    return sa.or_(*(column == sa.literal(each, column.type) for each in _identities(mapper)))


def check_inserted(mapper: Mapper[Any], rows: Iterable[Mapping[str, Any]]) -> None:
    """Raise unless each row, by column key, is of this class or of a subclass.

    Raises:
        InvalidArgument: it names another class, or none.
    """
    column = discriminator_of(mapper)
    if column is None:
        return
    has_default = column.default is not None or column.server_default is not None
    for row in rows:
        if column.key in row:
            _check(mapper, column, row[column.key])
        elif shares_table(mapper) or not has_default:
            raise InvalidArgument(
                f"{mapper.class_.__name__} has no polymorphic_identity to insert: write rows by a "
                f"class that has, or name {column.key}"
            )


def check_instance(entity: object) -> None:
    """Raise unless an instance is of its own class by its discriminator, too.

    Raises:
        InvalidArgument: it is not.
    """
    state: Any = sa.inspect(entity)
    mapper: Mapper[Any] = state.mapper
    column = mapper.polymorphic_on
    for attribute in mapper.column_attrs if isinstance(column, sa.Column) else ():
        if attribute.columns[0] is column and attribute.key in state.dict:
            _check(mapper, column, state.dict[attribute.key])


def check_changes(mapper: Mapper[Any], changes: Mapping[str, Any]) -> None:
    """Raise where a change, by attribute name, makes the row one of another class.

    Raises:
        InvalidArgument: it does, or an expression may.
    """
    column = mapper.polymorphic_on
    if not isinstance(column, sa.Column):
        return
    for name, value in changes.items():
        if mapper.attrs[name].columns[0] is column:
            _check(mapper, column, value)


def _check(mapper: Mapper[Any], column: Any, value: object) -> None:
    known = _identities(mapper)
    if not any(_plain(value) == _plain(each) for each in known):
        raise InvalidArgument(
            f"{column.key} says the class of a row, for {mapper.class_.__name__} one of "
            f"{', '.join(map(repr, map(_plain, known))) or 'none'}; not the given "
            f"{type(value).__name__}"
        )


def _identities(mapper: Mapper[Any]) -> list[Any]:
    return [
        each.polymorphic_identity
        for each in mapper.self_and_descendants
        if each.polymorphic_identity is not None
    ]


def _plain(value: object) -> object:
    return value.name if isinstance(value, enum.Enum) else value
