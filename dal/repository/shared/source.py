"""What every part of a repository stands on: its model, and the session to work on."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Mapper

from dal.database import Database
from dal.errors import InvalidArgument

Row = TypeVar("Row")


class Source(Generic[Row]):
    """The rows of one mapped class, and where to find a session for them."""

    model: ClassVar[type[Any]]

    def __init__(self, source: Database | orm.Session) -> None:
        """Take the database, or a session to work on outside a scope."""
        if not hasattr(type(self), "model"):
            raise InvalidArgument(
                f"{type(self).__name__} names no model: write class Users(Repository[User])"
            )
        if not isinstance(source, Database | orm.Session):
            raise InvalidArgument(
                f"a repository wants a Database or a Session, not {type(source).__name__}"
            )
        self._source = source

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the model from the type argument, once.

        Raises:
            InvalidArgument: the argument is not a mapped class.
        """
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            origin = get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Source):
                arguments = [a for a in get_args(base) if not isinstance(a, TypeVar)]
                if not arguments:
                    return
                model = arguments[0]
                if not isinstance(sa.inspect(model, raiseerr=False), Mapper):
                    raise InvalidArgument(
                        f"{cls.__name__}: Repository[...] wants a mapped class, not "
                        f"{getattr(model, '__name__', type(model).__name__)}"
                    )
                cls.model = model

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model.__name__})"

    @property
    def session(self) -> orm.Session:
        """The session to work on: that of the current scope, or the one given."""
        return self._source.session if isinstance(self._source, Database) else self._source
