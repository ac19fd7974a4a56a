"""Writing rows: one at a time, or a few."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from dal.errors import InvalidArgument, NotFound
from dal.repository.identity import column_names, identity_condition, key_names
from dal.repository.source import Row, Source


class Writing(Source[Row]):
    """The verbs that write."""

    def add(self, row: Row) -> Row:
        """Insert a row now and return it with its key. One INSERT.

        Raises:
            DuplicateKey, ForeignKeyViolation, CheckViolation, NotNullViolation, DataTooLong,
            OutOfRange: the table refuses the row; the scope is rollback-only then, or the
            `db.savepoint()` around the call.
            InvalidArgument: not an instance of the model.
        """
        self.add_all([row])
        return row

    def add_all(self, rows: Iterable[Row]) -> list[Row]:
        """Insert rows now and return them with their keys.

        One INSERT for each row whose key the server makes; rows that bring their keys share
        statements. An empty list does nothing.

        Raises:
            as `add`, for all rows together.
        """
        added = list(rows)
        for row in added:
            if not isinstance(row, self.model):
                raise InvalidArgument(
                    f"{type(self).__name__} takes {self.model.__name__}, not {type(row).__name__}"
                )
        self.session.add_all(added)
        self.session.flush()
        return added

    def update(self, identity: Any, changes: Mapping[str, Any]) -> None:
        """Change some attributes of the row with this key. One UPDATE, nothing is read before.

        Entities of the session that stand for the row change with it. Setting what is stored
        already is no error.

        Args:
            identity: The key; a tuple or a dictionary where it has several columns.
            changes: Attribute names and their new values; `onupdate` columns follow.

        Raises:
            NotFound: there is no such row.
            InvalidArgument: no changes, an unknown attribute, or one of the key.
            what `add` raises for a row that the table refuses, without making the scope
            rollback-only: only the statement is undone.
        """
        values = self._checked_changes(changes)
        self._one_row(
            sa.update(self.model)
            .where(identity_condition(self.model, identity))
            .values(values)
            .execution_options(synchronize_session="auto"),
            identity,
        )

    def delete(self, identity: Any) -> None:
        """Delete the row with this key. One DELETE, nothing is read before.

        The server's foreign keys decide over children, not the cascades of relationships; for
        those there is `session.delete(entity)`.

        Raises:
            NotFound: there is no such row.
            ForeignKeyViolation: another row refers to it; only the statement is undone.
            InvalidArgument: None, or not as many values as the key has columns.
        """
        self._one_row(
            sa.delete(self.model)
            .where(identity_condition(self.model, identity))
            .execution_options(synchronize_session="auto"),
            identity,
        )

    def _one_row(self, statement: Any, identity: Any) -> None:
        result: Any = self.session.execute(statement)
        if result.rowcount == 0:  # CLIENT_FOUND_ROWS: rows matched, changed or not
            raise NotFound(f"no {self.model.__name__} has the key {identity!r}")

    def _checked_changes(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(changes, Mapping) or not changes:
            raise InvalidArgument("update() wants a dictionary of attribute names and new values")
        columns = column_names(self.model)
        for name in changes:
            if name not in columns:
                raise InvalidArgument(
                    f"{self.model.__name__} has no column attribute {name!r}; it has "
                    f"{', '.join(columns)}"
                )
            if name in key_names(self.model):
                raise InvalidArgument(f"{name!r} is part of the key, which never changes")
        return dict(changes)
