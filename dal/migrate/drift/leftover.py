"""The index that InnoDB makes for a foreign key, and leaves behind when the key is dropped."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops


class IndexOfForeignKey(ops.MigrateOperation):
    """Nothing to do on the way there: the foreign key brings it. On the way back it is dropped."""

    def __init__(self, name: str, table: str, columns: list[str], schema: str | None) -> None:
        self.name, self.table, self.columns, self.schema = name, table, columns, schema

    def reverse(self) -> ops.DropIndexOp:
        """Return what takes the index away."""
        made = ops.CreateIndexOp(self.name, self.table, self.columns, schema=self.schema)
        return ops.DropIndexOp.from_index(made.to_index())

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what `alembic check` prints."""
        return ("add_index_of_foreign_key", self.name, self.table, self.columns)


@renderers.dispatch_for(IndexOfForeignKey)
def _nothing(_context: AutogenContext, _op: IndexOfForeignKey) -> list[str]:
    return []
