"""The driver's cursors, whose `executemany()` counts as a whole, and whose streams end in time.

PyMySQL sends `executemany()` as several statements. Of one that fails, those before stand, and a
scope that went on would commit them: half of the work.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from pymysql.cursors import Cursor, SSCursor


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


class _Streaming(_Whole):
    """The same for cursors that stream."""

    def close(self) -> None:
        """Read what is left of the stream; the connection hears that the line is free."""
        connection = self.connection
        super().close()  # type: ignore[misc]
        if connection is not None:
            connection.answered_all()

    def __del__(self) -> None:
        """Do the same for who left the stream; what failed, the owner has heard, and raises."""
        with contextlib.suppress(Exception):
            self.close()


def executemany(cursor: Any, query: str, args: Any) -> int | None:
    """Run `query` with each of `args`, as PyMySQL does; for who looks after the whole himself."""
    rows: int | None = Cursor.executemany(cursor, query, args)
    return rows


@functools.cache
def whole(kind: type[Cursor]) -> type[Cursor]:
    """Return this class of cursors with an `executemany()` that counts as a whole."""
    extra = _Streaming if issubclass(kind, SSCursor) else _Whole
    return type(kind.__name__, (extra, kind), {})
