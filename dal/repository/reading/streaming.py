"""Reading any number of rows in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Select, orm
from sqlalchemy.orm.interfaces import ORMOption

from dal.repository.reading.keyset import Keyset
from dal.repository.reading.loading import checked_options, entities
from dal.repository.shared.conditions import checked_conditions, checked_limit
from dal.repository.shared.reach import reading
from dal.repository.shared.source import Row, Source


class Streaming(Source[Row]):
    """The verb that reads all there is."""

    def stream(
        self,
        *where: ColumnElement[bool],
        chunk: int = 1000,
        options: Sequence[ORMOption] = (),
    ) -> Iterator[Row]:
        """Walk the rows that fit, in the order of the primary key, `chunk` of them at a time.

            for user in users.stream(User.active.is_(True)):
                ...

        One SELECT for each chunk, of one row more than it, at least one; none is open while the
        loop runs, so that other statements of the scope are free. Each chunk reads what is
        committed by then: a row that is there all the time comes once, one that others insert or
        delete meanwhile may come or not.

        Memory stays constant because a session holds on to changed entities only: what the loop
        does not keep is freed, what it keeps stays loaded, and what it changes is written before
        the next chunk is read.

        Args:
            where: Conditions; without any, all rows of the table.
            chunk: How many rows one SELECT reads.
            options: SQLAlchemy's loader options.

        Raises:
            InvalidArgument: something that is no condition, or no chunk from 1 up; at the call.
            ScopeEnded: the loop goes on after the scope.
        """
        keyset = Keyset(self.model)
        conditions = checked_conditions(where, reading(self.model), or_all=True)
        query = sa.select(self.model).where(*conditions)
        query = query.order_by(*keyset.order()).options(*checked_options(options))
        query = query.limit(checked_limit(chunk, name="chunk") + 1)
        return self._chunks(self.session, query, keyset=keyset, size=chunk)

    def _chunks(
        self, session: orm.Session, query: Select[Any], *, keyset: Keyset, size: int
    ) -> Iterator[Row]:
        rest = query
        while True:
            # One row more tells whether the last key is that of its row alone.
            chunk = entities(session.execute(rest), self.model)
            del chunk[size:]
            is_full = len(chunk) == size
            if is_full:
                # Now, since the loop may do to the last one what it likes.
                rest = query.where(keyset.beyond(sa.inspect(chunk[-1]).identity))
            yield from _handed_out(chunk)
            if not is_full:
                return


def _handed_out(chunk: list[Any]) -> Iterator[Any]:
    # Let go of each with the loop, not with the chunk.
    chunk.reverse()
    while chunk:
        yield chunk.pop()
