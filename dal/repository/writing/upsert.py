"""Insert or update, insert or find: one row for each key, whoever else is about to make it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pymysql.constants import ER
from sqlalchemy import orm
from sqlalchemy.orm import InstrumentedAttribute, Mapper

from dal.errors import DuplicateKey, InvalidArgument
from dal.repository.shared.held import held_entities
from dal.repository.shared.lineage import check_inserted, discriminator_of, is_of, shares_table
from dal.repository.shared.source import Row, Source
from dal.repository.shared.values import checked_rows, columns_of, listed, table_of
from dal.repository.shared.versions import next_version, version_name
from dal.repository.writing.batches import Batches, send_rows
from dal.repository.writing.savepoints import savepoint
from dal.repository.writing.unique import attribute_names, checked_key, unique_keys

Attributes = InstrumentedAttribute[Any] | Sequence[InstrumentedAttribute[Any]]


@dataclass(frozen=True)
class Upserted:
    """What an upsert did, as far as MySQL tells.

    The server counts 1 for a row inserted, 2 for one changed, and, as SQLAlchemy asks for rows
    found, 1 for one that was there and stayed as it was. So the changed ones are always known, and
    inserted and unchanged only together, but for the cases in which one of them cannot be.

    Attributes:
        rows: How many rows were given; inserted, changed and unchanged together.
        changed: How many were there and are different now.
        inserted: How many are new; None where MySQL does not tell them from the unchanged.
        unchanged: How many were there and stayed as they were; None as for `inserted`.
    """

    rows: int
    changed: int
    inserted: int | None
    unchanged: int | None


class Upsert(Source[Row]):
    """The verbs that insert a row unless it is there."""

    def upsert(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        key: Attributes,
        update: Attributes | None = None,
    ) -> Upserted:
        """Insert rows given as dictionaries; update the row that has the same unique key instead.

        One `INSERT ... ON DUPLICATE KEY UPDATE` for each `max_statement_bytes` of rows; from two on
        also a savepoint around them, which is two statements. All of it, or nothing. No rows, no
        statement. Rows are handled in their order, and the last of several with one key wins.

        MySQL cannot be told which key to go by: a row that any other unique key catches would
        update a stranger. So there must be none that could, as the model tells them; an
        autoincrement key that the rows do not name cannot. Each row burns one autoincrement value,
        inserted or not. `onupdate` columns and the version move on with every row found.
        Defaults, and what is bypassed, as for `insert_many`; entities that the session holds are
        read again when they are touched next.

        Args:
            rows: Dictionaries by attribute name, all with the same names.
            key: The column, or the columns, of a unique key: `User.email`.
            update: What is taken over into a row that is there; by default all that the rows name
                but the key, and with `()` nothing: what is there stays as it is.

        Raises:
            InvalidArgument: `key` is not unique, is missing in the rows, None in one, or a value
                that the column would change; another unique key could catch a row; what
                `insert_many` refuses.
            DuplicateKey: the row that has the key is of another class, which shares the table.
            ForeignKeyViolation, CheckViolation, NotNullViolation, DataTooLong, OutOfRange: the
                table refuses a row; only this call is undone.
            Deadlock: two upserts met the same rows in different orders; run the unit again.
        """
        mapper: Mapper[Any] = orm.class_mapper(self.model)
        names = attribute_names(mapper, key)
        columns = checked_key(mapper, names)
        given = listed(rows)
        checked = checked_rows(mapper, given)
        if not checked:
            return Upserted(rows=0, changed=0, inserted=0, unchanged=0)
        check_inserted(mapper, checked)
        _check_key_is_whole(names, given)
        _check_other_keys(mapper, columns, set(checked[0]))
        taken = _taken(mapper, columns, given[0], update)
        from sqlalchemy.dialects.mysql import insert  # noqa: PLC0415  # `import dal` does without

        statement = insert(table_of(mapper))
        statement = statement.on_duplicate_key_update(
            _assignments(mapper, columns, taken, statement)
        )
        if self.session.autoflush:
            self.session.flush()
        try:
            batches = send_rows(self.session, mapper, statement, checked)
        except sa.exc.DBAPIError as error:
            if error.orig is None or error.orig.args[0] != ER.SUBQUERY_NO_1_ROW:
                raise
            raise DuplicateKey(
                f"a row of another class than {self.model.__name__} has this value of the key "
                f"{', '.join(names)}",
                table=table_of(mapper).name,
                columns=tuple(sorted(column.name for column in columns)),
            ) from error
        _forget(self.session, mapper)
        always_changes = bool(taken) and mapper.version_id_generator and version_name(mapper)
        return _counted(mapper, batches, always_changes=bool(always_changes))

    def get_or_create(
        self, key: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None
    ) -> tuple[Row, bool]:
        """Return the row with this unique key, and whether this call made it.

        One SELECT if it is there. Otherwise SAVEPOINT, INSERT and RELEASE, and if another
        transaction was faster ROLLBACK TO and a second SELECT, which sees the winner's row because
        the scope reads committed: on a `Session` of your own under REPEATABLE READ it would not,
        and the `DuplicateKey` is raised.

        Args:
            key: Attribute names and values of a unique key: `{"email": email}`.
            defaults: Further attributes of a row that is made.

        Raises:
            InvalidArgument: `key` is not unique, or a value in it is None, of another type than its
                column, or one that the column would change; an unknown attribute, the version, or
                one that is in `key`, too.
            DuplicateKey: another unique key of the row is taken; only this call is undone.
            ForeignKeyViolation, CheckViolation, NotNullViolation, DataTooLong, OutOfRange: the
                table refuses the row; only this call is undone.
        """
        mapper: Mapper[Any] = orm.class_mapper(self.model)
        if not isinstance(key, Mapping) or not isinstance(defaults or {}, Mapping):
            raise InvalidArgument("key and defaults are dictionaries of attribute names and values")
        checked_key(mapper, key)
        values = {**(defaults or {}), **key}
        if len(values) < len(key) + len(defaults or {}):
            raise InvalidArgument("an attribute is either in key or in defaults, not in both")
        check_inserted(mapper, checked_rows(mapper, [values]))
        _check_key_is_whole(list(key), [key])
        query = sa.select(self.model).where(
            *(getattr(self.model, name) == value for name, value in key.items())
        )
        found = self.session.scalars(query).first()
        if found is not None:
            return found, False
        row = self.model(**values)
        try:
            with savepoint(self.session):
                self.session.add(row)
                self.session.flush()
        except DuplicateKey:
            found = self.session.scalars(query).first()
            if found is None:
                raise
            return found, False
        return row, True


def _check_key_is_whole(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        for name in names:
            if row.get(name) is None:
                raise InvalidArgument(f"{name} is in the key, so every row has a value for it")


def _check_other_keys(
    mapper: Mapper[Any], columns: frozenset[sa.Column[Any]], given: set[str]
) -> None:
    for other in unique_keys(table_of(mapper)):
        # Who meets a key that contains ours meets ours, too.
        if other.is_plain and (columns <= other.columns or _cannot_meet(other.columns, given)):
            continue
        raise InvalidArgument(
            f"another unique key of {mapper.class_.__name__} could catch a row: {other.name} "
            f"({', '.join(sorted(column.name for column in other.columns))}); MySQL would update "
            "the row that it finds there"
        )


def _cannot_meet(columns: frozenset[sa.Column[Any]], given: set[str]) -> bool:
    """Return whether one column is new in every row: counted up, made by a function, or NULL."""
    for column in columns:
        if column.key in given:
            continue
        if column.table.autoincrement_column is column:
            return True
        if column.primary_key and column.default is not None and column.default.is_callable:
            return True
        if column.nullable and column.default is None and column.server_default is None:
            return True
    return False


def _taken(
    mapper: Mapper[Any],
    columns: frozenset[sa.Column[Any]],
    first: Mapping[str, Any],
    update: Attributes | None,
) -> list[sa.Column[Any]]:
    known = columns_of(mapper)
    if update is None:
        return [known[name] for name in first if known[name] not in columns]
    names = attribute_names(mapper, update)
    for name in names:
        if name not in first or known[name] in columns:
            raise InvalidArgument(f"update names what the rows do, but the key; not {name!r}")
    return [known[name] for name in names]


def _assignments(
    mapper: Mapper[Any],
    columns: frozenset[sa.Column[Any]],
    taken: Sequence[sa.Column[Any]],
    statement: Any,
) -> dict[str, Any]:
    of_class = _of_class(mapper, columns, taken, statement)
    if not taken:  # assigning a column to itself is how MySQL spells "do nothing"
        column = next(iter(columns))
        return {column.key: column} | of_class
    values: dict[str, Any] = {column.key: statement.inserted[column.key] for column in taken}
    values |= of_class
    for column in columns_of(mapper).values():
        if column.onupdate is not None and column.key not in values:
            values[column.key] = _onupdate(column)
    known = columns_of(mapper)
    values |= {known[name].key: _plus_one(known[name]) for name in next_version(mapper)}
    return values


def _of_class(
    mapper: Mapper[Any],
    columns: frozenset[sa.Column[Any]],
    taken: Sequence[sa.Column[Any]],
    statement: Any,
) -> dict[str, Any]:
    """Return the assignment that fails where the row that is there is of another class."""
    column = discriminator_of(mapper)
    if column is None or column in columns or not shares_table(mapper):
        return {}
    value = statement.inserted[column.key] if column in taken else column
    # A subquery of two rows is an error for the row that asks for it, and undoes the statement.
    failure: Any = sa.union_all(
        sa.select(sa.literal_column("1")), sa.select(sa.literal_column("2"))
    )
    guarded = sa.case((is_of(mapper, column), value), else_=failure.scalar_subquery())
    return {str(column.key): guarded}


def _plus_one(column: sa.Column[Any]) -> Any:
    return column + sa.literal_column("1")


def _onupdate(column: sa.Column[Any]) -> Any:
    default: Any = column.onupdate
    # SQLAlchemy has wrapped callables to take the context of an execution, which is not yet.
    value = default.arg(None) if default.is_callable else default.arg
    return value if isinstance(value, sa.ClauseElement) else sa.literal(value, column.type)


def _forget(session: orm.Session, mapper: Mapper[Any]) -> None:
    # Not the version: what this scope has read and written must still match when it is flushed.
    keep = {mapper.get_property_by_column(column).key for column in mapper.primary_key}
    keep.add(version_name(mapper) or "")
    names = [attribute.key for attribute in mapper.column_attrs if attribute.key not in keep]
    for entity in held_entities(session, mapper):
        session.expire(entity, names)


def _counted(mapper: Mapper[Any], batches: Batches, *, always_changes: bool) -> Upserted:
    rows = sum(batch.rows for batch in batches.sent)
    changed = batches.affected - rows
    is_counted_up = table_of(mapper).autoincrement_column is not None
    inserted: int | None = 0
    for batch in batches.sent:
        rest = batch.rows * 2 - batch.affected  # inserted and unchanged
        if rest == 0:
            continue
        if always_changes:
            new: int | None = rest
        elif is_counted_up and rest == batch.rows and batch.first_key == 0:
            new = 0  # no key was made and no row changed
        elif is_counted_up and batch.rows == 1:
            new = 1
        else:
            new = None
        inserted = None if inserted is None or new is None else inserted + new
    unchanged = None if inserted is None else rows - changed - inserted
    return Upserted(rows=rows, changed=changed, inserted=inserted, unchanged=unchanged)
