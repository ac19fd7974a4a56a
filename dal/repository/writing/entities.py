"""Writing rows: one at a time, a few, or all that fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Mapper

from dal.errors import InvalidArgument, NotFound, StaleVersion, UsageError
from dal.repository.shared.conditions import checked_assignments, checked_conditions
from dal.repository.shared.held import bring_up, held_entities, held_entity, locked_fitting
from dal.repository.shared.identity import identity_condition, identity_values, mapper_of_one_table
from dal.repository.shared.lineage import check_changes, check_instance
from dal.repository.shared.reach import writing
from dal.repository.shared.source import Row, Source
from dal.repository.shared.values import checked_changes
from dal.repository.shared.versions import (
    checked_expected,
    has_version,
    next_version,
    version_name,
    version_of,
)
from dal.repository.writing.adding import insert_entities, is_just_inserting


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
        self._checked_instances([row])
        self.session.add(row)
        self.session.flush()
        return row

    def add_all(self, rows: Iterable[Row]) -> list[Row]:
        """Insert rows now and return them with their keys. Few statements; an empty list does none.

        Rows that bring their keys, or have a default that makes them, share one INSERT for each
        `max_statement_bytes`. So do three rows and more whose keys the server counts up: it gives
        one INSERT keys at equal distances, and one SELECT asks how far apart. One INSERT for each
        row remains where SQLAlchemy has to do more than insert it: related rows, listeners for
        `before_insert` and the like, several tables, SQL expressions as values, and a `Session` of
        your own.

        Raises:
            as `add`, for all rows together.
        """
        added = self._checked_instances(rows)
        if is_just_inserting(self.session, added):
            insert_entities(self.session, added)
        else:
            self.session.add_all(added)
            self.session.flush()
        return added

    def update(
        self, identity: Any, changes: Mapping[str, Any], *, expected_version: Any = None
    ) -> None:
        """Change some attributes of the row with this key. One UPDATE, nothing is read before.

        The entity of the session that stands for the row changes with it; nothing else is touched,
        relationships least of all. Setting what is stored already is no error. The version, where
        the model has one, moves on with every call.

        Args:
            identity: The key; a tuple or a dictionary where it has several columns.
            changes: Attribute names and their new values, or expressions such as
                `Account.balance + 1`; `onupdate` columns follow.
            expected_version: The version that the row must have. Without it, that of the row's
                entity counts if your code holds it still; if not, any will do.

        Raises:
            NotFound: there is no such row.
            StaleVersion: it has another version; one more SELECT tells that from `NotFound`.
            InvalidArgument: no changes, an unknown attribute, one of the key, the version itself,
                or a value that cannot be of its column's type.
            what `add` raises for a row that the table refuses, without making the scope
            rollback-only: only the statement is undone.
        """
        mapper = self._mapper()
        values = self._changes(changes)
        held, expected = self._held(identity, expected_version)
        values |= next_version(mapper, expected)
        self._one_row(sa.update(self.model).values(values), identity, expected)
        if held is not None:
            bring_up(self.session, mapper, held, values)

    def update_where(self, *where: ColumnElement[bool], changes: Mapping[str, Any]) -> int:
        """Change all rows that fit all conditions; return how many fitted, changed or not.

        One UPDATE. Where the session holds entities of this model, one SELECT ... FOR UPDATE comes
        before it, to change those that fit with it. Versions move on and are not checked: put one
        into the conditions.

        Args:
            where: Conditions; `everything()` for all rows of the table.
            changes: As for `update`.

        Raises:
            as `update`, but for `NotFound` and `StaleVersion`.
            InvalidArgument: also for no condition, or something that is none.
        """
        mapper = self._mapper()
        conditions = checked_conditions(where, writing(self.model))
        values = self._changes(changes)
        values |= next_version(mapper)
        fitting = locked_fitting(self.session, mapper, conditions)
        statement = sa.update(self.model).where(*conditions).values(values)
        result: Any = self.session.execute(statement.execution_options(synchronize_session=False))
        for entity, version in fitting:
            bring_up(self.session, mapper, entity, values, version=version)
        count: int = result.rowcount
        return count

    def delete(self, identity: Any, *, expected_version: Any = None) -> None:
        """Delete the row with this key. One DELETE, nothing is read before.

        The server's foreign keys decide over children, not the cascades of relationships; for
        those there is `session.delete(entity)`.

        Args:
            identity: The key; a tuple or a dictionary where it has several columns.
            expected_version: As for `update`.

        Raises:
            NotFound: there is no such row.
            StaleVersion: it has another version; one more SELECT tells that from `NotFound`.
            ForeignKeyViolation: another row refers to it; only the statement is undone.
            InvalidArgument: None, or not as many values as the key has columns.
        """
        held, expected = self._held(identity, expected_version)
        self._one_row(sa.delete(self.model), identity, expected)
        if held is not None:
            self.session._remove_newly_deleted([sa.inspect(held)])  # noqa: SLF001  # as a flush

    def delete_where(self, *where: ColumnElement[bool]) -> int:
        """Delete all rows that fit all conditions; return how many. Children as for `delete`.

        One DELETE, and one SELECT before it where the session holds entities of this model. All
        rows are locked until COMMIT and undone together: for very many there is `purge_where`.

        Args:
            where: Conditions; `everything()` for all rows of the table.

        Raises:
            ForeignKeyViolation: another row refers to one of them; only the statement is undone.
            InvalidArgument: no condition, or something that is none.
        """
        conditions = checked_conditions(where, writing(self.model))
        # Not "evaluate": Python compares texts as no collation of MySQL does.
        how: Any = "fetch" if held_entities(self.session, self._mapper()) else False
        result: Any = self.session.execute(
            sa.delete(self.model).where(*conditions).execution_options(synchronize_session=how)
        )
        count: int = result.rowcount
        return count

    def _held(self, identity: Any, expected_version: Any) -> tuple[Any | None, Any]:
        """Return the entity of this row, if there is one, and the version that the row must have.

        Both before the statement: afterwards the row's key finds nothing, or another version.
        """
        mapper = self._mapper()
        expected = checked_expected(mapper, expected_version)
        values = identity_values(self.model, identity)
        held = held_entity(self.session, mapper, values)
        return held, version_of(mapper, held) if expected is None else expected

    def _one_row(self, statement: Any, identity: Any, expected: Any) -> None:
        key = identity_condition(self.model, identity)
        name = version_name(self._mapper())
        # SQLAlchemy would bring the entity up even where no row was found.
        statement = statement.where(key).execution_options(synchronize_session=False)
        if expected is not None:
            statement = statement.where(has_version(self._mapper(), expected))
        result: Any = self.session.execute(statement)
        if result.rowcount == 1:  # CLIENT_FOUND_ROWS: rows matched, changed or not
            return
        if result.rowcount > 1:
            raise UsageError(
                f"{result.rowcount} rows have the key that {self.model.__name__} maps, which is "
                "not unique in the data: write by a condition, and roll this scope back"
            )
        stored = None
        if expected is not None and name is not None:
            stored = self.session.execute(sa.select(getattr(self.model, name)).where(key)).first()
        if stored is None:
            raise NotFound(f"no {self.model.__name__} has the key {identity!r}", keys=[identity])
        raise StaleVersion(
            f"the {self.model.__name__} with the key {identity!r} has version {stored[0]!r}, not "
            f"{expected!r}: another transaction changed it; run the whole unit of work again"
        )

    def _checked_instances(self, rows: Iterable[Row]) -> list[Row]:
        if not isinstance(rows, Iterable) or isinstance(rows, Mapping):
            raise InvalidArgument(
                f"rows are a list of {self.model.__name__}, not {type(rows).__name__}"
            )
        added = list(rows)
        for row in added:
            if not isinstance(row, self.model):
                raise InvalidArgument(
                    f"{type(self).__name__} takes {self.model.__name__}, not {type(row).__name__}"
                )
            check_instance(row)
        return added

    def _changes(self, changes: object) -> dict[str, Any]:
        checked = checked_changes(self._mapper(), changes)
        check_changes(self._mapper(), checked)
        return checked_assignments(checked, writing(self.model))

    def _mapper(self) -> Mapper[Any]:
        return mapper_of_one_table(self.model)
