"""The driver's cursors, whose `executemany()` counts as a whole.

PyMySQL sends it as several statements. Of one that fails, those before stand, and a scope that went
on would commit them: half of the work.
"""

from __future__ import annotations

import functools
from typing import Any

from pymysql.cursors import Cursor


class _Whole:
    """Goes before a class of PyMySQL's cursors."""

    connection: Any

    def executemany(self, query: str, args: Any) -> int | None:
        """Run `query` with each of `args`; if one fails, the owner hears that others may stand."""
        try:
            return executemany(self, query, args)
        except BaseException as error:
            owner = self.connection.owner
            if owner is not None:
                owner.half_done(error)
            raise


def executemany(cursor: Any, query: str, args: Any) -> int | None:
    """Run `query` with each of `args`, as PyMySQL does; for who looks after the whole himself."""
    rows: int | None = Cursor.executemany(cursor, query, args)
    return rows


@functools.cache
def whole(kind: type[Cursor]) -> type[Cursor]:
    """Return this class of cursors with an `executemany()` that counts as a whole."""
    return type(kind.__name__, (_Whole, kind), {})
