"""Freshness must not hide the lost update: a version column is checked by reads and writes.

SQLAlchemy checks the version of a mapper with `version_id_col` in every UPDATE and DELETE of a
flush. A refresh in between would defeat that: read version 1, another transaction commits 2, any
list query brings the entity to 2, and what was decided on 1 is written over 2. So in a read-write
scope such a read raises; `session.refresh(entity)` asks for the newer row by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import ORMExecuteState
from sqlalchemy.orm.context import QueryContext
from sqlalchemy.orm.exc import StaleDataError

from dal.errors import InvalidArgument, StaleVersion

_LOAD_OPTIONS = "_sa_orm_load_options"


def loads_versions(state: ORMExecuteState) -> bool:
    """Return whether a model that this SELECT could load has a version, which it then brings.

    `load_only()` leaves it out as it does not leave out the key; it is as much a part of what was
    read, and a statement that is made once serves every scope.
    """
    mapper = state.bind_mapper
    if mapper is None:
        return False
    versioned = [each for each in mapper.registry.mappers if each.version_id_col is not None]
    for each in versioned:
        each._should_undefer_in_wildcard.add(each.version_id_col)  # noqa: SLF001
    return bool(versioned)


def check_versions_read(state: ORMExecuteState) -> None:
    """Let this SELECT raise SQLAlchemy's `StaleDataError` instead of changing a version."""
    options = state.execution_options.get(_LOAD_OPTIONS, QueryContext.default_load_options)
    # SQLAlchemy's own check, which it makes for session.refresh(with_for_update=True) alone.
    state.update_execution_options(**{_LOAD_OPTIONS: options + {"_version_check": True}})


@contextlib.contextmanager
def stale_versions_named() -> Iterator[None]:
    """Raise `StaleVersion` in place of SQLAlchemy's `StaleDataError`."""
    try:
        yield
    except StaleDataError as error:
        raise StaleVersion(
            "another transaction changed or deleted a row that this scope has read; run the whole "
            f"unit of work again ({error})"
        ) from error


def refuse_versions_set_by_hand(session: orm.Session) -> None:
    """Raise `InvalidArgument` if a version was assigned that its mapper counts by itself."""
    for entity in session.dirty:
        mapper: orm.Mapper[Any] = sa.inspect(entity).mapper
        if mapper.version_id_col is None or mapper.version_id_generator is False:
            continue
        name = mapper.get_property_by_column(mapper.version_id_col).key
        if sa.inspect(entity).attrs[name].history.has_changes():
            raise InvalidArgument(
                f"{type(entity).__name__}.{name} is the version, which is never set by hand"
            )
