"""What a column stores as it is: a value that MySQL would change on the way is refused.

In strict mode MySQL refuses what does not fit. Without an error it still rounds numbers and
fractions of seconds, cuts a time off for DATE, drops spaces at the end for CHAR, fills BINARY up,
reads 99 as the year 1999, and makes numbers of texts and texts of numbers (manual, "Precision
Math", "Fractional Seconds in Time Values", "The CHAR and VARCHAR Types", "The YEAR Type").

The model says what the column is: a column that is wider in the table than in the model is checked
as the narrower one.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.sqltypes import _Binary  # of all BLOB and BINARY types, and no public name

from dal.errors import InvalidArgument

#: Returns the value to send; raises InvalidArgument, which names the column and never the value.
Check = Callable[[Any], Any]

_DAY = dt.timedelta(days=1)
_LONGEST_TIME = dt.timedelta(hours=838, minutes=59, seconds=59)
# Bytes that the types of text have room for.
_TEXT_BYTES = {"TINYTEXT": 2**8 - 1, "MEDIUMTEXT": 2**24 - 1, "LONGTEXT": 2**32 - 1}


@functools.cache
def mysql_dialect() -> Dialect:
    """Return SQLAlchemy's dialect, which knows what a type is on MySQL."""
    # At the first need, and nowhere else: `import dal` is to cost little more than SQLAlchemy.
    from sqlalchemy.dialects import mysql  # noqa: PLC0415

    return mysql.dialect()


def server_type(kind: Any, dialect: Dialect | None = None) -> Any:
    """Return the type as the server has it, without what decorates it in Python."""
    return decorated(kind, dialect)[1]


def decorated(kind: Any, dialect: Dialect | None = None) -> tuple[list[Any], Any]:
    """Return the decorators with an idea of their own of what is sent, and the server's type."""
    dialect = dialect or mysql_dialect()
    makers = []
    kind = kind.dialect_impl(dialect)
    while isinstance(kind, sa.TypeDecorator):
        if _makes_values(kind):
            makers.append(kind)
        kind = kind.impl_instance.dialect_impl(dialect)
    return makers, kind


def _makes_values(kind: Any) -> bool:
    return (
        type(kind).process_bind_param is not sa.TypeDecorator.process_bind_param
        or type(kind).bind_processor is not sa.TypeDecorator.bind_processor
    )


def _name(kind: Any) -> str:
    name: str = getattr(kind, "__visit_name__", "")  # the types of JSON's paths have none
    return name


def unfit(kind: Any) -> tuple[type[Any], ...]:
    """Return the Python types that a column of a type of the server is never compared with.

    MySQL compares a text with a number as numbers: name = 0 finds most rows, id = '1x' finds 1
    (manual, "Type Conversion in Expression Evaluation").
    """
    if isinstance(kind, sa.Enum) or _name(kind) == "SET":
        return ()
    if isinstance(kind, sa.String):
        return (int, float, Decimal)
    return (str, bytes) if isinstance(kind, sa.Integer | sa.Numeric | sa.Float) else ()


@functools.lru_cache(maxsize=1024)
def check_of(kind: Any, name: str) -> Check | None:
    """Return the check of values that a column of this type is given; None where all are right.

    Of a decorated type it is the decorator that knows, and what it makes of them is checked when
    the statement is made.
    """
    makers, bare = decorated(kind)
    return None if makers else bare_check(bare, name)


def bare_check(kind: Any, name: str) -> Check | None:
    """Return the check of values for a type that the server has."""
    make = _BY_NAME.get(_name(kind))
    if make is None:
        make = next((make for types, make in _BY_CLASS if isinstance(kind, types)), None)
    return None if make is None else make(kind, name)


def _text(kind: Any, name: str) -> Check:
    is_char = _name(kind) in {"CHAR", "NCHAR"}
    is_text = isinstance(kind, sa.Text) or _name(kind) in _TEXT_BYTES
    most_bytes = _TEXT_BYTES.get(_name(kind), 2**16 - 1)

    def check(value: Any) -> Any:
        if value is None or (type(value) is str and value.isascii() and value[-1:] != " "):
            return value
        if not isinstance(value, str):
            raise _refused(name, "str", value)
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise InvalidArgument(f"{name} is Unicode, not the half of a character") from None
        if not value.endswith(" "):
            return value
        if is_char:
            raise InvalidArgument(
                f"{name} has spaces at its end, which {kind!r} drops: use VARCHAR, or rstrip()"
            )
        if size > most_bytes if is_text else len(value) > (kind.length or math.inf):
            raise InvalidArgument(
                f"{name} is longer than {kind!r}, which would cut spaces at its end: use rstrip()"
            )
        return value

    return check


def _enum(kind: Any, name: str) -> Check:
    texts = frozenset(kind.enums)
    members = kind.enum_class
    wanted = f"one of {members.__name__}" if members else f"one of the {len(texts)} texts"

    def check(value: Any) -> Any:
        if value is None or (type(value) is str and value in texts):
            return value
        if members is not None and isinstance(value, members):
            return value
        if members is None and isinstance(value, str) and str.__str__(value) in texts:
            return str.__str__(value)  # such as a member of a class of texts
        raise InvalidArgument(f"{name} is {wanted} of its Enum, not another {type(value).__name__}")

    return check


def _set(kind: Any, name: str) -> Check:
    members = frozenset(kind.values)

    def check(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, set | frozenset) or not value <= members:
            raise InvalidArgument(
                f"{name} is a set of members of its SET, not another {type(value).__name__}"
            )
        return value

    return check


def _bytes(kind: Any, name: str) -> Check:
    exact = (kind.length or 1) if _name(kind) == "BINARY" else None

    def check(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, bytes | bytearray | memoryview):
            raise _refused(name, "bytes", value)
        if exact is not None and memoryview(value).nbytes < exact:
            raise InvalidArgument(
                f"{name} is shorter than {kind!r}, which fills it up with zeros: use VARBINARY"
            )
        return value

    return check


def _boolean(_kind: Any, name: str) -> Check:
    def check(value: Any) -> Any:
        if value is None or value is True or value is False:
            return value
        if type(value) is int and value in (0, 1):
            return bool(value)
        raise _refused(name, "bool", value)

    return check


def _integer(_kind: Any, name: str) -> Check:
    def check(value: Any) -> Any:
        if type(value) is int or value is None or isinstance(value, int):
            return value
        raise _refused(name, "int", value)

    return check


def _decimal(kind: Any, name: str) -> Check:
    precision = kind.precision or 10
    scale = (kind.scale or 0) if kind.precision is not None else 0  # NUMERIC is NUMERIC(10, 0)
    usual = Decimal(1).scaleb(-scale)

    def check(value: Any) -> Any:
        if type(value) is Decimal and value.same_quantum(usual):
            return value
        if value is None or isinstance(value, int):
            return value
        if not isinstance(value, Decimal | float):
            raise _refused(name, "Decimal", value)
        number = value if isinstance(value, Decimal) else Decimal(float.__repr__(value))
        if not number.is_finite():
            raise InvalidArgument(f"{name} is a number that MySQL knows, not NaN nor an infinity")
        if digits_behind(number) > scale:
            raise InvalidArgument(
                f"{name} has more than {scale} digits behind the point, and NUMERIC({precision}, "
                f"{scale}) would round it: use round(), or a column of a larger scale"
            )
        return number

    return check


def digits_behind(number: Decimal) -> int:
    """Return how many digits a finite number has behind the point, zeros at its end left out."""
    # Not quantize() nor normalize(): they round to the context's 28 digits.
    _, digits, exponent = number.as_tuple()
    if exponent >= 0 or not any(digits):  # type: ignore[operator]
        return 0
    zeros = 0
    while digits[-1 - zeros] == 0:
        zeros += 1
    return max(-exponent - zeros, 0)  # type: ignore[operator]


def _float(kind: Any, name: str) -> Check:
    single, scale, shown = is_single(kind), kind.scale, _digits_shown(kind)

    def check(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, float | int | Decimal):
            raise _refused(name, "float", value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise InvalidArgument(f"{name} is a number that MySQL knows, not NaN nor an infinity")
        exact = Decimal(float.__repr__(number))
        if not isinstance(value, float) and exact != value and Decimal(number) != value:
            raise InvalidArgument(f"{name} has more digits than {kind!r}: use NUMERIC")
        if single and _single(number) != number:
            raise InvalidArgument(
                f"{name} has more digits than FLOAT, which shows six of them: use Double"
            )
        most = min((each for each in (scale, shown) if each is not None), default=None)
        if most is not None and digits_behind(exact) > most:
            raise InvalidArgument(
                f"{name} has more than {most} digits behind the point, to which {kind!r} rounds: "
                "use Double"
            )
        return number

    return check


def is_single(kind: Any) -> bool:
    """Return whether a type of the server is a FLOAT of single precision; FLOAT(25) is a double."""
    return _name(kind) == "FLOAT" and ((kind.precision or 0) <= 24 or kind.scale is not None)


def _digits_shown(kind: Any) -> int | None:
    """Return to how many digits behind the point SQLAlchemy rounds what it reads; None: all."""
    shown: int | None = kind._effective_decimal_return_scale if kind.asdecimal else None  # noqa: SLF001
    return shown


def _single(number: float) -> float:
    """Return the number as FLOAT holds and MySQL shows it."""
    try:
        (held,) = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        return number  # the server says that it is out of range
    return float(f"{held:.6g}")


def _datetime(kind: Any, name: str) -> Check:
    step = _step(kind)
    datetime = dt.datetime

    def check(value: Any) -> Any:
        if (
            type(value) is datetime
            and value.tzinfo is None
            and (step == 1 or not value.microsecond % step)
        ):
            return value
        if value is None:
            return None
        if not isinstance(value, dt.datetime):
            raise _refused(name, "datetime", value)
        if value.tzinfo is not None:
            raise InvalidArgument(
                f"{name} is a naive datetime; an aware one loses its time zone in {kind!r}: use "
                "dal.model.UTCDateTime"
            )
        if value.microsecond % step:
            raise _rounded(name, kind)
        return value

    return check


def _date(_kind: Any, name: str) -> Check:
    def check(value: Any) -> Any:
        if value is None or type(value) is dt.date:
            return value
        if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
            raise _refused(name, "date", value)
        return value

    return check


def _time(kind: Any, name: str) -> Check:
    step = _step(kind)

    def check(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, dt.time):
            if value.tzinfo is not None:
                raise InvalidArgument(f"{name} is a naive time; {kind!r} has no time zone")
            fraction = value.microsecond
        elif isinstance(value, dt.timedelta):
            if dt.timedelta(0) <= value < _DAY:
                raise InvalidArgument(
                    f"{name} within one day is a time, as which it is read; write "
                    "(datetime.min + delta).time()"
                )
            if abs(value) > _LONGEST_TIME:
                raise InvalidArgument(f"{name} is beyond 838:59:59, the longest TIME")
            fraction = value.microseconds
        else:
            raise _refused(name, "time", value)
        if fraction % step:
            raise _rounded(name, kind)
        return value

    return check


def _step(kind: Any) -> int:
    """Return the microseconds from one value of the type to the next."""
    return int(10 ** (6 - (getattr(kind, "fsp", None) or 0)))


def _year(_kind: Any, name: str) -> Check:
    def check(value: Any) -> Any:
        if value is None or (type(value) is int and (value == 0 or 1901 <= value <= 2155)):
            return value
        raise InvalidArgument(f"{name} is a year from 1901 to 2155, or 0, as int")

    return check


def _bit(kind: Any, name: str) -> Check:
    most = 2 ** (kind.length or 1)

    def check(value: Any) -> Any:
        if value is None or (isinstance(value, int) and 0 <= value < most):
            return value
        raise InvalidArgument(f"{name} is int, from 0 to what {kind!r} has room for")

    return check


def _uuid(kind: Any, name: str) -> Check:
    def check(value: Any) -> Any:
        if value is None:
            return None
        if kind.as_uuid:
            if not isinstance(value, uuid.UUID):
                raise _refused(name, "UUID", value)
        elif not isinstance(value, str) or not _is_uuid(value):
            raise InvalidArgument(f"{name} is a UUID as text, as str() of one gives it")
        return value

    return check


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _refused(name: str, wanted: str, value: object) -> InvalidArgument:
    return InvalidArgument(f"{name} is {wanted}, not {type(value).__name__}")


def _rounded(name: str, kind: Any) -> InvalidArgument:
    return InvalidArgument(
        f"{name} has a fraction of a second that {kind!r} would round away: use "
        f"mysql.{_name(kind).upper()}(fsp=6), UTCDateTime, or replace(microsecond=0)"
    )


_BY_NAME: dict[str, Callable[[Any, str], Check]] = {"SET": _set, "YEAR": _year, "BIT": _bit}
# The first that fits: an Enum is a String, too.
_BY_CLASS: tuple[tuple[Any, Callable[[Any, str], Check]], ...] = (
    (sa.Enum, _enum),
    (sa.String, _text),
    (sa.Integer, _integer),
    (sa.Numeric, _decimal),
    (sa.Float, _float),
    (sa.DateTime, _datetime),
    (sa.Date, _date),
    (sa.Time, _time),
    (sa.Boolean, _boolean),
    (_Binary, _bytes),
    (sa.Uuid, _uuid),
)
