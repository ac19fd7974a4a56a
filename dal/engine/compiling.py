"""What stands between a statement's values and the server, and between its answer and Python.

Every statement of SQLAlchemy comes through here: a flush, a repository's verbs, a plain
`session.execute()`. So a value is checked the same way wherever it comes from, before it is sent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql.mysqldb import MySQLCompiler_mysqldb, MySQLExecutionContext_mysqldb
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import operators, visitors
from sqlalchemy.util import memoized_property

from dal.errors import InvalidArgument, UnreadableValue
from dal.model.checks import bare_check, decorated, is_single, server_type, unfit

Processor = Callable[[Any], Any]

# What SQLAlchemy takes a timedelta for where no column says what it is.
_TIMEDELTA = sa.literal(dt.timedelta()).type
_ADDING = {operators.add, operators.sub}


class Compiler(MySQLCompiler_mysqldb):
    """SQLAlchemy's, which checks the values of a statement as it makes the driver's of them."""

    @memoized_property
    def _bind_processors(self) -> dict[str, Any]:
        found: dict[str, Any] = dict(super()._bind_processors)
        given = dict(self._given())
        for bind, key in self.bind_names.items():
            if bind.type._is_tuple_type or bind in self.literal_execute_params:  # noqa: SLF001
                continue
            is_stored = bind._is_crud or bind.key in given  # noqa: SLF001
            kind, make = given.get(bind.key, bind.type), storing if is_stored else comparing
            process = make(kind, self.dialect, key, found.pop(key, None))
            if process is not None:
                found[key] = process
        return found

    def _given(self) -> Iterator[tuple[str, Any]]:
        """Yield the parameters that are all that a column is given, and the columns' types."""
        state: Any = self.compile_state
        if not (self.isinsert or self.isupdate) or state is None:
            return
        values = list((state._dict_parameters or {}).items())  # noqa: SLF001
        update = getattr(getattr(state.statement, "_post_values_clause", None), "update", None)
        values += (update or {}).items()
        columns = state.statement.table.c
        for name, value in values:
            column = columns.get(name) if isinstance(name, str) else name
            if isinstance(value, sa.BindParameter) and isinstance(column, sa.Column):
                yield value.key, column.type

    def visit_binary(self, binary: Any, *args: Any, **kw: Any) -> str:
        """Render an operation, whose values are of the type of the column that they meet.

        SQLAlchemy sends a timedelta as 1970-01-01 and so many days, which is right for `Interval`
        alone; and 0.1 as the double, which no FLOAT is equal to.
        """
        if binary.operator in _ADDING and any(map(_is_timedelta, (binary.left, binary.right))):
            raise InvalidArgument(
                "MySQL adds a timedelta as a number: compute the date in Python, or write "
                "sa.func.timestampadd(sa.text('SECOND'), seconds, column)"
            )
        if operators.is_comparison(binary.operator):
            left = _retyped(binary.left, binary.right, self.dialect)
            right = _retyped(binary.right, binary.left, self.dialect)
            if left is not binary.left or right is not binary.right:
                binary = binary._clone()  # noqa: SLF001
                binary.left, binary.right = left, right
        rendered: str = super().visit_binary(binary, *args, **kw)  # type: ignore[no-untyped-call]
        return rendered


def _is_timedelta(part: Any) -> bool:
    return isinstance(part, sa.BindParameter) and part.type is _TIMEDELTA


def _is_number(part: Any) -> bool:
    return isinstance(part, sa.BindParameter) and isinstance(part.type, sa.Numeric | sa.Float)


def _retyped(side: Any, other: Any, dialect: Dialect) -> Any:
    """Return this side of a comparison with the other side's type for its values."""
    kind = server_type(other.type, dialect)
    if isinstance(kind, sa.Time):
        is_meant, meant = _is_timedelta, other.type
    elif is_single(kind):
        is_meant, meant = _is_number, Single()
    else:
        return side
    if not any(map(is_meant, visitors.iterate(side))):
        return side

    def replaced(part: Any, **_: Any) -> Any:
        return part._with_binary_element_type(meant) if is_meant(part) else None  # noqa: SLF001

    return visitors.replacement_traverse(side, {}, replaced)  # type: ignore[call-overload]


def storing(kind: Any, dialect: Dialect, name: str, plain: Processor | None) -> Processor | None:
    """Return what checks a value that a column is given, and makes the driver's value of it."""
    makers, bare = decorated(kind, dialect)
    check = bare_check(bare, name)
    if check is None:
        return plain
    if not makers:
        return check if plain is None else _both(check, plain)
    if any(not _has_own(maker, "process_bind_param") for maker in makers):
        return check if plain is None else _both(plain, check)  # what it makes is all there is
    steps = [maker.process_bind_param for maker in makers]
    last = bare.bind_processor(dialect)

    def process(value: Any) -> Any:
        for step in steps:
            value = step(value, dialect)
        value = check(value)
        return value if last is None else last(value)

    return process


def _has_own(decorator: Any, method: str) -> bool:
    return getattr(type(decorator), method) is not getattr(sa.TypeDecorator, method)


def _both(first: Processor, second: Processor) -> Processor:
    return lambda value: second(first(value))


def comparing(kind: Any, dialect: Dialect, _name: str, plain: Processor | None) -> Any:
    """Return what checks a value that a column is compared with, and makes the driver's of it."""
    bare = server_type(kind, dialect)
    others = unfit(bare)
    if not others:
        return plain

    def process(value: Any) -> Any:
        if plain is not None:
            value = plain(value)
        if isinstance(value, others):
            raise InvalidArgument(
                f"a column of {bare!r} is compared with {type(value).__name__}: MySQL would "
                "compare both as numbers"
            )
        return value

    return process


class ExecutionContext(MySQLExecutionContext_mysqldb):
    """SQLAlchemy's, which names the column whose value Python has no value for."""

    def get_result_processor(self, type_: Any, colname: str, coltype: Any) -> Processor | None:
        """Return what makes Python's value of the driver's."""
        plain: Processor | None = super().get_result_processor(type_, colname, coltype)
        bare = server_type(type_, self.dialect)
        if isinstance(bare, sa.DateTime | sa.Date | sa.Time):
            return _reading_dates(plain, bare, colname)
        if plain is not None and isinstance(bare, sa.Enum):
            return _reading(_none_but(bare.enums, plain), bare, colname)
        if plain is not None and isinstance(bare, sa.JSON | sa.Uuid):
            return _reading(plain, bare, colname)
        return plain


def _reading_dates(plain: Processor | None, kind: Any, name: str) -> Processor:
    def process(value: Any) -> Any:
        if type(value) is str:  # PyMySQL's way with what is no date
            raise UnreadableValue(
                f"{name} ({kind!r}) holds a date with zeros, such as 0000-00-00, which Python "
                "does not have: read sa.cast(column, sa.String), or store NULL in its place",
                columns=(name,),
            )
        return value if plain is None else plain(value)

    return process


def _none_but(texts: Sequence[str], plain: Processor) -> Processor:
    """Return what refuses '', which MySQL has in place of a wrong text and SQLAlchemy lets pass."""

    def process(value: Any) -> Any:
        if value == "" and "" not in texts:
            raise LookupError
        return plain(value)

    return process


def _reading(plain: Processor, kind: Any, name: str) -> Processor:
    def process(value: Any) -> Any:
        try:
            return plain(value)
        except (LookupError, ValueError, TypeError, RecursionError):
            # Not `from error`: its text has the value.
            raise UnreadableValue(
                f"{name} holds a value that is none of {type(kind).__name__}: read "
                "sa.cast(column, sa.String) to see it",
                columns=(name,),
            ) from None

    return process


class Single(mysql.FLOAT):
    """A number that is compared with a FLOAT, of single precision as that is."""

    def bind_expression(self, bindvalue: Any) -> Any:
        """Return the value in single precision."""
        return sa.cast(bindvalue, mysql.FLOAT())


class TIME(mysql.TIME):
    """MySQL's TIME, of -838 to 838 hours; SQLAlchemy reads 25:00 as 01:00.

    https://dev.mysql.com/doc/refman/8.4/en/time.html
    """

    def result_processor(self, _dialect: Dialect, _coltype: object) -> Processor:
        """Return what makes a time of day of a `timedelta`, where it is one."""

        def process(value: dt.timedelta | None) -> dt.time | dt.timedelta | None:
            if value is None or value.days:
                return value
            return (dt.datetime.min + value).time()

        return process
