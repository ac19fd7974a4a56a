"""A version that every write checks and moves on: optimistic locking."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, declared_attr, mapped_column


class Versioned:
    """Mixin: `version`, 1 for a new row and one more with every UPDATE.

    A write of an entity whose row has another version by now raises `StaleVersion`, and so does a
    read in a read-write scope that would bring the newer row into the entity. It is never set by
    hand. A class with `__mapper_args__` of its own names `version_id_col` there.
    """

    version: Mapped[int] = mapped_column(sa.Integer, server_default=sa.text("1"), sort_order=9002)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805
        """Name the version to SQLAlchemy."""
        return {"version_id_col": cls.version}
