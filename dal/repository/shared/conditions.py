"""What a read or a write may be limited and ordered by: SQL expressions, checked before sending."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute, RelationshipProperty
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import ExpressionClauseList, False_, True_

from dal.errors import InvalidArgument
from dal.repository.shared.identity import accepted_types

Order = ColumnElement[Any] | InstrumentedAttribute[Any]


def everything() -> ColumnElement[bool]:
    """Return the condition that every row fits: the named way to mean the whole table."""
    return sa.true()


def checked_conditions(
    where: Sequence[object], *, or_all: bool = False
) -> Sequence[ColumnElement[bool]]:
    """Return the conditions as they are.

    Raises:
        InvalidArgument: one is no SQL expression that is true or false, or compares a column of
            text with a number or one of numbers with text; or there is none and not `or_all`.
    """
    if not where and not or_all:
        raise InvalidArgument("name at least one condition, or everything()")
    for condition in where:
        if not isinstance(condition, ColumnElement) or not _may_be_true(condition):
            raise InvalidArgument(
                f"a condition is an expression such as User.email == email, not {condition!r}"
            )
        _check_comparisons(condition)
    return where  # type: ignore[return-value]


def _may_be_true(condition: ColumnElement[Any]) -> bool:
    # A server function has no type unless it is given one.
    return isinstance(condition.type, sa.Boolean | sa.types.NullType)


_COMPARING = {
    operators.eq,
    operators.ne,
    operators.lt,
    operators.le,
    operators.gt,
    operators.ge,
    operators.in_op,
    operators.not_in_op,
    operators.between_op,
    operators.not_between_op,
}
_TEXT = (str, bytes)
_NUMBER = (int, float, Decimal)


def _check_comparisons(condition: ColumnElement[Any]) -> None:
    """Raise where a column of text meets a number, or one of numbers a text.

    MySQL compares both as numbers then, and a text without one is 0: name = 0 finds most rows, by
    no index, and id = '1x' finds 1 (manual, "Type Conversion in Expression Evaluation").
    """
    for part in visitors.iterate(condition):
        if isinstance(part, sa.BinaryExpression) and part.operator in _COMPARING:
            for column, other in ((part.left, part.right), (part.right, part.left)):
                if isinstance(column, sa.Column):
                    _check_values(column, other)


def _check_values(column: sa.Column[Any], other: object) -> None:
    kind = accepted_types(column)[0]
    unfit = _NUMBER if issubclass(kind, _TEXT) else _TEXT if issubclass(kind, _NUMBER) else ()
    for value in _literals(other) if unfit else ():
        if isinstance(value, unfit):
            raise InvalidArgument(
                f"{column} is {kind.__name__}, not {value!r}: MySQL would compare both as numbers"
            )


def _literals(expression: object) -> Iterator[object]:
    if isinstance(expression, sa.BindParameter):
        if expression.expanding and isinstance(expression.value, list | tuple):
            yield from expression.value
        else:
            yield expression.value
    elif isinstance(expression, ExpressionClauseList):  # of BETWEEN
        for each in expression.clauses:
            yield from _literals(each)
    elif isinstance(expression, True_ | False_):
        yield isinstance(expression, True_)


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
