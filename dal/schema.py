"""The tables that `dal` itself needs, as metadata: Alembic's autogenerate sees them."""

from __future__ import annotations

import sqlalchemy as sa

from dal import idempotency, outbox
from dal.settings import TABLE_PREFIX


def tables(metadata: sa.MetaData, *, prefix: str = TABLE_PREFIX) -> None:
    """Add `dal`'s own tables to `metadata`: call it once, where the metadata of your models is.

    Args:
        metadata: That which migrations are made from, such as `Base.metadata`.
        prefix: What the names of the tables begin with: the setting `table_prefix`.
    """
    idempotency.add_table(metadata, prefix)
    outbox.add_tables(metadata, prefix)
