"""What a statement on a model may read from: the model's own tables, and nothing beside them.

SQLAlchemy adds every table that an expression names to the statement, and without a join each row
meets each: `DELETE FROM lines USING lines, customers WHERE customers.email = ...` leaves no line.
A subquery keeps its tables to itself.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import visitors

from dal.errors import InvalidArgument

Reach = frozenset[Any]


def reading(model: type[Any]) -> Reach:
    """Return what a SELECT of this model reads from; tables of subclasses where it joins them."""
    return _read(sa.inspect(model))


@functools.lru_cache(maxsize=256)
def _read(mapper: Mapper[Any]) -> Reach:
    read = [mapper.local_table, mapper.selectable, mapper._with_polymorphic_selectable]  # noqa: SLF001
    return frozenset(part for each in read for part in each._from_objects)  # noqa: SLF001


def writing(model: type[Any]) -> Reach:
    """Return what an UPDATE or a DELETE of this model writes to: its table."""
    return _written(sa.inspect(model))


@functools.lru_cache(maxsize=256)
def _written(mapper: Mapper[Any]) -> Reach:
    return frozenset(mapper.local_table._from_objects)  # noqa: SLF001


def within(reach: Reach, expression: Any, *, what: str) -> Any:
    """Return the expression, which names no other table than these outside of its subqueries.

    The one expression of SQLAlchemy's relationships that joins, `contains()` across a secondary
    table, comes back as the EXISTS that means the same.

    Args:
        reach: The tables.
        expression: Of SQLAlchemy.
        what: How the message calls it.

    Raises:
        InvalidArgument: it names another.
    """
    if reach.issuperset(expression._from_objects):  # noqa: SLF001
        return expression
    expression = visitors.replacement_traverse(expression, {}, _as_exists)
    others = set(expression._from_objects) - reach  # noqa: SLF001
    if others:
        raise InvalidArgument(
            f"{what} also reads from {_names(others)}, each row of which would meet each row of "
            "the model: ask by a subquery, such as Line.customer.has(Customer.email == email), "
            "Line.customer_id.in_(select(Customer.id).where(...)) or exists()"
        )
    return expression


def _as_exists(element: Any, **_: Any) -> Any:
    # SQLAlchemy keeps the NOT EXISTS for where contains() is negated.
    negation = element.__dict__.get("negation_clause")
    return None if negation is None else sa.not_(negation)


def _names(tables: Iterable[Any]) -> str:
    return ", ".join(
        sorted(
            table.name if isinstance(table, sa.Table) else "an alias or a subquery"
            for table in tables
        )
    )
