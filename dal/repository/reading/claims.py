"""Claiming rows of a table that is used as a queue by many functions at once."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from dal.repository.reading.loading import entities
from dal.repository.reading.locks import locked
from dal.repository.shared.conditions import Order, checked_conditions, checked_limit, checked_order
from dal.repository.shared.identity import key_names
from dal.repository.shared.reach import reading
from dal.repository.shared.source import Row, Source


class Claims(Source[Row]):
    """The verb that takes rows for oneself."""

    def claim(
        self,
        *where: ColumnElement[bool],
        limit: int,
        order_by: Order | Sequence[Order] = (),
    ) -> list[Row]:
        """Lock rows that fit and that nobody else has locked, and return them, perhaps none.

            for job in jobs.claim(Job.state == "new", limit=10):
                job.state = "done"

        One SELECT with FOR UPDATE SKIP LOCKED. The rows are this scope's until it ends. The claim
        itself writes nothing: change or delete the rows in the same scope, so that they no longer
        fit. A scope that is rolled back leaves them for others to claim.

        Give the table an index that begins with the columns of the conditions and goes on with
        those of the order, such as (state) for the one above: InnoDB appends the primary key. A
        SELECT that has to sort locks all rows that fit, not `limit` of them, and others find none.

        Args:
            where: Conditions that a row no longer fits when its work is done.
            limit: The most rows to take.
            order_by: Which come first; by default those with the lowest key.

        Raises:
            ReadOnlyScope: the scope is read-only and so has no locks.
            InvalidArgument: no limit from 1 up, or something that is no condition or column.
        """
        conditions = checked_conditions(where, reading(self.model), or_all=True)
        order = checked_order(order_by, reading(self.model)) or [
            getattr(self.model, key) for key in key_names(self.model)
        ]
        query = sa.select(self.model).where(*conditions).order_by(*order)
        query = locked(query.limit(checked_limit(limit)), "update skip locked")
        return entities(self.session.execute(query), self.model)
