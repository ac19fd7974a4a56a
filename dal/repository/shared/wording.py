"""How a message tells what was given: by type and place, since errors end in logs."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import QueryableAttribute

_LONGEST_NAME = 64  # MySQL's, of a column


def described(given: object) -> str:
    """Return what was given, in words that hold no value: an attribute of a model, or a type."""
    if isinstance(given, QueryableAttribute):
        return str(given)
    if isinstance(given, sa.TextClause):
        return "text(): wrap raw SQL in literal_column()"
    return type(given).__name__


def shown_name(name: object) -> str:
    """Return a name that was given for an attribute, if it may be one; else its type."""
    is_name = isinstance(name, str) and name.isidentifier() and len(name) <= _LONGEST_NAME
    return str(name) if is_name else f"<{type(name).__name__}>"
