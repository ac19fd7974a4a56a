"""What leaves a handler: encoded before COMMIT, because the runtime encodes after the handler.

`awslambdaric/bootstrap.py`, `handle_event_request`: the handler returns, then the answer is
marshalled, then posted. A scope that has committed by then would answer an error for stored work,
and the caller would send the work again.
"""

from __future__ import annotations

import decimal
import json
import sys
from typing import Any

from dal.errors import UnencodableAnswer

#: Bytes that the Runtime API takes: 6 MB and 100 bytes for the envelope.
#: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_BYTES = 6 * 1024 * 1024 + 100


def prove_encodable(answer: object) -> str | bytes:
    """Return the answer as the runtime will encode it.

    Raises:
        UnencodableAnswer: the runtime's marshaller refuses it, or it is over 6 MB.
    """
    try:
        encoded = _marshal(answer)
        size = len(encoded if isinstance(encoded, bytes) else encoded.encode())
    except Exception as error:
        raise UnencodableAnswer(
            f"the handler's answer cannot be encoded, so nothing was committed: {_said(error)}; "
            "answer with dict, list, str, int, float, Decimal, bool or None"
        ) from error
    if size > MAX_BYTES:
        raise UnencodableAnswer(
            f"the handler's answer has {size:,} bytes, Lambda takes {MAX_BYTES:,}; nothing was "
            "committed; answer with a page of it, or with where it is stored"
        )
    return encoded


def proven_to_replay(encoded: str | bytes) -> str:
    """Return an encoded answer, as it can be stored and given again byte for byte.

    Raises:
        UnencodableAnswer: it would be encoded otherwise the second time.
    """
    if isinstance(encoded, bytes):
        raise UnencodableAnswer(
            "the handler's answer is bytes, which cannot be kept for a repeat, so nothing was "
            "committed; answer with JSON values, bytes as base64"
        )
    if _marshal(decoded(encoded)) != encoded:
        raise UnencodableAnswer(
            "the handler's answer would not be the same when it is given again, so nothing was "
            "committed: two keys of a dictionary are the same text (1 and '1')"
        )
    return encoded


def decoded(text: str) -> Any:
    """Return an answer that the runtime encodes as `text` again."""
    return json.loads(text, parse_float=_float, parse_int=_int)


def is_failure(answer: object) -> bool:
    """Return whether this is an HTTP answer with a status of 400 or more.

    Resolvers of API events turn exceptions into such answers.
    """
    status = answer.get("statusCode") if isinstance(answer, dict) else None
    return isinstance(status, int) and not isinstance(status, bool) and status >= 400


def _said(error: Exception) -> object:
    """Return what the runtime's own exception keeps beside its args."""
    return getattr(error, "msg", error)


def _marshal(answer: object) -> str | bytes:
    runtime = sys.modules.get("awslambdaric.lambda_runtime_client")
    if runtime is not None:
        encoded, _ = runtime.LambdaRuntimeClient.marshaller.marshal_response(answer)
        return encoded if isinstance(encoded, bytes) else str(encoded)
    if isinstance(answer, bytes):  # the runtime passes bytes on as they are
        return answer
    return json.dumps(answer, default=_decimal, ensure_ascii=False)


class _Literal(decimal.Decimal):
    """A number that is written as it was: "1.10" stays so, where a float would be 1.1."""

    _text: str

    def __new__(cls, text: str) -> _Literal:
        self = super().__new__(cls, text)
        self._text = text
        return self

    def __str__(self) -> str:
        return self._text


def _float(text: str) -> float | _Literal:
    value = float(text)
    return value if repr(value) == text else _Literal(text)


def _int(text: str) -> int | _Literal:
    value = int(text)
    return value if str(value) == text else _Literal(text)


def _decimal(value: Any) -> float:
    if isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable")
