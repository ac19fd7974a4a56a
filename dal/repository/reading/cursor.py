"""Page tokens: a position in an order as text that fits into a URL.

    version (1 byte), which order (4), checksum (4), then JSON of the position; all in base64url

The checksum tells accidents: a token cut off, changed, or of another order. It is no secret and no
signature. Whoever has a token can read the values in it and can make another one, which begins the
page elsewhere: so whoever may ask for pages learns by trying what values the columns have that
order them, hidden ones too. With a key (the setting `page_token_key`) the checksum is a signature,
HMAC of SHA-256, and a token that this key has not made is refused. What a caller may see is for the
conditions to say.
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
from dal.repository.reading.keyset import Keyset, Term

_VERSION = b"\x01"
_SIGNED = b"\x03"
_DIGEST = 4
_SIGNATURE = 32
# A row has 65,535 bytes in all its columns that have an order; escapes and base64 make more of it.
_LONGEST = 2**20
# The server's decimals have 65 digits. Those with more zeros than anybody has memory fit in a text.
_LONGEST_NUMBER = 300
# As they are in a token; other values are those of a type that makes them of one of these.
_PLAIN = {
    type(None),
    bool,
    int,
    str,
    float,
    bytes,
    Decimal,
    datetime.datetime,
    datetime.date,
    uuid.UUID,
}


class Cursor(NamedTuple):
    """A position in an order, with the row at it or without."""

    position: Sequence[Any]
    inclusive: bool = False

    def token(self, keyset: Keyset, key: bytes | None = None) -> str:
        """Return the position as text, signed if there is a key.

        Raises:
            InvalidArgument: a value of a type that no token can hold.
        """
        pairs = zip(self.position, keyset.terms, strict=True)
        packed = [self.inclusive, *(_packed(value, term) for value, term in pairs)]
        body = json.dumps(packed, ensure_ascii=False, separators=(",", ":")).encode()
        head = (_SIGNED if key else _VERSION) + _digest(str(keyset).encode())
        return _text(head + _seal(head + body, keyset, key) + body)

    @classmethod
    def of(cls, token: object, keyset: Keyset, key: bytes | None = None) -> Cursor:
        """Return the position that a token of this order is for.

        Raises:
            InvalidCursor: no token, one cut off or changed, one of another order, or one that this
                key did not sign.
        """
        raw = _raw(token)
        head, rest = raw[: 1 + _DIGEST], raw[1 + _DIGEST :]
        version, order = head[:1], head[1:]
        size = _SIGNATURE if key else _DIGEST
        seal, body = rest[:size], rest[size:]
        if key and version != _SIGNED:
            raise InvalidCursor("this page token is not signed")
        if not body or not _is_same(seal, _seal(head + body, keyset, key)):
            if key and order != _digest(str(keyset).encode()):
                raise InvalidCursor(f"this page token is of another order, not of {keyset}")
            raise InvalidCursor("this page token is cut off or altered")
        if not key and version != _VERSION:
            raise InvalidCursor("this page token was made by another version of dal")
        if order != _digest(str(keyset).encode()):
            raise InvalidCursor(f"this page token is of another order, not of {keyset}")
        try:
            inclusive, *packed = json.loads(body)
            position = [_unpacked(*pair) for pair in zip(packed, keyset.terms, strict=True)]
            sound = [term.takes(value) for term, value in zip(keyset.terms, position, strict=True)]
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
            raise InvalidCursor("this page token holds no position") from None
        if not all(sound) or not isinstance(inclusive, bool):
            raise InvalidCursor("this page token holds no position of this order")
        return cls(position, inclusive)


def _packed(value: Any, term: Term) -> Any:
    if isinstance(value, enum.Enum) and isinstance(value, term.enum_class or ()):
        return ["enum", value.name]
    if type(value) not in _PLAIN and term.value_type is None:
        return ["sent", _packed_plain(term.sent(value))]
    return _packed_plain(value)


def _packed_plain(value: Any) -> Any:
    match value:
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


def _unpacked(packed: Any, term: Term) -> Any:
    match packed:
        case ["enum", str(name)] if term.enum_class is not None:
            return term.enum_class[name]
        case ["sent", sent] if term.value_type is None:
            return term.received(_unpacked_plain(sent))
        case _:
            return _unpacked_plain(packed)


def _unpacked_plain(packed: Any) -> Any:
    match packed:
        case None | bool() | int():
            return packed
        case str():
            packed.encode()  # half of a surrogate pair is no text
            return packed
        case ["float", str(text)]:
            return _finite(float.fromhex(text))
        case ["bytes", str(text)]:
            return bytes.fromhex(text)
        case ["decimal", str(text)]:
            return _bounded(Decimal(text))
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


def _bounded(number: Decimal) -> Decimal:
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST_NUMBER:
        raise ValueError("the server has no such number")
    if len(number.as_tuple().digits) > _LONGEST_NUMBER:
        raise ValueError("the server has no such number")
    return number


def _seal(data: bytes, keyset: Keyset, key: bytes | None) -> bytes:
    """Return what tells that a token is whole; with a key, that it was made by who has the key."""
    if key is None:
        return _digest(data)
    import hmac  # noqa: PLC0415  # for those who ask

    # With the order in full: a digest of four bytes is found again by trying.
    return hmac.digest(key, b"dal page token\0" + str(keyset).encode() + b"\0" + data, "sha256")


def _is_same(seal: bytes, other: bytes) -> bool:
    from hmac import compare_digest  # noqa: PLC0415  # in a time that tells nothing of a key's seal

    return compare_digest(seal, other)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(token: object) -> bytes:
    if not isinstance(token, str):
        raise InvalidCursor(f"a page token is text, not {type(token).__name__}")
    if len(token) > _LONGEST:
        raise InvalidCursor("this page token is longer than any")
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    # Several texts stand for the same bytes; one of them is the token.
    return raw if _text(raw) == token else b""
