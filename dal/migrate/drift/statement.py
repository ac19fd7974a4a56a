"""Statements and expressions as they stand in a revision."""

from __future__ import annotations

import functools
import re
from typing import Any

from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

# What text() would take for a parameter.
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)")


def as_text(sql: str) -> str:
    """Return SQL as text() wants it: a colon in a string is none of a parameter."""
    return _PARAMETER.sub(r"\\:", sql)


class Statement(ops.ExecuteSQLOp):
    """`op.execute()`, with the statement that takes it back."""

    def __init__(self, sql: str, back: str) -> None:
        super().__init__(as_text(sql))
        self.sql, self.back = sql, back

    def reverse(self) -> Statement:
        """Return the statement that takes this one back."""
        return Statement(self.back, self.sql)


def write_expressions_once(context: MigrationContext) -> None:
    """Make Alembic write expressions as they came: SQLAlchemy escapes them again when they run.

    Compiled for PyMySQL a % is doubled, and the escape of a colon is gone. So a CHECK of
    `LIKE 'a%'` would come out of its revision as `LIKE 'a%%'`.
    """
    compiled = context.impl.render_ddl_sql_expr
    if getattr(compiled, "func", None) is _written:
        return
    context.impl.render_ddl_sql_expr = functools.partial(_written, compiled)  # type: ignore[method-assign]


def _written(compiled: Any, expression: Any, is_index: bool = False, **rest: Any) -> str:  # noqa: FBT001, FBT002
    sql = str(compiled(expression, is_index=is_index, **rest)).replace("%%", "%")
    return sql if is_index else as_text(sql)  # an index's are literal_column(), which has no escape
