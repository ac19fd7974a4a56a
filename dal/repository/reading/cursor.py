"""Page tokens: a position in an order as text that fits into a URL.

    version (1 byte), which order (4), checksum (4), then JSON of the position; all in base64url

The checksum tells accidents: a token cut off, changed, or of another order. It is no secret and no
signature. Whoever has a token can read the values in it and can make another one; all that a made
one does is to begin the page elsewhere. What a caller may see is for the conditions to say.
"""

from __future__ import annotations

import base64
import datetime
import enum
import hashlib
import json
import math
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from dal.errors import InvalidArgument, InvalidCursor
from dal.repository.reading.keyset import Keyset

_VERSION = b"\x01"
_DIGEST = 4
_HEAD = len(_VERSION) + 2 * _DIGEST


class Cursor(NamedTuple):
    """A position in an order, with the row at it or without."""

    position: Sequence[Any]
    inclusive: bool = False

    def token(self, keyset: Keyset) -> str:
        """Return the position as text.

        Raises:
            InvalidArgument: a value of a type that no token can hold.
        """
        packed = [self.inclusive, *map(_packed, self.position)]
        body = json.dumps(packed, ensure_ascii=False, separators=(",", ":")).encode()
        order = _digest(str(keyset).encode())
        return _text(_VERSION + order + _digest(_VERSION + order + body) + body)

    @classmethod
    def of(cls, token: object, keyset: Keyset) -> Cursor:
        """Return the position that a token of this order is for.

        Raises:
            InvalidCursor: no token, one cut off or changed, or one of another order.
        """
        raw = _raw(token)
        version, order, check = raw[:1], raw[1 : 1 + _DIGEST], raw[1 + _DIGEST : _HEAD]
        body = raw[_HEAD:]
        if not body or check != _digest(version + order + body):
            raise InvalidCursor("this page token is cut off or altered")
        if version != _VERSION:
            raise InvalidCursor("this page token was made by another version of dal")
        if order != _digest(str(keyset).encode()):
            raise InvalidCursor(f"this page token is of another order, not of {keyset}")
        try:
            inclusive, *packed = json.loads(body)
            types = [getattr(term.server_type, "enum_class", None) for term in keyset.terms]
            position = [_unpacked(*pair) for pair in zip(packed, types, strict=True)]
            sound = [term.takes(value) for term, value in zip(keyset.terms, position, strict=True)]
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
            raise InvalidCursor("this page token holds no position") from None
        if not all(sound) or not isinstance(inclusive, bool):
            raise InvalidCursor("this page token holds no position of this order")
        return cls(position, inclusive)


def _packed(value: Any) -> Any:
    match value:
        case enum.Enum():
            return ["enum", value.name]
        case None | bool() | int() | str():
            return value
        case float():
            return ["float", value.hex()]
        case bytes():
            return ["bytes", value.hex()]
        case Decimal():
            return ["decimal", str(value)]
        case datetime.datetime():
            return ["datetime", value.isoformat()]
        case datetime.date():
            return ["date", value.isoformat()]
        case uuid.UUID():
            return ["uuid", value.hex]
        case _:
            raise InvalidArgument(f"a page token cannot hold {type(value).__name__} values")


def _unpacked(packed: Any, enum_class: type[enum.Enum] | None) -> Any:
    match packed:
        case None | bool() | int():
            return packed
        case str():
            packed.encode()  # half of a surrogate pair is no text
            return packed
        case ["enum", str(name)] if enum_class is not None:
            return enum_class[name]
        case ["float", str(text)]:
            return _finite(float.fromhex(text))
        case ["bytes", str(text)]:
            return bytes.fromhex(text)
        case ["decimal", str(text)]:
            return _finite(Decimal(text))
        case ["datetime", str(text)]:
            return datetime.datetime.fromisoformat(text)
        case ["date", str(text)]:
            return datetime.date.fromisoformat(text)
        case ["uuid", str(text)]:
            return uuid.UUID(hex=text)
        case _:
            raise ValueError("no value")


def _finite(number: Any) -> Any:
    if not math.isfinite(number):
        raise ValueError("the server has no such number")
    return number


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(token: object) -> bytes:
    if not isinstance(token, str):
        raise InvalidCursor(f"a page token is text, not {type(token).__name__}")
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    # Several texts stand for the same bytes; one of them is the token.
    return raw if _text(raw) == token else b""
