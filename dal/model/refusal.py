"""The error of a column type that refuses a value."""

from __future__ import annotations

from sqlalchemy.exc import DontWrapMixin

from dal.errors import InvalidArgument


class RefusedValue(InvalidArgument, DontWrapMixin):
    """An `InvalidArgument` that SQLAlchemy passes on as it is, from inside a statement."""
