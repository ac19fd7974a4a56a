"""Many rows at once, from plain dictionaries: no entities, no events, few statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Mapper

from dal.repository.shared.lineage import check_inserted
from dal.repository.shared.source import Row, Source
from dal.repository.shared.values import checked_rows, table_of
from dal.repository.writing.batches import send_rows


class Bulk(Source[Row]):
    """The verb that inserts many rows."""

    def insert_many(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Insert rows given as dictionaries by attribute name; return how many.

        All of them, or none if one is refused. One INSERT for each `max_statement_bytes` of rows;
        from two on also a savepoint around them, which is two statements. No rows, no statement.
        Python-side defaults apply; entities, keys, relationships and ORM events have no part.
        Every row names the same attributes: NULL is written None, and a default is what nobody
        names.

        Raises:
            DuplicateKey, ForeignKeyViolation, CheckViolation, NotNullViolation, DataTooLong,
            OutOfRange: the table refuses a row; only this call is undone, and the scope goes on.
            InvalidArgument: something that is no dictionary, an unknown attribute, a row with other
                names than the first, the version, an SQL expression, a value that cannot be of its
                column's type, or a model that is mapped to several tables.
        """
        mapper: Mapper[Any] = orm.class_mapper(self.model)
        checked = checked_rows(mapper, rows)
        if not checked:
            return 0
        check_inserted(mapper, checked)
        statement = sa.insert(table_of(mapper))
        if self.session.autoflush:
            self.session.flush()  # what is pending was there first
        send_rows(self.session, mapper, statement, checked)
        return len(checked)
