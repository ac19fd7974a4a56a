"""Many new entities in few statements, with their keys.

SQLAlchemy inserts one by one where the server counts up the keys or a default makes them, and the
driver splits what it puts together at a limit of its own. An INSERT of many rows tells the first
key. The others follow from it: for an INSERT whose rows can be counted in advance InnoDB reserves
all keys at once, whatever its `innodb_autoinc_lock_mode` and whoever inserts meanwhile (manual,
"AUTO_INCREMENT Handling in InnoDB": no gaps within one simple insert,
https://dev.mysql.com/doc/refman/8.4/en/innodb-auto-increment-handling.html). Connector/J's
getGeneratedKeys stands on the same. They are `auto_increment_increment` apart, which is not 1 on
multi-primary clusters. A trigger that sets the key itself is the one thing that breaks this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import InstanceState, Mapper, PassiveFlag, attributes

from dal.repository.shared.identity import is_expression
from dal.repository.shared.versions import first_version
from dal.repository.writing.batches import Batches, send_rows
from dal.scope import Session

#: With two rows, asking how far keys are apart costs what it spares.
FEWEST_COUNTED = 3

_SESSION_EVENTS = ("before_flush", "after_flush", "after_flush_postexec")
_MAPPER_EVENTS = ("before_insert", "after_insert")


def is_just_inserting(session: orm.Session, entities: Sequence[object]) -> bool:
    """Return whether one INSERT says it all: no related rows, no listeners, and keys to be told."""
    if len(entities) < 2 or not isinstance(session, Session):
        return False
    states: list[InstanceState[Any]] = [sa.inspect(entity) for entity in entities]
    mapper: Mapper[Any] = states[0].mapper
    if any(state.mapper is not mapper or not state.transient for state in states):
        return False
    if len(set(map(id, entities))) < len(entities) or not _is_simple(session, mapper):
        return False
    related = [relationship.key for relationship in mapper.relationships]
    return _have_keys(mapper, states) and not any(
        any(_is_related(state, name) for name in related)
        or any(is_expression(value) for value in state.dict.values())
        for state in states
    )


def _is_related(state: InstanceState[Any], name: str) -> bool:
    """Return whether this relationship leads somewhere; an entity may be false, or equal None."""
    if state.dict.get(name) is None:
        return False
    added = state.get_history(name, PassiveFlag.PASSIVE_NO_INITIALIZE).added
    return any(each is not None for each in added or ())


def _is_simple(session: orm.Session, mapper: Mapper[Any]) -> bool:
    return (
        isinstance(mapper.local_table, sa.Table)
        and len(mapper.tables) == 1
        and not dataclasses.is_dataclass(mapper.class_)  # its defaults are the flush's
        and not any(getattr(session.dispatch, name) for name in _SESSION_EVENTS)
        and not any(getattr(mapper.dispatch, name) for name in _MAPPER_EVENTS)
    )


def _have_keys(mapper: Mapper[Any], states: Sequence[InstanceState[Any]]) -> bool:
    names = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    if _counted_key(mapper) is not None and all(
        state.dict.get(names[0]) is None for state in states
    ):
        return len(states) >= FEWEST_COUNTED
    return all(
        state.dict.get(name) is not None
        or (column.default is not None and (column.default.is_callable or column.default.is_scalar))
        for state in states
        for name, column in zip(names, mapper.primary_key, strict=True)
    )


def _counted_key(mapper: Mapper[Any]) -> sa.Column[Any] | None:
    """Return the key that the server counts up; None where the client makes the keys."""
    column: Any = mapper.primary_key[0]
    is_counted = len(mapper.primary_key) == 1 and column is column.table.autoincrement_column
    return column if is_counted and column.default is None else None


def insert_entities(session: orm.Session, entities: Sequence[Any]) -> None:
    """Insert entities of which `is_just_inserting` is true; fails as a flush does."""
    assert isinstance(session, Session)  # noqa: S101
    session.flush()  # what is pending was there first
    session.add_all(entities)
    states: list[InstanceState[Any]] = [sa.inspect(entity) for entity in entities]
    mapper: Mapper[Any] = states[0].mapper
    rows = [(state, _row(mapper, state)) for state in states]
    with session.no_autoflush, session.working():
        counted = _counted_key(mapper)
        if counted is None or counted.key in rows[0][1]:
            counted, step = None, 0
        else:
            step = session.scalar(sa.text("SELECT @@auto_increment_increment"))
        for _, group in groupby(rows, key=lambda row: sorted(row[1])):
            alike = list(group)
            statement = sa.insert(mapper.local_table)  # type: ignore[arg-type]
            batches = send_rows(session, mapper, statement, [row for _, row in alike])
            keys = _keys(batches, step)
            for (state, _), key, row in zip(alike, keys, batches.parameters, strict=True):
                _stored(mapper, state, row if counted is None else {**row, counted.key: key})
        # As the flush does: known by their keys, and forgotten where a savepoint is undone.
        session._register_persistent(set(states))  # noqa: SLF001


def _row(mapper: Mapper[Any], state: InstanceState[Any]) -> dict[str, Any]:
    """Return what a flush would insert: None is NULL only where no default stands for it."""
    values: dict[str, Any] = {}
    for name, column in _columns(mapper):
        value = state.dict.get(name)
        is_set = value is not None or (name in state.dict and column.type.should_evaluate_none)
        has_default = column.default is not None or column.server_default is not None
        is_null = not has_default and not column.primary_key
        if is_set or (is_null and not column.type.should_evaluate_none):
            values[column.key] = value
    return values | first_version(mapper)


def _columns(mapper: Mapper[Any]) -> Iterator[tuple[str, sa.Column[Any]]]:
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        if isinstance(column, sa.Column):
            yield attribute.key, column


def _keys(batches: Batches, step: int) -> Iterator[int]:
    for batch in batches.sent:
        for number in range(batch.rows):
            yield batch.first_key + number * step


def _stored(mapper: Mapper[Any], state: InstanceState[Any], row: Mapping[str, Any]) -> None:
    """Give the entity what was inserted; what the server chose is loaded when it is touched."""
    unknown, made = [], []
    for name, column in _columns(mapper):
        if column.key not in row:
            unknown.append(name)
        elif state.dict.get(name) is None:
            attributes.set_committed_value(state.obj(), name, row[column.key])
            made.append(name)
    if made:  # as a flush tells of defaults: a MutableDict made by one is tracked then
        state.manager.dispatch.refresh_flush(state, None, made)
    state._expire_attributes(state.dict, unknown)  # noqa: SLF001
