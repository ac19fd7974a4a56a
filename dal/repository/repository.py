"""`Repository`: typed access to the rows of one mapped class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import sqlalchemy as sa
from sqlalchemy import ColumnElement, orm
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.interfaces import ORMOption

from dal.database import Database
from dal.errors import InvalidArgument, MultipleFound, NotFound
from dal.repository.conditions import checked_conditions, checked_limit, checked_order
from dal.repository.identity import column_names, identity_condition, key_names

Row = TypeVar("Row")
Order = ColumnElement[Any] | orm.InstrumentedAttribute[Any]


class Repository(Generic[Row]):
    """The rows of one mapped class; the class comes from the type argument.

        class Users(Repository[User]):
            def by_email(self, email: str) -> User | None:
                return self.one_or_none(User.email == email)

        users = Users(db)

    With a `Database` every call uses the current scope, in which every read is a statement to the
    server and refreshes the entities that it finds. With a `Session` of your own, SQLAlchemy's
    rules hold: its reads do not refresh what it has loaded.

    Every method raises `NoActiveScope` outside a scope, and what its statement meets:
    `ConnectError` and `ConnectionLost`, `Deadlock`, `LockWaitTimeout`, `StatementTimeout`,
    `DeadlineExceeded`.
    """

    model: ClassVar[type[Any]]

    def __init__(self, source: Database | orm.Session) -> None:
        """Take the database, or a session to work on outside a scope."""
        if not hasattr(type(self), "model"):
            raise InvalidArgument(
                f"{type(self).__name__} names no model: write class Users(Repository[User])"
            )
        if not isinstance(source, Database | orm.Session):
            raise InvalidArgument(f"a repository wants a Database or a Session, not {source!r}")
        self._source = source

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the model from the type argument, once.

        Raises:
            InvalidArgument: the argument is not a mapped class.
        """
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Repository):
                (model,) = get_args(base)
                if isinstance(model, TypeVar):
                    return
                if not isinstance(sa.inspect(model, raiseerr=False), Mapper):
                    raise InvalidArgument(
                        f"{cls.__name__}: Repository[...] wants a mapped class, not {model!r}"
                    )
                cls.model = model

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model.__name__})"

    @property
    def session(self) -> orm.Session:
        """The session to work on: that of the current scope, or the one given."""
        return self._source.session if isinstance(self._source, Database) else self._source

    # Reading ------------------------------------------------------------------------------------

    def get(self, identity: Any, *, options: Sequence[ORMOption] = ()) -> Row | None:
        """Return the row with this primary key, or None. One SELECT.

        Args:
            identity: The key; a tuple or a dictionary where it has several columns.
            options: SQLAlchemy's loader options.

        Raises:
            InvalidArgument: None, or not as many values as the key has columns.
        """
        rows = self._rows([identity_condition(self.model, identity)], options=options)
        return rows[0] if rows else None

    def get_one(self, identity: Any, *, options: Sequence[ORMOption] = ()) -> Row:
        """Return the row with this primary key. One SELECT.

        Raises:
            NotFound: there is none.
            InvalidArgument: as `get`.
        """
        row = self.get(identity, options=options)
        if row is None:
            raise NotFound(f"no {self.model.__name__} has the key {identity!r}")
        return row

    def one(self, *where: ColumnElement[bool], options: Sequence[ORMOption] = ()) -> Row:
        """Return the only row that fits all conditions. One SELECT, of two rows at most.

        Raises:
            NotFound: none fits.
            MultipleFound: more than one fits.
            InvalidArgument: no condition, or something that is none.
        """
        row = self.one_or_none(*where, options=options)
        if row is None:
            raise NotFound(f"no {self.model.__name__} fits")
        return row

    def one_or_none(
        self, *where: ColumnElement[bool], options: Sequence[ORMOption] = ()
    ) -> Row | None:
        """Return the only row that fits all conditions, or None. One SELECT, of two rows at most.

        Raises:
            MultipleFound: more than one fits.
            InvalidArgument: no condition, or something that is none.
        """
        rows = self._rows(checked_conditions(where), options=options, limit=2)
        if len(rows) > 1:
            raise MultipleFound(f"more than one {self.model.__name__} fits")
        return rows[0] if rows else None

    def first(
        self,
        *where: ColumnElement[bool],
        order_by: Order | Sequence[Order],
        options: Sequence[ORMOption] = (),
    ) -> Row | None:
        """Return the first row in this order that fits all conditions, or None. One SELECT.

        Raises:
            InvalidArgument: no order, or something that is no condition.
        """
        order = checked_order(order_by)
        if not order:
            raise InvalidArgument("first() wants an order_by: without one any row may be the first")
        rows = self._rows(
            checked_conditions(where, or_all=True), order_by=order, options=options, limit=1
        )
        return rows[0] if rows else None

    def find(
        self,
        *where: ColumnElement[bool],
        order_by: Order | Sequence[Order] = (),
        limit: int | None = None,
        options: Sequence[ORMOption] = (),
    ) -> list[Row]:
        """Return the rows that fit all conditions, perhaps none. One SELECT.

        Args:
            where: Conditions; `everything()` for all rows of the table.
            order_by: Columns, or `column.desc()`; without it the order is the server's choice.
            limit: The most rows to return.
            options: SQLAlchemy's loader options.

        Raises:
            InvalidArgument: neither a condition nor a limit, or something that is none.
        """
        conditions = checked_conditions(where, or_all=limit is not None)
        return self._rows(
            conditions,
            order_by=checked_order(order_by),
            limit=None if limit is None else checked_limit(limit),
            options=options,
        )

    def exists(self, *where: ColumnElement[bool]) -> bool:
        """Return whether a row fits all conditions. One SELECT, which stops at the first.

        Raises:
            InvalidArgument: something that is no condition.
        """
        query = sa.select(sa.literal(1)).select_from(self.model)
        query = query.where(*checked_conditions(where, or_all=True)).limit(1)
        return self.session.execute(query).first() is not None

    def count(self, *where: ColumnElement[bool]) -> int:
        """Return how many rows fit all conditions. One SELECT, which reads every one of them.

        Raises:
            InvalidArgument: something that is no condition.
        """
        query = sa.select(sa.func.count()).select_from(self.model)
        query = query.where(*checked_conditions(where, or_all=True))
        return self.session.execute(query).scalar_one()

    # Writing ------------------------------------------------------------------------------------

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

    # ---------------------------------------------------------------------------------------------

    def _rows(
        self,
        where: Sequence[ColumnElement[bool]],
        *,
        order_by: Sequence[Order] = (),
        limit: int | None = None,
        options: Sequence[ORMOption] = (),
    ) -> list[Row]:
        query = sa.select(self.model).where(*where).order_by(*order_by).options(*options)
        if limit is not None:
            query = query.limit(limit)
        # unique(): joined eager loading of collections repeats the entity.
        return list(self.session.execute(query).unique().scalars())

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
