"""Several changes of one table in one ALTER: it is copied or rebuilt once, not once for each."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from alembic import op

from dal.errors import UsageError
from dal.migrate.journal.steps import current_steps, short

_NAME = r"(?:`(?:[^`]|``)+`|[\w$]+)"
_ALTER = re.compile(rf"\s*ALTER\s+TABLE\s+({_NAME})\s+(.*?)\s*;?\s*", re.IGNORECASE | re.DOTALL)
_CREATE = re.compile(
    rf"\s*CREATE\s+((?:UNIQUE|FULLTEXT|SPATIAL)\s+)?INDEX\s+({_NAME})\s+ON\s+({_NAME})\s*(.*?)\s*;?\s*",
    re.IGNORECASE | re.DOTALL,
)
_DROP = re.compile(
    rf"\s*DROP\s+INDEX\s+({_NAME})\s+ON\s+({_NAME})\s*;?\s*", re.IGNORECASE | re.DOTALL
)


@contextlib.contextmanager
def one_alter(table: str) -> Iterator[None]:
    """Join all changes of `table` that the block sends, and send them as one ALTER at its end.

    One change that has to copy makes a copy of all of them: do not join it with those that MySQL
    does at once. Offline (`--sql`) the statements are written one by one.

    Raises:
        UsageError: the block sends something else. Nothing of it was sent.
    """
    steps = current_steps()
    if steps is None:
        yield
        return
    with steps.collecting() as collected:
        yield
    parts = [_part(sql, table) for sql in collected]
    if parts:
        quoted = "`" + table.replace("`", "``") + "`"
        op.get_bind().exec_driver_sql(f"ALTER TABLE {quoted} " + ", ".join(parts))


def _part(sql: str, table: str) -> str:
    if found := _ALTER.fullmatch(sql):
        name, part = found[1], found[2]
    elif found := _CREATE.fullmatch(sql):
        name, part = found[3], f"ADD {found[1] or ''}INDEX {found[2]} {found[4]}"
    elif found := _DROP.fullmatch(sql):
        name, part = found[2], f"DROP INDEX {found[1]}"
    else:
        name, part = "", ""
    if name.strip("`").replace("``", "`").lower() != table.lower():
        raise UsageError(
            f"one_alter({table!r}) joins changes of that table alone, not: {short(sql)}"
        )
    return part
