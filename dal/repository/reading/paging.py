"""Reading page by page: each page costs the same, however far it is from the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, cast

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm.interfaces import ORMOption

from dal.database import Database
from dal.errors import InvalidArgument
from dal.repository.reading.cursor import Cursor
from dal.repository.reading.keyset import Keyset
from dal.repository.reading.loading import checked_options, rows_with_entities
from dal.repository.shared.conditions import Order, checked_conditions, checked_limit
from dal.repository.shared.reach import reading
from dal.repository.shared.source import Row, Source


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows in order, and where to go on.

    Attributes:
        items: The rows, perhaps none.
        next_token: For `after=`; None where there are no rows after these.
        previous_token: For `before=`; None where there are no rows before these.

    One SELECT looks ahead in one direction only: after `after=` the previous token, after
    `before=` the next one, is there because the token given came from that side. If all rows on
    that side are deleted by then, its page is empty.
    """

    items: list[Row]
    next_token: str | None
    previous_token: str | None


class Paging(Source[Row]):
    """The verb that reads pages."""

    def page(
        self,
        *where: ColumnElement[bool],
        limit: int,
        order_by: Order | Sequence[Order] = (),
        after: str | None = None,
        before: str | None = None,
        options: Sequence[ORMOption] = (),
    ) -> Page[Row]:
        """Return up to `limit` rows from a place in an order, and the tokens of the pages around.

            page = users.page(order_by=User.name, limit=50, after=event.get("after"))
            return {"users": [...], "next": page.next_token}

        One SELECT of `limit` + 1 rows; nothing is counted or skipped over. Rows that come and go
        between two pages move no other row from one to the other.

        An index on the columns of `order_by`, behind those that the conditions fix to one value,
        makes it a range scan: InnoDB appends the key by itself. Mixed directions want an index that
        has them, with the key at its end if that is descending, and for `before=` MySQL sorts what
        lies before all the same: it reads no range backwards in such an index.

        Args:
            where: Conditions; they may differ from page to page, the tokens are of the order.
            limit: The most rows to return.
            order_by: Columns of the model, or `column.desc()`; the key is appended, and alone the
                default. NULL comes first ascending and last descending.
            after: `next_token` of a page: the rows after it. None: from the beginning.
            before: `previous_token` of a page: the rows before it.
            options: SQLAlchemy's loader options.

        Raises:
            InvalidCursor: no token, one cut off or altered, one of another order; with
                `page_token_key`, one that this key did not sign.
            InvalidArgument: both tokens, no limit from 1 up, something that is no condition, or
                that cannot order pages: expressions, TEXT, FLOAT, JSON.
        """
        limit = checked_limit(limit)
        keyset = Keyset(self.model, order_by)
        conditions = list(checked_conditions(where, reading(self.model), or_all=True))
        if after is not None and before is not None:
            raise InvalidArgument("page() takes after= or before=, not both")
        token, backward = (after, False) if before is None else (before, True)
        key = self._token_key()
        cursor = None if token is None else Cursor.of(token, keyset, key)
        if cursor is not None:
            conditions.append(
                keyset.beyond(cursor.position, backward=backward, inclusive=cursor.inclusive)
            )
        # The position comes from the columns of the row: the entity's attributes may be deferred,
        # or, in a session of one's own, older than the row.
        query = (
            sa.select(self.model, *keyset.attributes)
            .where(*conditions)
            .options(*checked_options(options))
        )
        query = query.order_by(*keyset.order(backward=backward)).limit(limit + 1)
        found = rows_with_entities(self.session.execute(query), self.model)
        more = len(found) > limit
        rows = found[:limit]
        if backward:
            rows.reverse()
        return _page(rows, keyset=keyset, key=key, cursor=cursor, backward=backward, more=more)

    def _token_key(self) -> bytes | None:
        if isinstance(self._source, Database):
            key: Any = self._source.settings.page_token_key
        else:  # a session of one's own, on an engine of dal or another
            bind = self._source.get_bind(sa.inspect(self.model))
            key = getattr(bind.dialect, "page_token_key", None)
        return cast("bytes | None", key)


def _page(
    rows: list[Any],
    *,
    keyset: Keyset,
    key: bytes | None,
    cursor: Cursor | None,
    backward: bool,
    more: bool,
) -> Page[Any]:
    if rows:
        first, last = Cursor(rows[0][1:]), Cursor(rows[-1][1:])
    elif cursor is not None:  # nothing here any more; the way back begins at the token's own row
        first = last = Cursor(cursor.position, not cursor.inclusive)
    else:
        return Page([], None, None)
    came_from_before = cursor is not None and not backward
    return Page(
        [row[0] for row in rows],
        next_token=last.token(keyset, key) if (more if not backward else True) else None,
        previous_token=first.token(keyset, key)
        if (more if backward else came_from_before)
        else None,
    )
