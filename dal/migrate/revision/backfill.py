"""Filling a column in a big table, in steps that nobody notices and that a crash does not undo."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from dal.errors import InvalidArgument
from dal.migrate.journal.steps import Steps, current_steps

#: Seconds that one batch may take: so long at most a write waits for its rows.
_BATCH_SECONDS = 0.1
_FIRST_BATCH = 500
_LARGEST_BATCH = 20_000


def backfill(
    table: str,
    *,
    set: Mapping[str, Any],  # noqa: A002  # as the statement says it
    where: Any = None,
    key: str = "id",
) -> int:
    """Update the rows of a table by its key, batch by batch; return how many were matched.

    Each batch commits its rows together with the position, so that a run after a crash goes on
    there and no row is changed twice. A batch takes a tenth of a second, and the pause after it as
    long. What was written before in the revision is committed first.

    Args:
        table: The table.
        set: The new values by column: values, or expressions such as `sa.text("price * 100")`.
        where: Which rows, as text or expression; all by default.
        key: The column to go by: one, with a unique index, whole numbers or text.

    Raises:
        InvalidArgument: nothing to set, or a key of another type.
    """
    if not set:
        raise InvalidArgument(
            "backfill() wants what to set, such as set={'total': sa.text('a + b')}"
        )
    columns: list[Any] = [sa.column(name) for name in {*set, key}]
    target = sa.table(table, *columns)
    # literal() knows the type of a value, which a column without one does not.
    values = {
        name: it
        if hasattr(it, "__clause_element__") or isinstance(it, sa.ClauseElement)
        else sa.literal(it)
        for name, it in set.items()
    }
    change = target.update().values(values)
    if where is not None:
        change = change.where(sa.text(where) if isinstance(where, str) else where)
    steps = current_steps()
    if steps is None:  # offline, or no run(): one statement
        op.execute(change)
        return 0
    compiled = change.compile(dialect=op.get_bind().dialect)
    text = f"backfill {table} by {key}: {compiled}"
    with steps.backfilling(text, sorted(compiled.params.items())) as progress:
        if progress is not None:
            _walk(steps, progress, target, change, key)
        return steps.backfilled


def _walk(steps: Steps, progress: Any, target: Any, change: Any, key: str) -> None:
    bind, column = op.get_bind(), target.c[key]
    size = _FIRST_BATCH
    with _shown(target.name) as tell:
        while True:
            steps.check_time()
            began = time.monotonic()
            last, count = progress.position or (None, 0)
            after = [] if last is None else [column > last]
            page = sa.select(column).where(*after).order_by(column).limit(size).subquery()
            upper = bind.execute(sa.select(sa.func.max(page.c[key]))).scalar()
            if upper is None:
                return
            if isinstance(upper, bool) or not isinstance(upper, int | str):
                raise InvalidArgument(f"the key {key} is of type {type(upper).__name__}")
            done = bind.execute(change.where(*after, column <= upper)).rowcount
            steps.at_position([upper, count + done])
            took = time.monotonic() - began
            tell(count + done)
            size = max(1, min(_LARGEST_BATCH, size * 2, int(size * _BATCH_SECONDS / took)))
            time.sleep(min(took, 1.0))


@contextlib.contextmanager
def _shown(table: str) -> Iterator[Any]:
    """Show the progress on a terminal, where rich is installed."""
    try:
        from rich.console import Console  # noqa: PLC0415  # the extra `cli`
    except ModuleNotFoundError:
        yield lambda _: None
        return
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Console(stderr=True).status(f"{table}: begins") as shown:
        yield lambda count: shown.update(f"{table}: {count:,} rows")
