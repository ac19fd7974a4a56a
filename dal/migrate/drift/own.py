"""Which tables are this service's: another's are not dropped for want of a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

log = logging.getLogger(__name__)


class OwnTables:
    """`include_name` for Alembic: tables that a model names; the others are left alone, and named.

    A table whose model was deleted is dropped by a revision in which `op.drop_table` is written.
    """

    def __init__(self, metadata: sa.MetaData | Sequence[sa.MetaData]) -> None:
        several = [metadata] if isinstance(metadata, sa.MetaData) else metadata
        self._own = {(table.schema, table.name) for one in several for table in one.tables.values()}
        self._named = {name.lower() for _, name in self._own}

    def __call__(
        self,
        name: str | None,
        kind: str,
        parents: Mapping[str, str | None],  # noqa: ARG002  # Alembic's form
    ) -> bool:
        """Answer whether Alembic may compare what is called so."""
        if kind != "table" or name is None:
            return True
        is_own = name.lower() in self._named
        if not is_own:
            log.info("table %s has no model: left alone", name)
        return is_own
