"""Every ORM SELECT that user code issues refreshes what it finds.

READ COMMITTED gives each statement a fresh snapshot, but a Session keeps the attribute values that
an entity was first loaded with. `populate_existing` makes the rows win; session-wide execution
options do not reach every read, an event does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Result
from sqlalchemy.orm import ORMExecuteState

from dal.errors import UnflushedChanges
from dal.scope.versions import check_versions_read

if TYPE_CHECKING:
    from dal.scope.session import Session


def refresh_what_is_found(state: ORMExecuteState) -> Result[Any] | None:
    """Make this SELECT overwrite what the session holds: a listener for `do_orm_execute`.

    Never where it would overwrite changes that are not written yet: not in a flush or a merge, and
    not with autoflush off, where a read by user code raises instead. Nor, in a read-write scope,
    where it would change a version: what was decided on the older row would be written over it.

    Raises:
        UnflushedChanges: autoflush is off and the session holds unwritten changes.
        StaleVersion: (from the result) another transaction has changed an entity found here.
    """
    reads = state.is_select or state.is_from_statement
    if not reads or not state.is_orm_statement or state.is_column_load:
        return None
    session: Session = state.session  # type: ignore[assignment]
    if session.is_at_work:
        return None
    writes_first = session.autoflush
    if state.is_select:  # a lazy load may switch it off for itself
        writes_first &= state.load_options._autoflush  # noqa: SLF001
    if not writes_first and session.has_unwritten_changes():
        if state.is_relationship_load or not _loads_entities(state):
            return None
        raise UnflushedChanges(
            "this read would overwrite changes that are not written yet, and autoflush is off: "
            "call session.flush() before it, or read columns instead of entities"
        )
    state.update_execution_options(populate_existing=True)
    return None if session.is_read_only else check_versions_read(state)


def _loads_entities(state: ORMExecuteState) -> bool:
    descriptions = getattr(state.statement, "column_descriptions", [])
    return any(item["expr"] is item["entity"] for item in descriptions)
