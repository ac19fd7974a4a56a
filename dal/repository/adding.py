"""Many new rows with the keys that the server makes, in few statements.

SQLAlchemy inserts such rows one by one, since an INSERT of many tells only its first key. The
others follow from it: for an INSERT whose rows can be counted in advance InnoDB reserves all keys
at once, whatever its `innodb_autoinc_lock_mode` and whoever inserts meanwhile (manual,
"AUTO_INCREMENT Handling in InnoDB": no gaps within one simple insert,
https://dev.mysql.com/doc/refman/8.4/en/innodb-auto-increment-handling.html). Connector/J's
getGeneratedKeys stands on the same. They are `auto_increment_increment` apart, which is not 1 on
multi-primary clusters. A trigger that sets the key itself is the one thing that breaks this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import InstanceState, Mapper, attributes

from dal.repository.batches import Batches, send_rows
from dal.repository.identity import is_expression
from dal.repository.versions import first_version
from dal.scope import Session

#: With two rows, asking how far keys are apart costs what it spares.
FEWEST = 3

_SESSION_EVENTS = ("before_flush", "after_flush", "after_flush_postexec")
_MAPPER_EVENTS = ("before_insert", "after_insert")


def keys_can_be_told(session: orm.Session, entities: Sequence[object]) -> bool:
    """Return whether inserting them is all there is to do, and the server counts up their keys."""
    if len(entities) < FEWEST or not isinstance(session, Session):
        return False
    states = [sa.inspect(entity) for entity in entities]
    mapper: Mapper[Any] = states[0].mapper
    if any(state.mapper is not mapper or not state.transient for state in states):
        return False
    if len(set(map(id, entities))) < len(entities) or not _is_simple(session, mapper):
        return False
    key = mapper.get_property_by_column(mapper.primary_key[0]).key
    related = [relationship.key for relationship in mapper.relationships]
    return all(
        state.dict.get(key) is None
        and not any(state.dict.get(name) for name in related)
        and not any(is_expression(value) for value in state.dict.values())
        for state in states
    )


def _is_simple(session: orm.Session, mapper: Mapper[Any]) -> bool:
    table = mapper.local_table
    return (
        isinstance(table, sa.Table)
        and len(mapper.tables) == 1
        and list(mapper.primary_key) == [table.autoincrement_column]
        and mapper.primary_key[0].default is None
        and not dataclasses.is_dataclass(mapper.class_)  # its defaults are the flush's
        and not any(getattr(session.dispatch, name) for name in _SESSION_EVENTS)
        and not any(getattr(mapper.dispatch, name) for name in _MAPPER_EVENTS)
    )


def add_with_keys(session: orm.Session, entities: Sequence[Any]) -> None:
    """Insert entities of which `keys_can_be_told` is true; fails as a flush does."""
    assert isinstance(session, Session)  # noqa: S101
    session.flush()  # what is pending was there first
    session.add_all(entities)
    states = [sa.inspect(entity) for entity in entities]
    mapper: Mapper[Any] = states[0].mapper
    rows = [(state, _row(mapper, state)) for state in states]
    with session.no_autoflush, session._working():  # noqa: SLF001
        step = session.scalar(sa.text("SELECT @@auto_increment_increment"))
        for _, alike in groupby(rows, key=lambda row: sorted(row[1])):
            some = list(alike)
            statement = sa.insert(mapper.local_table)  # type: ignore[arg-type]
            batches = send_rows(session, mapper, statement, [row for _, row in some])
            keys = _keys(batches, step)
            for (state, _), key, row in zip(some, keys, batches.parameters, strict=True):
                _stored(mapper, state, key, row)
        # As the flush does: known by their keys, and forgotten where a savepoint is undone.
        session._register_persistent(set(states))  # noqa: SLF001


def _row(mapper: Mapper[Any], state: InstanceState[Any]) -> dict[str, Any]:
    """Return what a flush would insert: None is NULL only where no default stands for it."""
    values: dict[str, Any] = {}
    for name, column in _columns(mapper):
        value = state.dict.get(name)
        is_set = value is not None or (name in state.dict and column.type.should_evaluate_none)
        has_default = column.default is not None or column.server_default is not None
        if is_set or not (has_default or column.type.should_evaluate_none):
            values[column.key] = value
    return values | first_version(mapper)


def _columns(mapper: Mapper[Any]) -> Iterator[tuple[str, sa.Column[Any]]]:
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        if isinstance(column, sa.Column) and not column.primary_key:
            yield attribute.key, column


def _keys(batches: Batches, step: int) -> Iterator[int]:
    for batch in batches.sent:
        for number in range(batch.rows):
            yield batch.first_key + number * step


def _stored(mapper: Mapper[Any], state: InstanceState[Any], key: int, row: Any) -> None:
    """Give the entity what was inserted; what the server chose is loaded when it is touched."""
    (key_column,) = mapper.primary_key
    name = mapper.get_property_by_column(key_column).key
    attributes.set_committed_value(state.obj(), name, key)
    unknown = []
    for name, column in _columns(mapper):
        if column.key not in row:
            unknown.append(name)
        elif state.dict.get(name) is None:
            attributes.set_committed_value(state.obj(), name, row[column.key])
    state._expire_attributes(state.dict, unknown)  # noqa: SLF001
