"""What a revision may do again: work that finds out by itself what is left to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dal.migrate.journal.steps import current_steps


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Run the block's statements each time that the revision runs, also when it goes on.

    None of them is journalled. For code that looks at what is there and does the rest, and for
    values that are made anew each time (a time, a random key).
    """
    steps = current_steps()
    with steps.not_journalled() if steps is not None else contextlib.nullcontext():
        yield
