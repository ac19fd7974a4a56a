"""The unique keys of a table, as its model tells them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Mapper

from dal.errors import InvalidArgument
from dal.repository.shared.values import columns_of, table_of
from dal.repository.shared.wording import described, shown_name


class UniqueKey(NamedTuple):
    """Columns that together are unique; `is_plain` is false for a key on expressions."""

    name: str
    columns: frozenset[sa.Column[Any]]
    is_plain: bool = True


def unique_keys(table: sa.Table) -> Iterator[UniqueKey]:
    """Yield the primary key, the unique constraints and the unique indexes."""
    yield UniqueKey("PRIMARY", frozenset(table.primary_key.columns))
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            yield UniqueKey(str(constraint.name), frozenset(constraint.columns))
    for index in table.indexes:
        if index.unique:
            is_plain = all(isinstance(part, sa.Column) for part in index.expressions)
            yield UniqueKey(str(index.name), frozenset(index.columns), is_plain)


def checked_key(mapper: Mapper[Any], names: Iterable[str]) -> frozenset[sa.Column[Any]]:
    """Return the columns of these attributes, which are a unique key.

    Raises:
        InvalidArgument: an unknown attribute, or together they are not unique.
    """
    known = columns_of(mapper)
    columns = set()
    for name in names:
        if name not in known:
            raise InvalidArgument(
                f"{mapper.class_.__name__} has no column attribute {shown_name(name)!r}; it has "
                f"{', '.join(known)}"
            )
        columns.add(known[name])
    keys = list(unique_keys(table_of(mapper)))
    if not any(key.is_plain and key.columns == columns for key in keys):
        told = "; ".join(
            f"{key.name} ({', '.join(sorted(column.name for column in key.columns))})"
            for key in keys
        )
        raise InvalidArgument(
            f"{', '.join(sorted(column.name for column in columns)) or 'nothing'} is no unique key "
            f"of {mapper.class_.__name__}; there are {told}"
        )
    return frozenset(columns)


def attribute_names(mapper: Mapper[Any], attributes: object) -> list[str]:
    """Return the names of attributes such as `User.email`: one, or a sequence of them.

    Raises:
        InvalidArgument: something in it is no attribute of this model.
    """
    given: Sequence[Any] = attributes if isinstance(attributes, list | tuple) else [attributes]
    names = []
    for attribute in given:
        is_mine = isinstance(attribute, InstrumentedAttribute) and issubclass(
            mapper.class_, attribute.parent.class_
        )
        if not is_mine:
            raise InvalidArgument(
                f"columns are named as {mapper.class_.__name__}.name, not {described(attribute)}"
            )
        names.append(attribute.key)
    return names
