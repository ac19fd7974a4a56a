"""What a read or a write may be limited and ordered by: SQL expressions, checked before sending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute, RelationshipProperty

from dal.errors import InvalidArgument

Order = ColumnElement[Any] | InstrumentedAttribute[Any]


def everything() -> ColumnElement[bool]:
    """Return the condition that every row fits: the named way to mean the whole table."""
    return sa.true()


def checked_conditions(
    where: Sequence[object], *, or_all: bool = False
) -> Sequence[ColumnElement[bool]]:
    """Return the conditions as they are.

    Raises:
        InvalidArgument: one is no SQL expression that is true or false, or there is none and not
            `or_all`.
    """
    if not where and not or_all:
        raise InvalidArgument("name at least one condition, or everything()")
    for condition in where:
        if not isinstance(condition, ColumnElement) or not _may_be_true(condition):
            raise InvalidArgument(
                f"a condition is an expression such as User.email == email, not {condition!r}"
            )
    return where  # type: ignore[return-value]


def _may_be_true(condition: ColumnElement[Any]) -> bool:
    # A server function has no type unless it is given one.
    return isinstance(condition.type, sa.Boolean | sa.types.NullType)


def checked_order(order_by: object) -> Sequence[Order]:
    """Return the order as a sequence of columns.

    Raises:
        InvalidArgument: something in it is no column, such as its name as text.
    """
    order: Sequence[Any] = order_by if isinstance(order_by, list | tuple) else [order_by]
    for column in order:
        if not isinstance(column, ColumnElement | InstrumentedAttribute) or is_relationship(column):
            raise InvalidArgument(
                f"order_by takes columns such as User.name or User.name.desc(), not {column!r}"
            )
    return order


def is_relationship(column: object) -> bool:
    """Return whether this attribute of a model leads to another model."""
    return isinstance(column, InstrumentedAttribute) and isinstance(
        column.property, RelationshipProperty
    )


def checked_limit(limit: object, *, name: str = "limit") -> int:
    """Return the limit; `name` is the argument that it was given as.

    Raises:
        InvalidArgument: it is not a whole number from 1 up.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidArgument(f"{name} is a whole number from 1 up, not {limit!r}")
    return limit
