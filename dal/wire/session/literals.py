"""How a parameter is written into a statement: as one value, or not at all.

PyMySQL writes a list as `(1,2)`, so that `token = [0]` from somebody's JSON becomes `token = (0)`,
which most texts are equal to; it leaves the time zone out of an aware datetime; and of a type that
it does not know it raises whatever comes up.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pymysql import converters
from pymysql.connections import Connection as PyMySQLConnection

from dal.errors import InvalidArgument

_SEVERAL = (list, tuple, set, frozenset, dict)
_CHECKED = frozenset({*_SEVERAL, float, Decimal})


class Literals(PyMySQLConnection):
    """A connection whose parameters are single values that the server has, too."""

    def escape(self, obj: object, mapping: Mapping[Any, Any] | None = None) -> str:
        """Return a value as SQL, in place of PyMySQL's and by its own encoders.

        Raises:
            InvalidArgument: it is several values, no finite number, or of an unknown type.
        """
        if isinstance(obj, str):
            if not obj.isascii():
                _check_whole(obj)
            return f"'{self._escape_string(obj)}'"
        if isinstance(obj, bytes | bytearray):
            return f"X'{obj.hex()}'"
        encoders: Any = self.encoders if mapping is None else mapping
        encoder = encoders.get(type(obj))
        if encoder is None or type(obj) in _CHECKED:
            obj, encoder = _looked_at(obj, encoders)
        text: str = encoder(obj, encoders)
        return text


def _check_whole(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument("a parameter is Unicode, not the half of a character") from None


def _datetime(value: dt.datetime, _encoders: object = None) -> str:
    if value.tzinfo is not None:
        raise InvalidArgument(
            "an aware datetime would lose its time zone: use dal.model.UTCDateTime for the column, "
            "or send value.astimezone(UTC).replace(tzinfo=None)"
        )
    return str(converters.escape_datetime(value))


def _time(value: dt.time, _encoders: object = None) -> str:
    if value.tzinfo is not None:
        raise InvalidArgument("an aware time would lose its time zone: MySQL's TIME has none")
    return str(converters.escape_time(value))


#: For PyMySQL's `conv`.
CONVERSIONS: dict[Any, Any] = {
    **converters.conversions,
    dt.datetime: _datetime,
    dt.time: _time,
}


def _looked_at(value: Any, encoders: Any) -> tuple[Any, Any]:
    """Return the value, as one of the type that the encoder is for, and the encoder."""
    if isinstance(value, _SEVERAL):
        raise InvalidArgument(
            f"a parameter is one value, not {type(value).__name__}: several go into "
            "column.in_(values), or, in text, into bindparam(name, expanding=True)"
        )
    is_float, is_decimal = isinstance(value, float), isinstance(value, Decimal)
    if (is_float and not math.isfinite(value)) or (is_decimal and not value.is_finite()):
        raise InvalidArgument("a parameter is a number that MySQL knows, not NaN or infinity")
    for kind in type(value).__mro__[:-1]:
        if kind in encoders:
            # An enumeration, or a number of another library, may print as something else.
            is_number = kind in (int, float, Decimal) and kind is not type(value)
            return kind(value) if is_number else value, encoders[kind]
    raise InvalidArgument(
        f"a parameter of the type {type(value).__name__} has no form in SQL: give its column a "
        "type that has, or convert it"
    )
