"""JSON documents: stored as they are, or not at all.

MySQL keeps whole numbers of 64 bits and floats in double precision, and knows no NaN (manual, "The
JSON Data Type"). JSON itself has keys of text alone: `{1: "a"}` would come back as `{"1": "a"}`.
A `Decimal` becomes a number, as the marshaller of Lambda's answers makes it one.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from dal.errors import InvalidArgument

_DEEPEST = 100  # MySQL's error 3157 begins behind it


def serialize(document: Any) -> str:
    """Return the document as JSON text.

    Raises:
        InvalidArgument: something in it is not JSON, or would not come back as it is.
    """
    _check(document, 1)
    return json.dumps(document, default=_number)


def _check(part: Any, depth: int) -> None:
    if type(part) is str and part.isascii():
        return
    if isinstance(part, dict):
        _check_depth(depth)
        for key, value in part.items():
            if not isinstance(key, str):
                raise InvalidArgument(
                    f"a key in a JSON document is str, not {type(key).__name__}: it would come "
                    "back as a text"
                )
            _check(key, depth)
            _check(value, depth + 1)
    elif isinstance(part, list | tuple):
        _check_depth(depth)
        for value in part:
            _check(value, depth + 1)
    else:
        _check_scalar(part)


def _check_depth(depth: int) -> None:
    if depth > _DEEPEST:
        raise InvalidArgument(f"a JSON document has at most {_DEEPEST} levels")


def _check_scalar(part: Any) -> None:
    if part is None or isinstance(part, bool):
        return
    if isinstance(part, str):
        try:
            part.encode()
        except UnicodeEncodeError:
            raise InvalidArgument("Invalid JSON text: half of a character") from None
    elif isinstance(part, int):
        if not -(2**63) <= part < 2**64:
            raise InvalidArgument("a whole number in a JSON document has 64 bits: send it as text")
    elif isinstance(part, float | Decimal):
        if not math.isfinite(part):
            raise InvalidArgument("Invalid JSON text: it knows no NaN and no infinity")
        if isinstance(part, Decimal) and Decimal(float.__repr__(float(part))) != part:
            raise InvalidArgument(
                "a Decimal in a JSON document has more digits than a float: send it as text"
            )


def _number(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)
    # As `json` says it: an InvalidArgument of the statement, when it comes out.
    raise TypeError(f"{type(value).__name__} is not JSON; others are for json_serializer")
