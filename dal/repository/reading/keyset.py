"""Keyset order: a total order of a model's rows, and the condition for the rows beyond one of them.

The condition is written out, `a > x OR (a = x AND id > y)`: MySQL reads a range of the index for it
and the whole index for `(a, id) > (x, y)`. A bound in front, `a >= x AND (...)`, changes no plan:
the optimizer finds it by itself.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute, Mapper
from sqlalchemy.orm.exc import UnmappedColumnError
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import ColumnOperators

from dal.errors import InvalidArgument, InvalidCursor
from dal.model.checks import mysql_dialect, server_type, unfit
from dal.repository.shared.conditions import Order, checked_order
from dal.repository.shared.reach import reading

_SORTABLE = (
    sa.BINARY,
    sa.Boolean,
    sa.Date,
    sa.DateTime,
    sa.Double,
    sa.Integer,
    sa.Numeric,
    sa.String,
    sa.Uuid,
    sa.VARBINARY,
)
# Of TEXT the server sorts by the first max_sort_length bytes only; a SET has no order of its own.
_UNSORTABLE = {"TINYTEXT", "MEDIUMTEXT", "LONGTEXT", "SET"}
_COMPARISONS = ("__eq__", "__lt__", "__gt__")


class Term(NamedTuple):
    """One column of an order, and its direction."""

    attribute: InstrumentedAttribute[Any]
    column: ColumnElement[Any]
    nullable: bool
    descending: bool

    @property
    def server_type(self) -> Any:
        """The column's type as the server has it, without what decorates it in Python."""
        return server_type(self.column.type)

    @property
    def value_type(self) -> type[Any] | None:
        """What its values are in Python; None where the column's type decides that by itself."""
        if isinstance(self.column.type.dialect_impl(mysql_dialect()), sa.types.TypeDecorator):
            return None
        return self.column.type.python_type

    def takes(self, value: object) -> bool:
        """Return whether the column could hold this value."""
        if value is None:
            return self.nullable
        kind = self.server_type
        if isinstance(kind, sa.Enum) and value not in _members(kind):
            return False
        if self.value_type is not None:
            is_bounded = type(value) is not int or -(2**63) <= value < 2**64
            return type(value) is self.value_type and is_bounded
        try:
            sent = self.sent(value)
            return sent is not None and not isinstance(sent, unfit(kind))
        except Exception:  # noqa: BLE001  # a type of the user's; whatever it raises, it refuses
            return False

    @property
    def enum_class(self) -> type[enum.Enum] | None:
        """The class of its values, where the column is an Enum of one."""
        found: type[enum.Enum] | None = getattr(self.server_type, "enum_class", None)
        return found

    def sent(self, value: Any) -> Any:
        """Return what is sent for a value, such as a decorated type makes it."""
        convert = self.column.type.dialect_impl(mysql_dialect()).bind_processor(mysql_dialect())
        return value if convert is None else convert(value)

    def received(self, sent: Any) -> Any:
        """Return the value that is made of what the server sends."""
        kind = self.column.type.dialect_impl(mysql_dialect())
        convert = kind.result_processor(mysql_dialect(), None)
        return sent if convert is None else convert(sent)

    def equal(self, value: Any) -> ColumnElement[bool]:
        """Return the condition that the column has this value, or is NULL."""
        return self.column.is_(None) if value is None else self.column == self._bound(value)

    def beyond(self, value: Any, *, backward: bool, inclusive: bool) -> ColumnElement[bool] | None:
        """Return the condition that the column comes after this value; None where nothing can.

        NULL comes before every value, as the server sorts it.
        """
        down = self.descending is not backward
        if value is None:
            return None if down else self.column.is_not(None)
        if isinstance(self.server_type, sa.Enum) and self.server_type.native_enum:
            found = self._beyond_member(value, down=down, inclusive=inclusive)
        else:
            compare = (
                (operators.le if inclusive else operators.lt)
                if down
                else (operators.ge if inclusive else operators.gt)
            )
            found = compare(self.column, self._bound(value))
        return sa.or_(found, self.column.is_(None)) if down and self.nullable else found

    def _beyond_member(self, value: Any, *, down: bool, inclusive: bool) -> ColumnElement[bool]:
        # ENUM sorts by the place in its list, but < and > compare the text.
        members = _members(self.server_type)
        place = members.index(value)
        others = members[:place] if down else members[place + 1 :]
        return self.column.in_([value, *others] if inclusive else others)

    def _bound(self, value: Any) -> ColumnElement[Any]:
        is_aware = isinstance(value, datetime.datetime) and value.tzinfo is not None
        if is_aware and self.value_type is not None:
            raise InvalidCursor("this page token holds a time zone, and its column has none")
        return sa.literal(value, self.column.type)


class Keyset:
    """A total order of a model's rows: the columns asked for, then what is left of its key."""

    def __init__(self, model: type[Any], order_by: Order | Sequence[Order] = ()) -> None:
        """Take the order; of the model's key, what it lacks is appended in its last direction.

        An index on the columns asked for serves it, since InnoDB appends the key to each.

        Raises:
            InvalidArgument: something that is no column of the model, or has no order to go on in.
        """
        mapper: Mapper[Any] = sa.inspect(model)
        self._table = str(mapper.local_table)
        self.terms: list[Term] = []
        missing = list(mapper.primary_key)
        for element in checked_order(order_by, reading(model)):
            term = _term(mapper, element)
            if any(term.attribute is other.attribute for other in self.terms):
                raise InvalidArgument(f"order_by names {term.attribute} twice")
            if missing:  # behind the whole key no column changes the order
                self.terms.append(term)
            missing = [column for column in missing if column not in _columns(term)]
        descending = self.terms[-1].descending if self.terms else False
        for column in missing:
            attribute = getattr(mapper.class_, mapper.get_property_by_column(column).key)
            self.terms.append(_term(mapper, attribute.desc() if descending else attribute))

    def __str__(self) -> str:
        """Return what the order is, for an order of the same rows to be told from another."""
        terms = (f"{term.column} {'desc' if term.descending else 'asc'}" for term in self.terms)
        return f"{self._table}: {', '.join(terms)}"

    @property
    def attributes(self) -> list[InstrumentedAttribute[Any]]:
        """The attributes whose values are a row's position."""
        return [term.attribute for term in self.terms]

    def order(self, *, backward: bool = False) -> list[ColumnElement[Any]]:
        """Return what ORDER BY takes."""
        return [
            term.column.desc() if term.descending is not backward else term.column.asc()
            for term in self.terms
        ]

    def beyond(
        self, position: Sequence[Any], *, backward: bool = False, inclusive: bool = False
    ) -> ColumnElement[bool]:
        """Return the condition for the rows after this position, or, backward, before it.

        Args:
            position: The values of `attributes` in one row.
            backward: The rows before it.
            inclusive: And the row at the position itself.
        """
        ways: list[ColumnElement[bool]] = []
        same: list[ColumnElement[bool]] = []
        for term, value in zip(self.terms, position, strict=True):
            last = term is self.terms[-1]
            way = term.beyond(value, backward=backward, inclusive=inclusive and last)
            if way is not None:
                ways.append(sa.and_(*same, way))
            same.append(term.equal(value))
        return sa.or_(*ways)


def _term(mapper: Mapper[Any], element: Any) -> Term:
    descending = False
    if isinstance(element, UnaryExpression):
        if element.modifier not in {operators.asc_op, operators.desc_op}:
            raise InvalidArgument(
                f"a keyset order has .asc() and .desc() and nothing else, not {element}; NULL "
                "comes first ascending and last descending"
            )
        descending = element.modifier is operators.desc_op
        element = element.element
    if isinstance(element, InstrumentedAttribute):
        element = element.expression
    _check_comparator(element)
    try:
        attribute = getattr(mapper.class_, mapper.get_property_by_column(element).key)
    except (UnmappedColumnError, TypeError):
        raise InvalidArgument(
            f"a keyset order has columns of {mapper.class_.__name__}, not {element}"
        ) from None
    # Of a subclass or by another name, it is the attribute's own that the query selects.
    term = Term(attribute, attribute.expression, element.nullable, descending)
    kind = term.server_type
    # SQLAlchemy rounds a DOUBLE to 10 digits behind the point for a Decimal.
    exact = not isinstance(kind, sa.Numeric | sa.Float) or kind.asdecimal is isinstance(
        kind, sa.Numeric
    )
    sorted_in_part = isinstance(kind, sa.Text) or kind.__visit_name__ in _UNSORTABLE
    sortable = isinstance(kind, _SORTABLE) or kind.__visit_name__ == "REAL"  # a DOUBLE to MySQL
    if not sortable or sorted_in_part or not exact:
        raise InvalidArgument(
            f"{attribute} has no keyset order: {term.column.type!r} is not compared by the server "
            "as it is sorted, or not exactly"
        )
    return term


def _check_comparator(element: Any) -> None:
    # One that says lower(a) = lower(b) finds other rows beside a place than ORDER BY has there.
    comparator = type(getattr(element, "comparator", None))
    if issubclass(comparator, ColumnOperators) and any(
        getattr(comparator, name) is not getattr(ColumnOperators, name) for name in _COMPARISONS
    ):
        raise InvalidArgument(
            f"{element} has no keyset order: its type compares by a comparator_factory of its own, "
            "and the server sorts without it"
        )


def _columns(term: Term) -> Sequence[Any]:
    columns: Sequence[Any] = term.attribute.property.columns
    return columns


def _members(kind: sa.Enum) -> list[Any]:
    return list(kind.enum_class) if kind.enum_class is not None else list(kind.enums)
