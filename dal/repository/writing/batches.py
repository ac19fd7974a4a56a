"""One INSERT of many rows, sent as few statements: split by bytes, whole or not at all.

SQLAlchemy prepares the rows, types and Python-side defaults, as for any `executemany`. PyMySQL
would send one statement a row wherever its regular expression does not recognise the INSERT (a
function among the values, MySQL 8's row alias), would split at a limit of its own, and would keep
the first key of the last statement only.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pymysql
import sqlalchemy as sa
from sqlalchemy import event, orm
from sqlalchemy.engine import Engine

from dal.engine import Settings
from dal.errors import STATEMENT_ONLY

_OPTION = "dal_batches"
_SAVEPOINT = "dal_rows"
# In linear time: what begins and never ends is taken to the end, and nothing is given back.
_TOKEN = re.compile(
    r"""
      %\([^()%]*+\)s
    | `(?:[^`]|``)*+(?:`|\Z)
    | '(?:[^'\\]|\\.|'')*+(?:'|\\?\Z)
    | "(?:[^"\\]|\\.|"")*+(?:"|\\?\Z)
    | \( | \) | \bVALUES\b
    """,
    re.VERBOSE | re.DOTALL,
)
_PLACE = re.compile(r"%%|%(?:\((?P<name>[^()%]*+)\))?s")


# Not event.contains(): that goes by id(), which a later engine may have again.
_listened_to: weakref.WeakSet[Engine] = weakref.WeakSet()


class Batch(NamedTuple):
    """What one statement did."""

    rows: int
    affected: int
    first_key: int
    """`LAST_INSERT_ID()` of the statement: the key that the server made for its first row."""


class Batches:
    """What all statements of one call did."""

    def __init__(self) -> None:
        self.sent: list[Batch] = []
        #: The rows by column key, with the values of Python-side defaults.
        self.parameters: Sequence[Mapping[str, Any]] = ()

    @property
    def affected(self) -> int:
        """The server's count of affected rows."""
        return sum(batch.affected for batch in self.sent)


def send_rows(
    session: orm.Session, mapper: orm.Mapper[Any], statement: Any, rows: list[dict[str, Any]]
) -> Batches:
    """Execute an INSERT for all rows, none of them if one fails.

    One statement; where the rows are longer than `max_statement_bytes`, as few as that allows,
    and a savepoint around them, which is two more. A row that is longer by itself goes alone.
    """
    engine = session.get_bind(mapper).engine
    if engine not in _listened_to:
        _listened_to.add(engine)
        event.listen(engine, "do_executemany", _send)
        event.listen(engine, "do_execute", _send)  # a list of one row
    batches = Batches()
    session.execute(
        statement.inline(),  # asks for no keys
        rows,
        bind_arguments={"mapper": mapper},
        # Whole or not at all: an error need not end the scope, as one of executemany does.
        execution_options={_OPTION: batches, "dal_is_whole": True},
    )
    return batches


def _send(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """Take the place of the driver's `execute` and `executemany` where `send_rows` asks for it."""
    batches: Batches | None = context.execution_options.get(_OPTION)
    if batches is None:
        return False
    rows = parameters if context.executemany else [parameters]
    batches.parameters = context.compiled_parameters
    settings: Any = getattr(cursor.connection, "settings", Settings)
    texts = _texts(statement, rows, cursor, settings.max_statement_bytes)
    text, size, is_last = next(texts)
    if is_last:
        _execute(cursor, batches, text, size)
        return True
    cursor.execute(f"SAVEPOINT {_SAVEPOINT}")
    try:
        _execute(cursor, batches, text, size)
        for text, size, _ in texts:
            _execute(cursor, batches, text, size)
    except Exception as error:
        if not isinstance(error, pymysql.Error) or error.args[0] in STATEMENT_ONLY:
            with contextlib.suppress(pymysql.Error):  # the first error is the one to show
                cursor.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        raise
    cursor.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")
    return True


def _execute(cursor: Any, batches: Batches, text: bytes, size: int) -> None:
    affected = cursor.execute(text)
    batches.sent.append(Batch(rows=size, affected=affected, first_key=cursor.lastrowid))


def _texts(
    template: str, rows: Sequence[Any], cursor: Any, limit: int
) -> Iterator[tuple[bytes, int, bool]]:
    """Yield statements: the text, how many rows it has, and whether it is the last."""
    head, values, tail = _parts(template)
    # cursor.mogrify() less its layers, which cost as much as the work: this runs for every row.
    escape, encoding = cursor.connection.escape, cursor.connection.encoding

    def encoded(part: _Part, row: Any) -> bytes:
        values = [row[place] for place in part.places]
        filled: str = part.text % tuple(
            [str(value) if type(value) is int else escape(value) for value in values]
        )
        # PyMySQL's way to carry bytes in a text.
        return filled.encode(encoding, "surrogateescape")

    start, end = encoded(head, rows[0]), encoded(tail, rows[0])
    parts: list[bytes] = []
    length = len(start) + len(end)
    for row in rows:
        part = encoded(values, row)
        if parts and length + len(part) + 1 > limit:
            yield start + b",".join(parts) + end, len(parts), False
            parts, length = [], len(start) + len(end)
        parts.append(part)
        length += len(part) + 1
    yield start + b",".join(parts) + end, len(parts), True


class _Part(NamedTuple):
    text: str
    places: tuple[str | int, ...]
    """What stands at each `%s`: a row's key, or its index where the driver takes tuples."""


@functools.lru_cache(maxsize=128)
def _parts(template: str) -> tuple[_Part, _Part, _Part]:
    """Return what stands before the row of values, the row, and what follows it."""
    depth, start, seen = 0, 0, False
    for token in _TOKEN.finditer(template):
        if token[0] == "VALUES":
            seen = seen or depth == 0
        elif token[0] == "(":
            if seen and depth == 0:
                start = token.start()
            depth += 1
        elif token[0] == ")":
            depth -= 1
            if seen and depth == 0:
                count = itertools.count()
                head, values, tail = (
                    _part(text, count)
                    for text in (
                        template[:start],
                        template[start : token.end()],
                        template[token.end() :],
                    )
                )
                return head, values, tail
    raise sa.exc.CompileError(f"no VALUES in {template!r}")


def _part(text: str, count: Iterator[int]) -> _Part:
    places: list[str | int] = []

    def plain(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%%"
        places.append(found["name"] or next(count))
        return "%s"

    return _Part(_PLACE.sub(plain, text), tuple(places))
