"""Entities that the session holds follow an UPDATE or a DELETE of rows by conditions.

SQLAlchemy evaluates the conditions in Python where it can, and the new values one after the other.
But Python compares texts as no collation of MySQL does: of `code = 'ADA'` the entity 'Ada' would
keep what its row has no more. So the server is asked which rows fit, and only where entities of the
model are held at all. `synchronize_session`, where a statement names it, stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Result
from sqlalchemy.orm import Mapper, ORMExecuteState

if TYPE_CHECKING:
    from dal.scope.session import Session

# Keys of these are equal to the server exactly where they are equal in Python.
_EXACT = (sa.Integer, sa.Uuid, sa.types._Binary)  # noqa: SLF001


def let_entities_follow(state: ORMExecuteState, session: Session) -> Result[Any] | None:
    """Execute an UPDATE or a DELETE by conditions, and let the entities held follow the server."""
    options: Any = state.update_delete_options
    mapper = state.bind_mapper
    if mapper is None or session.is_at_work or options._synchronize_session != "auto":  # noqa: SLF001
        return None
    if session.autoflush:
        session.flush()
    held = _held(session, mapper)
    state.update_execution_options(synchronize_session="fetch" if held else False)
    expressions = _expressions(state.statement)
    if not held or len(expressions) == 0:
        return None
    result = state.invoke_statement()
    _forget(session, held, (mapper.get_property_by_column(column).key for column in expressions))
    return result


def forget_written(session: Session, mapper: Mapper[Any] | None, rows: Iterable[Any]) -> None:
    """Let the entities of a bulk UPDATE by key be loaded again, if Python cannot tell which."""
    if mapper is None or all(isinstance(column.type, _EXACT) for column in mapper.primary_key):
        return
    keys = {mapper.get_property_by_column(column).key for column in mapper.primary_key}
    written = {name for row in rows for name in row if name in mapper.column_attrs}
    _forget(session, _held(session, mapper), written - keys)


def _held(session: Session, mapper: Mapper[Any]) -> list[Any]:
    return [each for each in session.identity_map.values() if isinstance(each, mapper.class_)]


def _expressions(statement: Any) -> list[Any]:
    """Return the columns whose new values are expressions, if one may read what another assigns."""
    values = getattr(statement, "_values", None) or {}
    if len(values) < 2:
        return []
    return [key for key, value in values.items() if not isinstance(value, sa.BindParameter)]


def _forget(session: Session, entities: Iterable[Any], names: Iterable[str]) -> None:
    wanted = set(names)
    for entity in entities:
        if entity in session:
            session.expire(entity, wanted & sa.inspect(entity).unmodified)
