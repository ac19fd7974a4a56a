"""Every ORM SELECT that user code issues refreshes what it finds.

READ COMMITTED gives each statement a fresh snapshot, but a Session keeps the attribute values that
an entity was first loaded with. `populate_existing` makes the rows win; session-wide execution
options do not reach every read, an event does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import ChunkedIteratorResult, Result
from sqlalchemy.orm import ORMExecuteState

from dal.errors import UnflushedChanges
from dal.scope.held import forget_written, let_entities_follow
from dal.scope.selectin import lose_no_row
from dal.scope.versions import check_versions_read, loads_versions, stale_versions_named

if TYPE_CHECKING:
    from dal.scope.session import Session


def refresh_what_is_found(state: ORMExecuteState) -> Result[Any] | None:
    """Make this SELECT overwrite what the session holds: a listener for `do_orm_execute`.

    Never where it would overwrite changes that are not written yet: not in a flush or a merge, and
    not with autoflush off, where a read by user code raises instead. Nor, in a read-write scope,
    where it would change a version: what was decided on the older row would be written over it.

    Raises:
        UnflushedChanges: the session holds unwritten changes, and autoflush is off; or (from the
            result) they were made between executing and fetching.
        StaleVersion: (from the result) another transaction has changed an entity found here.
    """
    session: Session = state.session  # type: ignore[assignment]
    if (state.is_insert or state.is_update) and isinstance(state.parameters, list):
        return _write_many(state, session)
    if state.is_orm_statement and (state.is_update or state.is_delete):
        return let_entities_follow(state, session)
    reads = state.is_select or state.is_from_statement
    if not reads or not state.is_orm_statement or state.is_column_load or session.is_at_work:
        return None
    if session.autoflush and _flushes(state):
        session.flush_all()  # what hooks of a flush change is written, too, before it is read
    elif session.has_unwritten_changes():
        if state.is_relationship_load or not _loads_entities(state):
            return None
        raise UnflushedChanges(
            "this read would overwrite changes that are not written yet, and autoflush is off: "
            "call session.flush() before it, or read columns instead of entities"
        )
    state.update_execution_options(populate_existing=True)
    if loads_versions(state) and not session.is_read_only:
        check_versions_read(state)
    result = state.invoke_statement()
    if isinstance(result, ChunkedIteratorResult):
        _guard(result, session, state.execution_options.get("yield_per"))
        lose_no_row(state, result)
    return result


def _write_many(state: ORMExecuteState, session: Session) -> Result[Any] | None:
    """Execute a bulk INSERT or UPDATE, of one statement or several, as a flush is executed."""
    if session.is_at_work or state.execution_options.get("dal_is_whole"):
        return None
    with session.working():
        result = state.invoke_statement()
    if state.is_update:
        forget_written(session, state.bind_mapper, state.parameters)  # type: ignore[arg-type]
    return result


def _flushes(state: ORMExecuteState) -> bool:
    options = state.execution_options.get("_sa_orm_load_options")  # a lazy load's own
    by_load = options is None or options._autoflush  # noqa: SLF001
    return by_load and bool(state.execution_options.get("autoflush", True))


def _guard(result: ChunkedIteratorResult[Any], session: Session, chunk: int | None) -> None:
    """Check each chunk of the result before it overwrites anything."""
    chunks = result.chunks
    result.chunks = lambda size: _checked(chunks(size), session, is_stream=bool(size))
    if chunk:
        result.yield_per(chunk)
    else:
        result.iterator = itertools.chain.from_iterable(result.chunks(None))


def _checked(chunks: Iterator[Any], session: Session, *, is_stream: bool) -> Iterator[Any]:
    is_to_come = True
    while True:
        if is_to_come and session.has_unwritten_changes():
            raise UnflushedChanges(
                "rows of this result would overwrite changes that were made since it was "
                "executed: fetch it first, for example with .all(), or walk with a repository's "
                "stream()"
            )
        with stale_versions_named():
            try:
                rows = next(chunks)
            except StopIteration:
                return
        yield rows
        is_to_come = is_stream


def _loads_entities(state: ORMExecuteState) -> bool:
    descriptions = getattr(state.statement, "column_descriptions", [])
    return any(item["expr"] is item["entity"] for item in descriptions)
