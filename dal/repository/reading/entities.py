"""Reading rows: by key, by conditions, one or many."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm.interfaces import ORMOption

from dal.errors import InvalidArgument, MultipleFound, NotFound
from dal.repository.reading.loading import checked_options, entities
from dal.repository.reading.locks import Lock, locked
from dal.repository.shared.conditions import Order, checked_conditions, checked_limit, checked_order
from dal.repository.shared.identity import identity_values, select_by_key
from dal.repository.shared.reach import reading
from dal.repository.shared.source import Row, Source


class Reading(Source[Row]):
    """The verbs that read entities.

    Those with `lock=` take row locks and keep them until the scope ends. What a lock adds to their
    errors: `ReadOnlyScope` in a read-only scope, `LockWaitTimeout` after `lock_wait_timeout`,
    `LockNotAvailable` with "nowait", which is raised at once. Rows that SQLAlchemy loads by
    statements of their own, such as with `selectinload`, are not locked.
    """

    def get(
        self, identity: Any, *, options: Sequence[ORMOption] = (), lock: Lock | None = None
    ) -> Row | None:
        """Return the row with this primary key, or None. One SELECT.

        Args:
            identity: The key; a tuple or a dictionary where it has several columns.
            options: SQLAlchemy's loader options.
            lock: Such as "update"; with "update skip locked" a locked row is None.

        Raises:
            InvalidArgument: None, or not as many values as the key has columns; no such lock.
            what a lock raises.
        """
        query, parameters = self._one_by_key
        values = identity_values(self.model, identity)
        if options != ():
            query = query.options(*checked_options(options))
        rows = self._fetched(locked(query, lock), dict(zip(parameters, values, strict=True)))
        return rows[0] if rows else None

    @functools.cached_property
    def _one_by_key(self) -> tuple[Select[Any], list[str]]:
        return select_by_key(self.model)

    def get_one(
        self, identity: Any, *, options: Sequence[ORMOption] = (), lock: Lock | None = None
    ) -> Row:
        """Return the row with this primary key. One SELECT.

        Raises:
            NotFound: there is none; with "skip locked", none that is free.
            InvalidArgument and what a lock raises: as `get`.
        """
        row = self.get(identity, options=options, lock=lock)
        if row is None:
            raise NotFound(f"no {self.model.__name__} has the key {identity!r}", keys=[identity])
        return row

    def one(
        self,
        *where: ColumnElement[bool],
        options: Sequence[ORMOption] = (),
        lock: Lock | None = None,
    ) -> Row:
        """Return the only row that fits all conditions. One SELECT, of two rows at most.

        Raises:
            NotFound: none fits; with "skip locked", none that is free.
            MultipleFound: more than one fits.
            InvalidArgument: no condition, or something that is none; no such lock.
            what a lock raises.
        """
        row = self.one_or_none(*where, options=options, lock=lock)
        if row is None:
            raise NotFound(f"no {self.model.__name__} fits")
        return row

    def one_or_none(
        self,
        *where: ColumnElement[bool],
        options: Sequence[ORMOption] = (),
        lock: Lock | None = None,
    ) -> Row | None:
        """Return the only row that fits all conditions, or None. One SELECT, of two rows at most.

        Raises:
            MultipleFound: more than one fits.
            InvalidArgument: no condition, or something that is none; no such lock.
            what a lock raises.
        """
        conditions = checked_conditions(where, reading(self.model))
        rows = self._rows(conditions, options=options, lock=lock, limit=2)
        if len(rows) > 1:
            raise MultipleFound(f"more than one {self.model.__name__} fits")
        return rows[0] if rows else None

    def first(
        self,
        *where: ColumnElement[bool],
        order_by: Order | Sequence[Order],
        options: Sequence[ORMOption] = (),
        lock: Lock | None = None,
    ) -> Row | None:
        """Return the first row in this order that fits all conditions, or None. One SELECT.

        Raises:
            InvalidArgument: no order, or something that is no condition; no such lock.
            what a lock raises.
        """
        order = checked_order(order_by, reading(self.model))
        if not order:
            raise InvalidArgument("first() wants an order_by: without one any row may be the first")
        conditions = checked_conditions(where, reading(self.model), or_all=True)
        rows = self._rows(conditions, order_by=order, options=options, lock=lock, limit=1)
        return rows[0] if rows else None

    def find(
        self,
        *where: ColumnElement[bool],
        order_by: Order | Sequence[Order] = (),
        limit: int | None = None,
        options: Sequence[ORMOption] = (),
        lock: Lock | None = None,
    ) -> list[Row]:
        """Return the rows that fit all conditions, perhaps none. One SELECT.

        Args:
            where: Conditions; `everything()` for all rows of the table.
            order_by: Columns, or `column.desc()`; without it the order is the server's choice.
            limit: The most rows to return.
            options: SQLAlchemy's loader options.
            lock: Such as "update"; every row that is returned is locked.

        Raises:
            InvalidArgument: neither a condition nor a limit, or something that is none; no such
                lock.
            what a lock raises.
        """
        conditions = checked_conditions(where, reading(self.model), or_all=limit is not None)
        return self._rows(
            conditions,
            order_by=checked_order(order_by, reading(self.model)),
            limit=None if limit is None else checked_limit(limit),
            options=options,
            lock=lock,
        )

    def exists(self, *where: ColumnElement[bool]) -> bool:
        """Return whether a row fits all conditions. One SELECT, which stops at the first.

        Raises:
            InvalidArgument: something that is no condition.
        """
        conditions = checked_conditions(where, reading(self.model), or_all=True)
        query = sa.select(sa.literal(1)).select_from(self.model).where(*conditions).limit(1)
        return self.session.execute(query).first() is not None

    def count(self, *where: ColumnElement[bool]) -> int:
        """Return how many rows fit all conditions. One SELECT, which reads every one of them.

        Raises:
            InvalidArgument: something that is no condition.
        """
        conditions = checked_conditions(where, reading(self.model), or_all=True)
        query = sa.select(sa.func.count()).select_from(self.model).where(*conditions)
        return self.session.execute(query).scalar_one()

    def _rows(
        self,
        where: Sequence[ColumnElement[bool]],
        *,
        order_by: Sequence[Order] = (),
        limit: int | None = None,
        options: Sequence[ORMOption] = (),
        lock: Lock | None = None,
    ) -> list[Row]:
        query = (
            sa.select(self.model)
            .where(*where)
            .order_by(*order_by)
            .options(*checked_options(options))
        )
        if limit is not None:
            query = query.limit(limit)
        return self._fetched(locked(query, lock))

    def _fetched(self, query: Select[Any], values: dict[str, Any] | None = None) -> list[Row]:
        return entities(self.session.execute(query, values), self.model)
