"""SQLAlchemy's Session for one scope: it reads fresh and leaves COMMIT to the scope."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import event, orm
from sqlalchemy.engine import Connection

from dal.errors import ReadOnlyScope, ScopeEnded, UnflushedChanges
from dal.scope.ended import leave_behind, release
from dal.scope.freshness import refresh_what_is_found
from dal.scope.versions import refuse_versions_set_by_hand, stale_versions_named

if TYPE_CHECKING:
    from dal.scope.scope import Scope


_HAS_ENDED = "this scope has ended; load what you need inside it, or open a new one"

# As many as SQLAlchemy's own commit() makes.
_FLUSHES = 100


class _Query(orm.Query[Any]):
    """The legacy query: its `get` asks the server as the session's does."""

    def get(self, ident: Any) -> Any:
        return orm.Query.get(self.populate_existing(), ident)


class Session(orm.Session):
    """The session of a scope.

    All of SQLAlchemy's Session works, but what begins, ends or leaves the transaction: the scope
    owns it, and the methods that would do so raise `TransactionControl`.
    """

    def __init__(self, scope: Scope) -> None:
        super().__init__(expire_on_commit=False, query_cls=_Query)
        self._scope = scope
        self._depth = 0

    # The connection -----------------------------------------------------------------------------

    def get_bind(self, *_: Any, **__: Any) -> Connection:
        """Return the scope's connection, made by the first statement.

        Raises:
            the error that made the scope rollback-only; what connecting raises.
        """
        return self._scope.connection()

    # Reading ------------------------------------------------------------------------------------

    if not TYPE_CHECKING:  # the types are SQLAlchemy's own

        def get(self, entity: Any, ident: Any, **options: Any) -> Any:
            """Return the row with this identity as it is now, or None; always asks the server."""
            if not self.is_at_work:
                options["populate_existing"] = True
            return super().get(entity, ident, **options)

    @property
    def is_read_only(self) -> bool:
        """Whether this is the session of a read-only scope."""
        return self._scope.read_only

    @property
    def is_at_work(self) -> bool:
        """Whether SQLAlchemy itself is loading, in the middle of a flush or a merge."""
        return self._depth > 0

    def has_unwritten_changes(self) -> bool:
        """Return whether a flush would write something."""
        return bool(self.new or self.deleted) or any(map(self.is_modified, self.dirty))

    # Writing ------------------------------------------------------------------------------------

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Write all changes now.

        A failure makes the savepoint around it, or the scope, rollback-only.

        Raises:
            ReadOnlyScope: there is something to write and the scope is read-only.
            StaleVersion: another transaction has changed or deleted a row since it was read.
            InvalidArgument: a version was assigned by hand.
        """
        self._scope.check()
        if self._is_clean() and not self._flushing:
            return  # as SQLAlchemy's own begins, before what costs more than that
        if self._scope.read_only and self.has_unwritten_changes():
            raise ReadOnlyScope(
                f"this scope is read-only and holds changes ({self.unwritten()}); open it, or the "
                "handler, without read_only"
            )
        refuse_versions_set_by_hand(self)
        with self.working(), stale_versions_named():
            super().flush(objects)

    def flush_all(self) -> None:
        """Flush until nothing is left that a hook of a flush has changed.

        Raises:
            UnflushedChanges: the hooks never come to an end.
        """
        for _ in range(_FLUSHES):
            if not self.has_unwritten_changes():
                return
            self.flush()
        raise UnflushedChanges(f"after {_FLUSHES} flushes hooks still change what was written")

    def bulk_save_objects(self, *args: Any, **options: Any) -> None:
        """Write these objects as SQLAlchemy's legacy method does; a failure counts as a flush's."""
        with self.working():
            super().bulk_save_objects(*args, **options)

    def bulk_insert_mappings(self, *args: Any, **options: Any) -> None:
        """Insert these rows as SQLAlchemy's legacy method does; a failure counts as a flush's."""
        with self.working():
            super().bulk_insert_mappings(*args, **options)

    def bulk_update_mappings(self, *args: Any, **options: Any) -> None:
        """Update these rows as SQLAlchemy's legacy method does; a failure counts as a flush's."""
        with self.working():
            super().bulk_update_mappings(*args, **options)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Mark work of SQLAlchemy in several statements: a failure in it counts as a flush's."""
        self._depth += 1
        try:
            yield
        except BaseException as error:
            # SQLAlchemy has rolled back to the savepoint around it, or all of the transaction.
            self._scope.fail(error)
            raise
        finally:
            self._depth -= 1

    def unwritten(self) -> str:
        """Return what a flush would write, in words."""
        changed = sum(map(self.is_modified, self.dirty))
        return f"{len(self.new)} new, {changed} changed, {len(self.deleted)} deleted"

    if not TYPE_CHECKING:

        def merge(self, instance: Any, **options: Any) -> Any:
            """Copy `instance` onto the row with its identity, as SQLAlchemy's `merge`."""
            self._depth += 1
            try:
                with stale_versions_named():
                    return super().merge(instance, **options)
            finally:
                self._depth -= 1

    # What is the scope's ------------------------------------------------------------------------

    def begin(self, nested: bool = False) -> NoReturn:  # noqa: FBT001, FBT002
        """Refused: the scope is the transaction; a part of it is `db.savepoint()`."""
        self._scope.refuse(
            "session.begin_nested(): use db.savepoint()"
            if nested
            else "session.begin(): the scope is the transaction"
        )

    def commit(self) -> NoReturn:
        """Refused: the scope commits, once, at its end."""
        self._scope.refuse("session.commit(): the scope commits at its end")

    def rollback(self) -> NoReturn:
        """Refused: raise, or call `db.rollback_only()`."""
        self._scope.refuse("session.rollback(): raise an exception or call db.rollback_only()")

    def close(self) -> NoReturn:
        """Refused: the scope closes what it opened."""
        self._scope.refuse("session.close(): the scope closes at its end")

    reset = invalidate = close

    def end(self) -> None:
        """Close: from here on whatever is asked of this session raises `ScopeEnded`."""
        states = self.identity_map.all_states()
        try:
            orm.Session.close(self)
            leave_behind(self, states)
        finally:
            self.__class__ = _Ended

    if not TYPE_CHECKING:

        def _before_attach(self, state: Any, obj: Any) -> bool:
            release(state)
            return super()._before_attach(state, obj)

        def _merge(self, state: Any, *args: Any, **options: Any) -> Any:
            self._scope.changed_elsewhere.discard(state)
            return super()._merge(state, *args, **options)


class _Ended(Session):
    """The session of a scope that has ended."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return object.__getattribute__(self, name)
        raise ScopeEnded(_HAS_ENDED)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise ScopeEnded(_HAS_ENDED)


event.listen(Session, "do_orm_execute", refresh_what_is_found)
