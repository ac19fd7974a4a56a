"""`Idempotency`: what makes two events the same one, and for how long that is remembered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Self

from dal.errors import InvalidArgument, UsageError
from dal.idempotency.claim import Claim
from dal.idempotency.table import statements
from dal.scope.units import UnitsOfWork

#: A week: longer than most queues hold what is to be delivered again.
EXPIRES = 604_800.0

#: Bytes that a key may have, in UTF-8.
LONGEST_KEY = 255

_LONGEST_NAME = 100
_LONGEST = 3_153_600_000.0  # a hundred years, in seconds


class Idempotency:
    """Which events are the same one, for `@db.handler(idempotency=...)`.

    The key, the payload's hash and the answer are rows of the transaction that holds the work: they
    are stored with it or not at all. Made at module level; opens nothing.
    """

    def __init__(
        self,
        name: str,
        *,
        key: Callable[[Any], str],
        payload: Callable[[Any], Any] | None = None,
        expires: float = EXPIRES,
    ) -> None:
        """Say what the key of an event is.

        Args:
            name: 1 to 100 printable ASCII characters: keys of another name are other keys. Say it
                once and keep it, as the keys that are stored belong to it.
            key: Given the event, returns its key: text of 1 to 255 bytes in UTF-8.
            payload: Given the event, returns the part that must not differ in a repeat, as JSON
                values. Not the whole event: a repeated delivery differs in its envelope.
            expires: Seconds after which a key is forgotten, by the server's clock.

        Raises:
            InvalidArgument: one of them is none of this.
        """
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not _is_plain(name):
            raise InvalidArgument(
                f"the name of an Idempotency is 1 to {_LONGEST_NAME} printable ASCII characters"
            )
        if not callable(key):
            raise InvalidArgument(f"key is a callable that takes the event, not {_kind(key)}")
        if payload is not None and not callable(payload):
            raise InvalidArgument(
                f"payload is a callable that takes the event, not {_kind(payload)}"
            )
        is_number = isinstance(expires, int | float) and not isinstance(expires, bool)
        if not is_number or not 0 < expires <= _LONGEST:
            raise InvalidArgument(f"expires is seconds, above 0 and finite, not {expires!r}")
        self.name = name
        self._key = key
        self._payload = payload
        self._microseconds = max(1, int(expires * 1_000_000))
        self._is_by_request = False

    @classmethod
    def by_request(cls, name: str, *, expires: float = 86_400.0) -> Self:
        """Take Lambda's `aws_request_id` for the key: the same in Lambda's own repeats of an event.

        Those are the repeats of an asynchronous invocation that failed. Whoever sends an event
        twice sends two requests.
        """
        found = cls(name, key=str, expires=expires)
        found._is_by_request = True
        return found

    def __repr__(self) -> str:
        return f"Idempotency({self.name!r})"

    def claim(self, event: Any, context: object) -> Claim:
        """Return what one invocation needs to be the only one with its key; asks nobody.

        Raises:
            InvalidArgument: the key or the payload of this event cannot be one.
        """
        key = getattr(context, "aws_request_id", None) if self._is_by_request else self._key(event)
        digest = None if self._payload is None else self._hash(self._payload(event))
        return Claim(self.name, self._checked(key), digest, self._microseconds)

    @staticmethod
    def purge(db: UnitsOfWork, *, chunk: int = 1000) -> int:
        """Delete the keys of all names whose time is over; return how many.

        In transactions of `chunk` rows each, so that nobody waits long for one. Call it outside of
        what users wait for: a function on a schedule, without `@db.handler`.

        Raises:
            UsageError: inside a scope, which would be one transaction.
            InvalidArgument: `chunk` is no whole number from 1 up.
        """
        if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
            raise InvalidArgument(f"chunk is a whole number from 1 up, not {chunk!r}")
        if db.has_scope:
            raise UsageError(
                "purge() inside a scope would be one transaction: call it outside, in a function "
                "without @db.handler"
            )
        sql = statements(db.settings.table_prefix).purge

        def one_chunk() -> int:
            return db.session.connection().exec_driver_sql(sql, (chunk,)).rowcount

        deleted = 0
        while True:
            count = db.run(one_chunk)
            deleted += count
            if count < chunk:
                return deleted

    def _checked(self, key: object) -> bytes:
        where = f"the idempotency key of {self.name!r}"
        if not isinstance(key, str) or not key:
            found = "empty" if key == "" else _kind(key)
            raise InvalidArgument(
                f"{where} is {found}: an event without one cannot be told from others; let the "
                "callable return text, or raise"
            )
        try:
            encoded = key.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"{where} holds a lone surrogate, which is no text") from error
        if len(encoded) > LONGEST_KEY:
            raise InvalidArgument(
                f"{where} has {len(encoded)} bytes, {LONGEST_KEY} at the most: write "
                "hashlib.sha256(key.encode()).hexdigest()"
            )
        return encoded

    def _hash(self, payload: object) -> bytes:
        try:
            canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArgument(
                f"the payload of {self.name!r} is no JSON: return dict, list, str, int, float, "
                f"bool or None ({type(error).__name__})"
            ) from error
        return hashlib.sha256(canonical.encode()).digest()


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isprintable()


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
