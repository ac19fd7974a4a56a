"""Keys that the server would change are refused before they are sent.

An entity is known by its key, as Python has it. Where the row gets another one, the next read makes
a second entity of it, and what is written by the first goes past the second. What a column stores
as it is, its type's check knows; a primary key has to be read back as the value that was given,
too: a decorator may spell it otherwise, and 0.1 is no Decimal('0.1'). And 0 into AUTO_INCREMENT is
no key, since the server counts up (manual, "Using AUTO_INCREMENT",
https://dev.mysql.com/doc/refman/8.4/en/example-auto-increment.html).
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql.mysqldb import MySQLExecutionContext_mysqldb
from sqlalchemy.engine import Dialect

from dal.errors import InvalidArgument

Check = Callable[[Any], None]

_CHECKS = "_dal_key_checks"
_HALF = Decimal("0.5")


class ExecutionContext(MySQLExecutionContext_mysqldb):
    """SQLAlchemy's context of an execution, which looks at keys before they are sent."""

    def pre_exec(self) -> None:
        """Check the values that an INSERT or an UPDATE gives to a primary key.

        Raises:
            InvalidArgument: the row would have another key than was given.
        """
        if not (self.isinsert or self.isupdate):
            return
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
        # SQLAlchemy's names of parameters: the column's, with several rows also their numbers.
        pattern = re.compile(re.escape(column.key) + r"(?:_m\d+)?")
        names = {name for name in compiled.binds if pattern.fullmatch(name)}
        for values in given:
            names |= {
                compiled.bind_names.get(value, column.key)
                for key, value in values.items()
                if getattr(key, "key", key) == column.key and isinstance(value, sa.BindParameter)
            }
        is_counted = compiled.isinsert and column is table.autoincrement_column
        for name in names & set(compiled.binds):
            send = compiled._bind_processors.get(name)  # noqa: SLF001
            yield name, _check(column, send, dialect, is_counted=is_counted)


def _check(
    column: sa.Column[Any],
    send: Callable[[Any], Any] | None,
    dialect: Dialect,
    *,
    is_counted: bool,
) -> Check:
    """Return what raises `InvalidArgument` for a value of which the row would have another."""
    kind = column.type
    read = kind._cached_result_processor(dialect, None)  # noqa: SLF001
    is_whole = isinstance(kind, sa.Integer)

    def check(value: Any) -> None:
        if value is None or type(value) is uuid.UUID:
            return
        if is_whole and type(value) is int and (value or not is_counted):
            return
        sent = value if send is None else send(value)
        if is_counted and _is_zero(sent):
            raise InvalidArgument(
                f"0 as {column} would not be stored, the server counts up instead: leave it out "
                "(or, where it does not count, say autoincrement=False in the model)"
            )
        back = _received(sent)
        if read is not None:
            back = read(back)
        equality: Any = type(value).__eq__
        if back != value and equality is not object.__eq__:
            raise InvalidArgument(
                f"{column} is part of the primary key, and {kind!r} would make a "
                f"{type(back).__name__} of this {type(value).__name__}, or spell it otherwise: "
                "write it as it is read back"
            )

    return check


def _is_zero(sent: Any) -> bool:
    """Return whether the server takes the value for 0, perhaps after it was rounded."""
    try:
        return bool(abs(Decimal(sent)) < _HALF)
    except (InvalidOperation, TypeError, ValueError):
        return False


def _received(sent: Any) -> Any:
    """Return what the driver makes of the value when it is read; a TIME is a timedelta then."""
    if isinstance(sent, dt.time):
        return dt.datetime.combine(dt.date.min, sent) - dt.datetime.min
    return sent
