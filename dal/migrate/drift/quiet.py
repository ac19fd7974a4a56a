"""Warnings of what the server is asked about anyway."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

_ANSWERED = (
    r"Computed default on .* cannot be modified",
    r"Skipped unsupported reflection of expression-based index",
    r"Did not recognize type",
)


@contextlib.contextmanager
def without_answered_warnings() -> Iterator[None]:
    """Run Alembic's comparison without its warnings of what it cannot compare: `compare` can."""
    with warnings.catch_warnings():
        for message in _ANSWERED:
            warnings.filterwarnings("ignore", message=message)
        yield
