"""Deleting very many rows: in chunks, each of them a transaction of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from dal.database import Database
from dal.errors import UsageError
from dal.model.checks import server_type
from dal.repository.shared.conditions import checked_conditions, checked_limit
from dal.repository.shared.identity import key_names, keys_condition, mapper_of_one_table
from dal.repository.shared.reach import writing
from dal.repository.shared.room import that_fit
from dal.repository.shared.source import Row, Source


class Purging(Source[Row]):
    """The verb that deletes in chunks."""

    def purge_where(self, *where: ColumnElement[bool], chunk: int = 1000) -> int:
        """Delete all rows that fit all conditions, chunk by chunk; return how many.

        One scope for each chunk, of fewer rows where their keys are longer than
        `max_statement_bytes` allows: a SELECT of the next keys in the order of the primary key, a
        DELETE of those that still fit, COMMIT. Locks are held for one chunk only, undo stays small,
        and what is deleted is not walked over again. A chunk that meets a transient error is run
        again, as by `db.run`. What is deleted stays so if a later chunk raises: call it again. Rows
        that others insert meanwhile behind the current key are left to the next call. Where the
        server does not compare keys as it sorts them, or not exactly (ENUM, FLOAT, decimals read as
        floats, columns that may be NULL), a chunk is one `DELETE ... LIMIT`.

        Args:
            where: Conditions; `everything()` for all rows of the table.
            chunk: The most rows to delete in one transaction.

        Raises:
            UsageError: inside a scope, which would be one transaction; or the repository stands on
                a `Session`.
            ForeignKeyViolation: another row refers to one of them; its chunk is undone.
            InvalidArgument: no condition, something that is none, or `chunk` below 1.
        """
        conditions = checked_conditions(where, writing(self.model))
        size = checked_limit(chunk, name="chunk")
        database = self._source
        if not isinstance(database, Database):
            raise UsageError(
                "purge_where() opens scopes of its own: make the repository with a Database"
            )
        if database.has_scope:
            raise UsageError(
                "purge_where() inside a scope would be one transaction: call it outside, or use "
                "delete_where()"
            )
        mapper = mapper_of_one_table(self.model)
        if not all(map(_can_be_walked, mapper.primary_key)):
            return self._purge_by_limit(database, conditions, size)
        key = [getattr(self.model, name) for name in key_names(self.model)]
        deleted, last = 0, None
        while True:
            after: list[ColumnElement[bool]] = [] if last is None else [_after(key, last)]

            def one_chunk(after: Sequence[ColumnElement[bool]] = after) -> tuple[int, Any]:
                return self._purge_chunk(key, [*conditions, *after], size)

            count, last = database.run(one_chunk)
            deleted += count
            if last is None:
                return deleted

    def _purge_by_limit(
        self, database: Database, conditions: Sequence[ColumnElement[bool]], size: int
    ) -> int:
        from sqlalchemy.dialects.mysql import limit  # noqa: PLC0415  # `import dal` does without

        statement = sa.delete(self.model).where(*conditions).ext(limit(size))

        def one_chunk() -> int:
            result: Any = self.session.execute(
                statement.execution_options(synchronize_session=False)
            )
            return int(result.rowcount)

        deleted, count = 0, size
        while count == size:
            count = database.run(one_chunk)
            deleted += count
        return deleted

    def _purge_chunk(
        self, key: Sequence[Any], conditions: Sequence[ColumnElement[bool]], size: int
    ) -> tuple[int, Any]:
        """Return how many rows went, and the last key if there may be more behind it."""
        query = sa.select(*key).where(*conditions).order_by(*key).limit(size)
        found = self.session.execute(query).all()
        if not found:
            return 0, None
        if any(None in row for row in found):
            raise UsageError(
                f"the primary key that {self.model.__name__} maps is NULL in some of these rows, "
                "which no key finds: use delete_where()"
            )
        some = next(that_fit(found, self._source, most=size))
        is_more = len(found) == size or len(some) < len(found)
        # Still under the conditions: a row may have been changed in between.
        statement = sa.delete(self.model).where(keys_condition(self.model, some), *conditions)
        result: Any = self.session.execute(statement.execution_options(synchronize_session=False))
        return result.rowcount, some[-1] if is_more else None


_WALKED = (
    sa.BINARY,
    sa.Date,
    sa.DateTime,
    sa.Integer,
    sa.Numeric,
    sa.String,
    sa.Uuid,
    sa.VARBINARY,
)
# Compared as texts or bits, sorted by the places in their lists; or sorted by their first bytes.
_NOT_WALKED = (sa.Enum, sa.Text, sa.Float)


def _can_be_walked(column: Any) -> bool:
    """Return whether the server compares and finds the key as it is sorted and read."""
    kind = server_type(column.type)
    is_exact = not isinstance(kind, sa.Numeric) or kind.asdecimal
    is_sorted = isinstance(kind, _WALKED) and not isinstance(kind, _NOT_WALKED)
    return is_sorted and kind.__visit_name__ != "SET" and is_exact and not column.nullable


def _after(key: Sequence[Any], last: Sequence[Any]) -> ColumnElement[bool]:
    # Not (a, b) > (x, y): for that MySQL reads the whole index.
    return sa.or_(
        *(
            sa.and_(
                *(column == value for column, value in zip(key[:place], last, strict=False)),
                key[place] > last[place],
            )
            for place in range(len(key))
        )
    )
