"""Keys that the client makes, in the order of time: UUID version 7 in sixteen bytes."""

from __future__ import annotations

import os
import threading
import time
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapped, mapped_column

from dal.errors import InvalidArgument

_COUNTER_BITS = 42
_TAIL_BITS = 32


class _Clock:
    """RFC 9562, section 6.2, method 1: milliseconds, a counter within them, random bits behind.

    The counter starts at random in each millisecond, with its highest bit clear, and the bits
    behind it come from the operating system for every key. So nothing repeats after a fork or after
    a snapshot that many environments are restored from: whatever they share in memory is worth
    nothing without those bits, and Lambda's kernel has its own in each of them.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._millisecond = 0
        self._counter = 0

    def next(self) -> tuple[int, int, int]:
        now = time.time_ns() // 1_000_000
        tail = int.from_bytes(os.urandom(_TAIL_BITS // 8))
        with self._lock:
            if now > self._millisecond:
                self._millisecond = now
                self._counter = int.from_bytes(os.urandom(6)) >> (48 - _COUNTER_BITS + 1)
            else:  # the same millisecond, or a clock that was set back
                self._counter += 1
                if self._counter >> _COUNTER_BITS:
                    self._millisecond += 1
                    self._counter = 0
            return self._millisecond, self._counter, tail


_clock = _Clock()
os.register_at_fork(after_in_child=_clock.reset)


def uuid7() -> uuid.UUID:
    """Return a new UUID of version 7, greater than all that this process has made before.

    It starts with the Unix time in milliseconds, so that new rows go to the end of the primary key
    and not everywhere into it; whoever sees it can read that time. Python has its own from 3.14 on.
    """
    millisecond, counter, tail = _clock.next()
    high, low = counter >> 30, counter & (1 << 30) - 1
    number = (millisecond & (1 << 48) - 1) << 80
    number |= 0x7 << 76 | high << 64
    number |= 0b10 << 62 | low << 32 | tail
    return uuid.UUID(int=number)


class BinaryUUID(sa.TypeDecorator[uuid.UUID]):
    """`uuid.UUID` in `BINARY(16)`, in the bytes' own order, which for `uuid7()` is that of time.

    SQLAlchemy's `Uuid` makes CHAR(32) on MySQL: twice the bytes in every index, compared by a
    collation. In SQL, `BIN_TO_UUID(id)` shows one, without its second argument.

    Raises (at the statement):
        InvalidArgument: the value is no `uuid.UUID`; a text is made one by `uuid.UUID(text)`.
    """

    impl = sa.BINARY(16)
    cache_ok = True

    def process_bind_param(self, value: uuid.UUID | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return the sixteen bytes."""
        if value is None:
            return None
        if not isinstance(value, uuid.UUID):
            raise InvalidArgument(f"a key is a uuid.UUID, not {type(value).__name__}")
        return value.bytes

    def process_result_value(
        self,
        value: bytes | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> uuid.UUID | None:
        """Return the UUID of the sixteen bytes."""
        return None if value is None else uuid.UUID(bytes=value)


class UUIDKey:
    """Mixin: `id`, a UUID of version 7 that the client makes.

    An instance has it from the start, so new rows share statements and refer to each other freely.
    """

    id: Mapped[uuid.UUID] = mapped_column(
        BinaryUUID, primary_key=True, default=uuid7, sort_order=-1
    )


@event.listens_for(UUIDKey, "init", propagate=True)
def _have_a_key(_: object, __: object, attributes: dict[str, Any]) -> None:
    attributes.setdefault("id", uuid7())
