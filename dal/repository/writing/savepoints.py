"""A savepoint on whatever session a repository stands on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import orm

from dal.scope import Session


def savepoint(session: orm.Session) -> AbstractContextManager[Any]:
    """Return a block that undoes what it wrote, and nothing else, if it raises."""
    if isinstance(session, Session):
        return session._scope.savepoint()  # noqa: SLF001  # refused on the session itself
    return session.begin_nested()
