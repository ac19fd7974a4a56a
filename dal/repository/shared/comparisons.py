"""Comparisons whose two sides MySQL would convert: refused, wherever in an expression they stand.

MySQL compares text with a number as numbers, and a text without one is 0: `name = 0` finds most
rows, by no index, and `id = '1x'` finds 1 (manual, "Type Conversion in Expression Evaluation").
What a caller sends as JSON has any type, so the values are checked against what they meet: a
column, or an expression whose type is known.
"""

from __future__ import annotations

import datetime
import functools
import math
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import (
    BooleanClauseList,
    ExpressionClauseList,
    False_,
    Grouping,
    Label,
    True_,
    Tuple,
)
from sqlalchemy.sql.functions import FunctionElement

from dal.errors import InvalidArgument
from dal.repository.shared.identity import accepted_types

_CONVERTING = {
    operators.eq,
    operators.ne,
    operators.lt,
    operators.le,
    operators.gt,
    operators.ge,
    operators.is_distinct_from,
    operators.is_not_distinct_from,
    operators.in_op,
    operators.not_in_op,
    operators.between_op,
    operators.not_between_op,
    operators.add,
    operators.sub,
    operators.mul,
    operators.truediv,
    operators.floordiv,
    operators.mod,
}
_CONVERTING_TEXTS = {"=", "<=>", "<>", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "DIV"}
_MATCHING = {
    operators.like_op,
    operators.not_like_op,
    operators.ilike_op,
    operators.not_ilike_op,
    operators.regexp_match_op,
    operators.not_regexp_match_op,
    operators.match_op,
    operators.not_match_op,
}
# Custom operators of MySQL that answer true or false.
_ASKING_TEXTS = {"REGEXP", "NOT REGEXP", "RLIKE", "NOT RLIKE", "LIKE", "NOT LIKE", "SOUNDS LIKE"}
_ASKING_TEXTS |= {"=", "<=>", "<>", "!=", "<", "<=", ">", ">=", "MEMBER OF", "IN", "NOT IN"}
_ASKING_TEXTS |= {"AND", "OR", "XOR", "&&", "||"}

_TEXT = (str, bytes)
_NUMBER = (int, float, Decimal)
_MOMENT = (datetime.date, datetime.time, datetime.timedelta)
_SEVERAL = (list, tuple, set, frozenset, dict)
_UNFIT: dict[type[Any], tuple[type[Any], ...]] = {
    **dict.fromkeys(_TEXT, _NUMBER),
    **dict.fromkeys(_NUMBER, (*_TEXT, *_MOMENT)),
    **dict.fromkeys((*_MOMENT, datetime.datetime), (*_NUMBER, bytes)),
}

_JOINING = {operators.and_, operators.or_}

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?")
_TIME = re.compile(r"-?\d{1,3}:[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?")

# SQLAlchemy gives most of the server's functions no type: these return text, those a number or what
# they are given, and the last compare what they are given.
_TEXT_FUNCTIONS = """
    aes_encrypt bin char concat concat_ws conv date_format dayname elt format from_base64
    group_concat hex inet6_ntoa inet_ntoa insert json_unquote lcase left lower lpad ltrim md5 mid
    monthname oct quote regexp_replace regexp_substr repeat replace reverse right rpad rtrim sha
    sha1 sha2 soundex space substr substring substring_index time_format to_base64 trim ucase
    unhex upper uuid weight_string
"""
_NUMBER_FUNCTIONS = """
    abs ascii bit_count bit_length ceil ceiling char_length character_length count crc32 datediff
    day dayofmonth dayofweek dayofyear find_in_set floor hour instr json_depth json_length length
    locate microsecond minute mod month octet_length ord position quarter second sign strcmp
    timestampdiff to_days to_seconds unix_timestamp week weekday weekofyear year yearweek
"""
_PASSING_FUNCTIONS = """
    any_value coalesce first_value greatest if ifnull lag last_value lead least max min nth_value
    nullif values
"""
_COMPARING_FUNCTIONS = "field greatest interval least nullif"


def is_question(expression: Any) -> bool:
    """Return whether this SQL expression is true or false to SQLAlchemy, or has no known type."""
    kind = expression.type
    if isinstance(kind, sa.TypeDecorator):
        kind = kind.impl_instance
    if isinstance(kind, sa.Boolean):
        return True
    if isinstance(expression, sa.BinaryExpression):  # op("REGEXP") has the type of its left side
        text = getattr(expression.operator, "opstring", None)
        if text is not None and text.upper() in _ASKING_TEXTS:
            return True
    return isinstance(kind, sa.types.NullType) and _kind(expression) is not str


def check_comparisons(expression: Any) -> None:
    """Raise where a value meets an expression of another type, in subqueries too.

    Raises:
        InvalidArgument: names the expression, its type and that of the value; never the value.
    """
    for part in visitors.iterate(expression):
        if isinstance(part, sa.BinaryExpression):
            _check_binary(part)
        elif isinstance(part, BooleanClauseList) and part.operator in _JOINING:
            _check_truth(part.clauses)
        elif isinstance(part, sa.UnaryExpression) and part.operator is operators.inv:
            _check_truth([part.element])
        elif isinstance(part, sa.Case) and part.value is not None:
            for when, _ in part.whens:
                _check_pair(part.value, when)
        elif isinstance(part, FunctionElement):
            if _name(part) in _names(_COMPARING_FUNCTIONS):
                _check_all(list(part.clauses))
        elif isinstance(part, sa.Column) and part.name is None:
            raise InvalidArgument(
                "an attribute of a mixin or an abstract class has no column of its own: name it "
                "by the model"
            )


def _check_binary(part: sa.BinaryExpression[Any]) -> None:
    text = getattr(part.operator, "opstring", None)
    if part.operator in _CONVERTING or text in _CONVERTING_TEXTS:
        _check_pair(part.left, part.right)
    elif part.operator in _MATCHING:
        for value in _values(part.right):
            if not isinstance(value, (*_TEXT, type(None))):
                raise InvalidArgument(f"a pattern is str, not {type(value).__name__}")


def _check_pair(left: Any, right: Any) -> None:
    if isinstance(left, Tuple) or isinstance(right, Tuple):
        _check_tuples(left, right)
        return
    for expression, other in ((left, right), (right, left)):
        for value in _values(other):
            _check_value(expression, value)


def _check_tuples(left: Any, right: Any) -> None:
    columns, other = (left, right) if isinstance(left, Tuple) else (right, left)
    if isinstance(other, Tuple):
        for one, another in zip(columns.clauses, other.clauses, strict=False):
            _check_pair(one, another)
        return
    for row in _values(other):
        if not isinstance(row, list | tuple) or len(row) != len(columns.clauses):
            raise InvalidArgument(
                f"tuple_() of {len(columns.clauses)} columns meets tuples of as many values"
            )
        for column, value in zip(columns.clauses, row, strict=True):
            _check_value(column, value)
            # Of a row MySQL rounds the value to the column's type: (2, 'a') IN ((1.5, 'a')).
            is_cut = isinstance(value, float | Decimal) and value % 1 != 0
            if is_cut and _kind(column) is int:
                raise InvalidArgument(f"{_described(column)} is int, not {type(value).__name__}")


def _check_all(parts: list[Any]) -> None:
    for number, one in enumerate(parts):
        for another in parts[number + 1 :]:
            _check_pair(one, another)


def _check_truth(clauses: Iterable[Any]) -> None:
    for clause in clauses:
        kind = _kind(clause)
        if kind in _TEXT and not is_question(clause):
            raise InvalidArgument(
                f"{_described(clause)} is {kind.__name__}, which is neither true nor false"
            )


def _check_value(expression: Any, value: object) -> None:
    if value is None or isinstance(expression, sa.BindParameter):
        return
    kind: Any = _kind(expression)
    if isinstance(value, _SEVERAL):
        if kind is not object:
            raise InvalidArgument(
                f"{_described(expression)} takes one value, not {type(value).__name__}"
            )
    elif kind is bool:
        if not isinstance(value, int) or value not in {0, 1}:
            raise InvalidArgument(f"{_described(expression)} is bool, not {type(value).__name__}")
    elif kind is not None and isinstance(value, _UNFIT.get(kind, ())):
        known = "" if kind not in (*_TEXT, *_NUMBER) else ": MySQL would compare both as numbers"
        raise InvalidArgument(
            f"{_described(expression)} is {kind.__name__}, not {type(value).__name__}{known}"
        )
    elif isinstance(value, str) and not _is_moment(value, kind):
        raise InvalidArgument(
            f"{_described(expression)} is {kind.__name__}, which this str does not read as"
        )
    elif not _is_finite(value):
        raise InvalidArgument(f"{_described(expression)} meets a number that MySQL does not know")


def _is_finite(value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    return not isinstance(value, float) or math.isfinite(value)


def _is_moment(text: str, kind: Any) -> bool:
    """Return whether the server reads a text that meets dates or times; MariaDB takes any for 0."""
    if kind in (datetime.time, datetime.timedelta):
        return _TIME.fullmatch(text) is not None
    if kind not in (datetime.date, datetime.datetime):
        return True
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return _DATE.fullmatch(text) is not None


def _kind(expression: Any) -> type[Any] | None:
    """Return the Python type of an expression's values; None where nothing tells.

    `object` is a type of SQLAlchemy's, or the user's, that checks values by itself.
    """
    while isinstance(expression, Grouping | Label):
        expression = expression.element
    name = _name(expression)
    if name in _names(_TEXT_FUNCTIONS):
        return str
    if name in _names(_NUMBER_FUNCTIONS):
        return int
    if name in _names(_PASSING_FUNCTIONS):
        arguments = list(expression.clauses)[name == "if" :]
        kinds = {_kind(part) for part in arguments if not isinstance(part, sa.sql.elements.Null)}
        return kinds.pop() if len(kinds) == 1 else None
    kind = getattr(expression, "type", None)
    if kind is None or isinstance(kind, sa.types.NullType):
        return None
    if isinstance(kind, sa.Boolean):
        return bool
    return accepted_types(expression)[0]


def _name(expression: Any) -> str | None:
    if isinstance(expression, FunctionElement):
        return str(getattr(expression, "name", "")).lower()
    return None


@functools.cache
def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _described(expression: Any) -> str:
    if isinstance(expression, sa.ColumnClause):
        named = isinstance(expression.table, sa.Table) and not expression.is_literal
        return str(expression) if named else "a column"
    name = _name(expression)
    return f"{name}()" if name else "this expression"


def _values(expression: object) -> Iterator[object]:
    """Yield the values that stand here in the place of SQL."""
    if isinstance(expression, sa.BindParameter):
        if expression.expanding and isinstance(expression.value, list | tuple):
            yield from expression.value
        else:
            yield expression.value
    elif isinstance(expression, ExpressionClauseList):  # of BETWEEN
        for each in expression.clauses:
            yield from _values(each)
    elif isinstance(expression, Grouping):
        yield from _values(expression.element)
    elif isinstance(expression, True_ | False_):
        yield isinstance(expression, True_)
