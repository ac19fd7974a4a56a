"""The entities that the session holds: they follow what is written around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, orm
from sqlalchemy.orm import Mapper, attributes

from dal.repository.shared.identity import (
    is_exact,
    is_expression,
    key_condition,
    keys_condition,
)
from dal.repository.shared.versions import version_name


def held_entity(session: orm.Session, mapper: Mapper[Any], identity: tuple[Any, ...]) -> Any | None:
    """Return the entity of the row that the server finds by this key.

    None where the session holds none, or your code no more. A key may be spelled in several ways,
    'ADA' or 'ada': where it is not known as it is spelled and entities are held, one SELECT asks
    for the row's own spelling.
    """
    if session.autoflush:
        session.flush()  # a pending entity may be meant; a pending change moves its version on
    held = session.identity_map.get(mapper.identity_key_from_primary_key(identity))
    if held is not None or is_exact(mapper.class_, identity):
        return held
    if not held_entities(session, mapper):
        return None
    query = sa.select(*_key(mapper)).where(key_condition(mapper.class_, identity))
    row = session.execute(query).first()
    if row is None:
        return None
    return session.identity_map.get(mapper.identity_key_from_primary_key(tuple(row)))


def _key(mapper: Mapper[Any]) -> list[Any]:
    return [mapper.get_property_by_column(column).class_attribute for column in mapper.primary_key]


def held_entities(session: orm.Session, mapper: Mapper[Any]) -> list[Any]:
    """Return all entities of this class."""
    held = session.identity_map.values()
    return [entity for entity in held if isinstance(entity, mapper.class_)]


def locked_fitting(
    session: orm.Session, mapper: Mapper[Any], conditions: Sequence[ColumnElement[bool]]
) -> list[tuple[Any, Any]]:
    """Return the entities whose rows fit, with the versions of those rows; locks the rows.

    One SELECT, and none where nothing is held. Without the lock another transaction could change a
    row before it is written, and its entity would pass for the newer one.
    """
    if session.autoflush:
        session.flush()  # a pending change may fit, and moves a version on
    held = {sa.inspect(each).identity: each for each in held_entities(session, mapper)}
    if not held:
        return []
    name = version_name(mapper)
    key = _key(mapper)
    version = [getattr(mapper.class_, name)] if name else []
    query = sa.select(*key, *version).where(*conditions)
    if not any(isinstance(column.type, sa.Float) for column in mapper.primary_key):
        # A FLOAT, or a DOUBLE that is read as a Decimal, is not found by the value that was read.
        query = query.where(keys_condition(mapper.class_, list(held)))
    found = session.execute(query.with_for_update()).all()
    size = len(key)
    return [
        (held[tuple(row[:size])], row[size] if version else None)
        for row in found
        if tuple(row[:size]) in held
    ]


def bring_up(
    session: orm.Session,
    mapper: Mapper[Any],
    entity: Any,
    values: Mapping[str, Any],
    *,
    version: Any = None,
) -> None:
    """Give the entity what its row was changed to; what the server computed is loaded when touched.

    Args:
        session: The session that holds it.
        mapper: Its mapper.
        entity: The entity.
        values: The changes by attribute name, the next version among them.
        version: The version that the row had before, where the change does not tell the next. An
            entity of another version keeps it: it has missed a change, and must not hide that.
    """
    of_version = version_name(mapper)
    stale = {
        attribute.key
        for attribute in mapper.column_attrs
        for column in attribute.columns[:1]
        if isinstance(column, sa.Column)
        and (column.onupdate is not None or column.server_onupdate is not None)
    }
    known = []
    for name, value in values.items():
        if not is_expression(value):
            attributes.set_committed_value(entity, name, value)
            known.append(name)
            stale.discard(name)
        elif name != of_version:
            stale.add(name)
        elif version is not None and sa.inspect(entity).dict.get(name) == version:
            attributes.set_committed_value(entity, name, version + 1)
    if known:  # what stands on these follows: MutableDict and its like, composite attributes
        state = sa.inspect(entity)
        state.manager.dispatch.refresh(state, None, known)
    if stale:
        session.expire(entity, stale)
