"""What a read or a write may be limited and ordered by: SQL expressions, checked before sending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute, QueryableAttribute, RelationshipProperty
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import _textual_label_reference

from dal.errors import InvalidArgument
from dal.repository.shared.comparisons import check_comparisons, is_question
from dal.repository.shared.identity import is_expression
from dal.repository.shared.reach import Reach, within
from dal.repository.shared.wording import described

_NULLS = {operators.nulls_first_op, operators.nulls_last_op}

# What LIMIT takes, less what is added to it.
_TOO_MANY = 2**63

Order = ColumnElement[Any] | InstrumentedAttribute[Any]


def everything() -> ColumnElement[bool]:
    """Return the condition that every row fits: the named way to mean the whole table."""
    return sa.true()


def checked_conditions(
    where: Sequence[object], reach: Reach, *, or_all: bool = False
) -> Sequence[ColumnElement[bool]]:
    """Return the conditions as SQL expressions.

    Raises:
        InvalidArgument: one is no SQL expression that is true or false, names a table beyond
            `reach`, or compares a value with a column of another type; or there is none and not
            `or_all`.
    """
    if not where and not or_all:
        raise InvalidArgument("name at least one condition, or everything()")
    return [_condition(each, reach) for each in where]


def _condition(given: object, reach: Reach) -> ColumnElement[bool]:
    condition = as_expression(given)
    if condition is None or not is_question(condition):
        raise InvalidArgument(
            f"a condition is an expression such as User.email == email, not {described(given)}"
        )
    check_comparisons(condition)
    found: ColumnElement[bool] = within(reach, condition, what="a condition")
    return found


def checked_order(order_by: object, reach: Reach) -> Sequence[Order]:
    """Return the order as a sequence of columns and expressions.

    Raises:
        InvalidArgument: something in it is no column, such as its name as text, or names a table
            beyond `reach`.
    """
    order: Sequence[Any] = order_by if isinstance(order_by, list | tuple) else [order_by]
    return [_ordering(each, reach) for each in order]


def _ordering(given: Any, reach: Reach) -> Any:
    expression = as_expression(given)
    if expression is None or _is_text(expression):
        raise InvalidArgument(
            f"order_by takes columns such as User.name or User.name.desc(), not {described(given)}"
        )
    if getattr(expression, "modifier", None) in _NULLS:
        raise InvalidArgument(
            "order_by knows no NULLS FIRST or LAST in MySQL: put column.is_(None) before the column"
        )
    replaced = within(reach, expression, what="order_by")
    return given if replaced is expression else replaced


def checked_assignments(changes: Mapping[str, Any], reach: Reach) -> dict[str, Any]:
    """Return the changes of an UPDATE, of whose expressions each stays within `reach`.

    Raises:
        InvalidArgument: one names another table, meets a value of another type, or is none.
    """
    return {name: _assigned(name, value, reach) for name, value in changes.items()}


def _assigned(name: str, value: Any, reach: Reach) -> Any:
    if not is_expression(value) or isinstance(value, sa.SelectBase | sa.TextClause):
        return value
    expression = as_expression(value)
    if expression is None:
        raise InvalidArgument(f"{name} is a value or an expression, not {described(value)}")
    check_comparisons(expression)
    return within(reach, expression, what=f"the change of {name}")


def _is_text(expression: ColumnElement[Any]) -> bool:
    return isinstance(expression, sa.UnaryExpression) and any(
        isinstance(part, _textual_label_reference) for part in visitors.iterate(expression)
    )


def as_expression(given: object) -> ColumnElement[Any] | None:
    """Return the SQL of an expression or of a model's attribute; None where it is neither."""
    if isinstance(given, ColumnElement):
        return given
    if isinstance(given, type) or is_relationship(given):
        return None
    make = getattr(given, "__clause_element__", None)
    expression = make() if callable(make) else None
    return expression if isinstance(expression, ColumnElement) else None


def is_relationship(column: object) -> bool:
    """Return whether this attribute of a model leads to another model."""
    return isinstance(column, QueryableAttribute) and isinstance(
        getattr(column, "property", None), RelationshipProperty
    )


def checked_limit(limit: object, *, name: str = "limit") -> int:
    """Return the limit; `name` is the argument that it was given as.

    Raises:
        InvalidArgument: it is not a whole number from 1 up.
    """
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise InvalidArgument(f"{name} is a whole number from 1 up, not {described(limit)}")
    if not 1 <= limit < _TOO_MANY:
        raise InvalidArgument(f"{name} is a whole number from 1 up, and of 63 bits at the most")
    return limit
