"""Keys that the server would change are refused before they are sent.

An entity is known by its key, as Python has it. Where the column rounds it, cuts it, pads it or
counts up in its place (`0` into AUTO_INCREMENT), the row has another key: the next read makes a
second entity of it, and what is written by the first goes past the second. So each value that an
INSERT or an UPDATE gives to a primary key has to be what would be read back.

What a column makes of a value is the manual's: "Data Types"
(https://dev.mysql.com/doc/refman/8.4/en/data-types.html), for AUTO_INCREMENT "Using AUTO_INCREMENT"
(https://dev.mysql.com/doc/refman/8.4/en/example-auto-increment.html). What it refuses by itself in
strict mode, such as a text that is too long, is left to it.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import struct
import uuid
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql.mysqldb import MySQLExecutionContext_mysqldb
from sqlalchemy.engine import Dialect

from dal.errors import InvalidArgument

Check = Callable[[Any], None]
Store = Callable[[Any], Any]

_EXACT = Context(prec=200)
_CHECKS = "_dal_key_checks"


class ExecutionContext(MySQLExecutionContext_mysqldb):
    """SQLAlchemy's context of an execution, which looks at keys before they are sent."""

    def pre_exec(self) -> None:
        """Check the primary keys that the statement writes.

        Raises:
            InvalidArgument: the server would make another key of one.
        """
        if self.isinsert or self.isupdate:
            compiled: Any = self.compiled
            checks = compiled.__dict__.get(_CHECKS)
            if checks is None:
                checks = list(_checks(compiled, self.dialect))
                setattr(compiled, _CHECKS, checks)
            for name, check in checks:
                for row in self.compiled_parameters:
                    check(row.get(name))


def _checks(compiled: Any, dialect: Dialect) -> Iterator[tuple[str, Check]]:
    """Yield the parameters of a statement that are values of a primary key, with their checks."""
    state = compiled.compile_state
    table = state.dml_table
    if not isinstance(table, sa.Table):
        return
    given = [*(state._multi_parameters or ()), state._dict_parameters or {}]  # noqa: SLF001
    for column in table.primary_key:
        check = _check(
            column, dialect, is_counted=compiled.isinsert and column is table.autoincrement_column
        )
        if check is None:
            continue
        # SQLAlchemy's names of parameters: the column's, with several rows also their numbers.
        pattern = re.compile(re.escape(column.key) + r"(?:_m\d+)?")
        names = {name for name in compiled.binds if pattern.fullmatch(name)}
        for values in given:
            names |= {
                compiled.bind_names.get(value, column.key)
                for key, value in values.items()
                if getattr(key, "key", key) == column.key and isinstance(value, sa.BindParameter)
            }
        yield from ((name, check) for name in names if name in compiled.binds)


def _check(column: sa.Column[Any], dialect: Dialect, *, is_counted: bool) -> Check | None:
    """Return what raises `InvalidArgument` for a value of which the row would have another."""
    kind = column.type
    store = _storing(kind, dialect)
    if store is None:
        return None
    bind = kind._cached_bind_processor(dialect)  # noqa: SLF001
    read = kind._cached_result_processor(dialect, None)  # noqa: SLF001
    is_plain_integer = isinstance(kind, sa.Integer)

    def check(value: Any) -> None:
        if value is None or type(value) is uuid.UUID:
            return
        if is_plain_integer and type(value) is int and (value or not is_counted):
            return
        try:
            stored = store(value if bind is None else bind(value))
            if is_counted and stored == 0:
                raise InvalidArgument(
                    f"0 as {column} would not be stored, the server counts up instead: leave it "
                    "out (or, where it does not count, say autoincrement=False in the model)"
                )
            back = stored if read is None else read(stored)
        except _Unknown:
            return
        except _Changed:
            pass
        else:
            equality: Any = type(value).__eq__
            if back == value or equality is object.__eq__:
                return
        raise InvalidArgument(
            f"{column} is part of the primary key, and {kind!r} would make another value of this "
            f"{type(value).__name__}: write it as it is read back"
        )

    return check


def keeper(column: sa.Column[Any]) -> Callable[[Any], bool]:
    """Return what tells whether the column keeps a value as it is, so that it is found again."""
    dialect = _dialect()
    store = _storing(column.type, dialect)
    bind = column.type._cached_bind_processor(dialect)  # noqa: SLF001

    def keeps(value: Any) -> bool:
        if store is None or value is None:
            return True
        try:
            store(value if bind is None else bind(value))
        except _Changed:
            return False
        except Exception:  # noqa: BLE001  # the statement will tell what the type refuses
            return True
        return True

    return keeps


@functools.cache
def _dialect() -> Dialect:
    return mysql.dialect()


class _Changed(Exception):
    """The column would keep another value."""


class _Unknown(Exception):
    """Nobody knows here what the column keeps; the server may refuse the value."""


def _storing(decorated: Any, dialect: Dialect) -> Store | None:  # noqa: C901
    """Return what tells the value that the driver reads back after one was sent.

    It raises `_Changed` where that is another one. None is returned where nobody knows.
    """
    kind = decorated._unwrapped_dialect_impl(dialect)  # noqa: SLF001
    name = kind.__visit_name__
    digits = 6 - (getattr(kind, "fsp", None) or 0)
    if name == "SET":
        return None
    if name == "YEAR":
        return _year
    if isinstance(kind, sa.Integer):
        return _whole
    if isinstance(kind, sa.Float):
        return functools.partial(_float, kind)
    if isinstance(kind, sa.Numeric):
        return functools.partial(_decimal, kind.scale or 0)
    if name in {"ENUM", "enum"} and getattr(kind, "native_enum", True):
        return lambda sent: _same(sent, is_same=sent in kind.enums)
    if isinstance(kind, sa.String):
        return functools.partial(_text, kind)
    if isinstance(kind, sa.BINARY):
        length = kind.length or 1
        return lambda sent: _same(sent, is_same=isinstance(sent, bytes) and len(sent) >= length)
    if isinstance(kind, sa.Date):
        return _date
    if isinstance(kind, sa.DateTime):
        return functools.partial(_point_in_time, 10**digits)
    if isinstance(kind, sa.Time):
        return functools.partial(_time, 10**digits)
    return (lambda sent: sent) if isinstance(kind, sa.Uuid) else None


def _same(sent: Any, *, is_same: bool) -> Any:
    if not is_same:
        raise _Changed
    return sent


def _number(sent: Any) -> Decimal:
    """Return the number that the server takes the value for."""
    if not isinstance(sent, int | float | str | Decimal):
        raise _Unknown
    try:
        number = Decimal(repr(sent) if isinstance(sent, float) else sent)
    except InvalidOperation:
        raise _Unknown from None
    if not number.is_finite():
        raise _Unknown
    return number


def _decimal(scale: int, sent: Any) -> Decimal:
    number = _number(sent)
    try:
        stored = number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, _EXACT)
    except InvalidOperation:
        raise _Unknown from None
    return _same(stored, is_same=stored == number)  # type: ignore[no-any-return]


def _whole(sent: Any) -> int:
    return int(_decimal(0, sent))


def _year(sent: Any) -> int:
    year = _whole(sent)
    # One or two digits are years of our time, but a number 0 is the year 0000.
    return _same(year, is_same=year > 99 or (year == 0 and not isinstance(sent, str)))  # type: ignore[no-any-return]


def _float(kind: Any, sent: Any) -> float:
    number = float(_number(sent))
    if kind.scale is not None:
        _decimal(kind.scale, number)
    is_single = kind.__visit_name__ in {"FLOAT", "float"} and (kind.precision or 0) <= 24
    if is_single:
        # Compared as it is stored, and read with six digits.
        try:
            single = struct.unpack("f", struct.pack("f", number))[0]
        except OverflowError:
            raise _Unknown from None
        if single != number or float(f"{single:.6g}") != number:
            raise _Changed
    return number


def _text(kind: Any, sent: Any) -> str:
    if not isinstance(sent, str):
        raise _Changed
    stored = sent
    if kind.length is not None and not stored[kind.length :].strip(" "):
        stored = stored[: kind.length]
    if kind.__visit_name__ in {"CHAR", "NCHAR"}:
        stored = stored.rstrip(" ")
    return _same(sent, is_same=len(stored) == len(sent))  # type: ignore[no-any-return]


def _date(sent: Any) -> dt.date:
    if isinstance(sent, dt.datetime):
        return _same(sent.date(), is_same=sent.time() == dt.time())  # type: ignore[no-any-return]
    return _from_text(dt.date, sent)  # type: ignore[no-any-return]


def _point_in_time(unit: int, sent: Any) -> dt.datetime:
    if isinstance(sent, dt.date) and not isinstance(sent, dt.datetime):
        return dt.datetime.combine(sent, dt.time())
    point = _from_text(dt.datetime, sent)
    return _same(point.replace(tzinfo=None), is_same=point.microsecond % unit == 0)  # type: ignore[no-any-return]


def _time(unit: int, sent: Any) -> dt.timedelta:
    passed = sent
    if not isinstance(sent, dt.timedelta):
        time = _from_text(dt.time, sent).replace(tzinfo=None)
        passed = dt.datetime.combine(dt.date.min, time) - dt.datetime.min
    return _same(passed, is_same=passed.microseconds % unit == 0)  # type: ignore[no-any-return]


def _from_text(kind: Any, sent: Any) -> Any:
    """Return a date or a time; one that is sent as text, from that."""
    if isinstance(sent, kind):
        return sent
    try:
        return kind.fromisoformat(sent)
    except (TypeError, ValueError):
        raise _Unknown from None
