"""Reading columns instead of entities: plain dictionaries, ready for an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Label
from sqlalchemy.orm import InstrumentedAttribute, Mapper, QueryableAttribute

from dal.errors import InvalidArgument
from dal.repository.shared.conditions import (
    Order,
    as_expression,
    checked_conditions,
    checked_limit,
    checked_order,
)
from dal.repository.shared.reach import reading, within
from dal.repository.shared.source import Row, Source
from dal.repository.shared.wording import described


class Projection(Source[Row]):
    """The verb that reads columns."""

    def rows(
        self,
        *columns: InstrumentedAttribute[Any] | ColumnElement[Any],
        where: ColumnElement[bool] | Sequence[ColumnElement[bool]] = (),
        order_by: Order | Sequence[Order] = (),
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return these columns of the rows that fit, as dictionaries, perhaps none. One SELECT.

            users.rows(User.id, User.name, where=User.active.is_(True))
            users.rows(sa.func.count().label("number"), where=everything())

        No entity is made, so nothing is tracked and nothing can be loaded later.

        Args:
            columns: Attributes of the model, which name their keys, and expressions with a label.
            where: A condition or several; `everything()` for all rows of the table.
            order_by: Columns, or `column.desc()`; without it the order is the server's choice.
            limit: The most rows to return.

        Raises:
            InvalidArgument: no column, two of one name, an expression without a label, an entity,
                a column of another model; neither a condition nor a limit, or something that is
                none.
        """
        reach = reading(self.model)
        names = self._checked_names(columns)
        read = [within(reach, as_expression(column), what="a column") for column in columns]
        given = where if isinstance(where, list | tuple) else [where]
        conditions = checked_conditions(given, reach, or_all=limit is not None)
        query = sa.select(*read).select_from(self.model)
        query = query.where(*conditions).order_by(*checked_order(order_by, reach))
        if limit is not None:
            query = query.limit(checked_limit(limit))
        return [dict(zip(names, row, strict=True)) for row in self.session.execute(query)]

    def _checked_names(self, columns: Sequence[object]) -> list[str]:
        if not columns:
            raise InvalidArgument("rows() wants columns such as User.id, User.name")
        names = [self._checked_name(column) for column in columns]
        for name in names:
            if names.count(name) > 1:
                raise InvalidArgument(f"two columns are named {name!r}; give one a .label()")
        return names

    def _checked_name(self, column: object) -> str:
        mapper: Mapper[Any] = sa.inspect(self.model)
        if isinstance(column, Label):
            return column.name
        if isinstance(column, QueryableAttribute) and as_expression(column) is not None:
            if not column.parent.is_mapper or not mapper.isa(column.parent.mapper):
                raise InvalidArgument(f"{column} is no column of {self.model.__name__}")
            return column.key
        if isinstance(column, sa.Column):
            if column.table not in reading(self.model):
                raise InvalidArgument(f"{column} is no column of {self.model.__name__}")
            return column.key
        if isinstance(column, ColumnElement):
            raise InvalidArgument(f"give {described(column)} a name with .label()")
        raise InvalidArgument(
            "rows() takes columns such as User.name, not "
            f"{described(column)}; entities come from find()"
        )
