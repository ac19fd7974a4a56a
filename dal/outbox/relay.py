"""The relay: sends what is in the outbox, at least once, in order for each key.

It owns shards, not rows: the lock on a shard's row is the claim, so that a relay that is killed
leaves its shards free at once, and two relays never hold messages of one key. Rows claimed by
SKIP LOCKED, or by a lease, get out of order.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from dal.aws.handler import checked_reserve, lambda_context
from dal.errors import InvalidArgument
from dal.outbox.message import Message, from_row
from dal.outbox.tables import SHARDS, statements
from dal.scope.units import UnitsOfWork
from dal.wire.deadline import Deadline

#: The most messages, and bytes, that one call publishes: SQS, SNS and EventBridge take ten and
#: 256 KiB, which a message's attributes count in.
#: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
CALL, CALL_BYTES = 10, 240 * 1024

#: Seconds after which a refused message is tried again, at the most.
LONGEST_PAUSE = 300.0

#: Seconds that must be left to begin another call.
_FOR_A_CALL = 1.0

_LONGEST_ERROR = 500

_random = random.SystemRandom()


@dataclass
class _Window:
    """What became of the messages of one transaction."""

    sent: list[int] = field(default_factory=list)
    refused: list[tuple[int, Message, str]] = field(default_factory=list)
    outage: Exception | None = None


class Relay:
    """A Lambda handler that sends what is in the outbox; called on a schedule, or by invocation."""

    def __init__(
        self,
        db: UnitsOfWork,
        publish: Callable[[Sequence[Message]], Mapping[uuid.UUID, str] | None],
        *,
        attempts: int,
        backoff: float,
        window: int,
        reserve: float,
    ) -> None:
        """As `Outbox.relay` says."""
        if not callable(publish):
            raise InvalidArgument(f"publish is a callable, not {publish!r}")
        for name, value, most in (("attempts", attempts, 60_000), ("window", window, 10_000)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise InvalidArgument(f"{name} is a whole number from 1 to {most}, not {value!r}")
        is_number = isinstance(backoff, int | float) and not isinstance(backoff, bool)
        if not is_number or not 0 <= backoff <= LONGEST_PAUSE:
            raise InvalidArgument(f"backoff is seconds, from 0 to {LONGEST_PAUSE:g}")
        self._db = db
        self._publish = publish
        self._attempts = attempts
        self._backoff = backoff
        self._window = window
        self._reserve = checked_reserve(reserve)
        self._sql = statements(db.settings.table_prefix)

    def __call__(self, event: Any = None, context: Any = None) -> dict[str, int]:
        """Send until nothing waits, or the time is up; return how many were sent and refused.

        Raises:
            what `publish` raises: what was sent before is deleted, nothing counts as refused.
            what a scope raises: at most one window is sent again.
        """
        _, seconds = lambda_context((event, context), {})
        deadline = Deadline(max(0.0, seconds - self._reserve))
        told = {"sent": 0, "refused": 0}
        shards = self._shards(deadline)
        _random.shuffle(shards)
        for shard in shards:
            while deadline.remaining() > _FOR_A_CALL:
                count, window = self._send(shard, deadline)
                told["sent"] += len(window.sent)
                told["refused"] += len(window.refused)
                if window.outage is not None:
                    raise window.outage
                if count < self._window:
                    break
        return told

    def _shards(self, deadline: Deadline) -> list[int]:
        """Return the shards in which messages wait."""
        with self._db.scope(read_only=True, deadline=deadline.remaining()) as session:
            rows = session.connection().exec_driver_sql(self._sql.shards).all()
        if rows and rows[0][1] < SHARDS:
            with self._db.scope(deadline=deadline.remaining()) as session:
                session.connection().exec_driver_sql(self._sql.fill_shards)
        return [shard for shard, _ in rows]

    def _send(self, shard: int, deadline: Deadline) -> tuple[int, _Window]:
        """Send the next window of a shard, if no other relay has it; return how many it had."""
        done = _Window()
        with self._db.scope(deadline=deadline.remaining()) as session:
            connection = session.connection()
            if connection.exec_driver_sql(self._sql.own, (shard,)).first() is None:
                return 0, done
            found = connection.exec_driver_sql(self._sql.window, (shard, shard, self._window))
            rows = found.all()
            self._publish_all([(row[0], from_row(row)) for row in rows], done, deadline)
            self._settle(connection, done)
        return len(rows), done

    def _publish_all(
        self, waiting: list[tuple[int, Message]], done: _Window, deadline: Deadline
    ) -> None:
        refused: set[tuple[str, str] | None] = set()
        for call in _calls(waiting, refused):
            if deadline.remaining() <= _FOR_A_CALL:
                return
            try:
                said = self._publish([message for _, message in call]) or {}
            except Exception as error:  # noqa: BLE001  # raised once what was sent is deleted
                done.outage = error
                return
            for number, message in call:
                if message.id in said:
                    done.refused.append((number, message, str(said[message.id])))
                    refused.add(message.lane)
                else:
                    done.sent.append(number)

    def _settle(self, connection: Connection, done: _Window) -> None:
        if done.sent:
            places = ", ".join(["%s"] * len(done.sent))
            connection.exec_driver_sql(f"{self._sql.delete}({places})", tuple(done.sent))
        for number, message, why in done.refused:
            pause = min(LONGEST_PAUSE, self._backoff * 2.0 ** min(message.attempts, 30))
            is_dead = message.attempts + 1 >= self._attempts
            values = (why[:_LONGEST_ERROR], int(pause * 1_000_000), int(is_dead), number)
            connection.exec_driver_sql(self._sql.refuse, values)


def _calls(
    waiting: list[tuple[int, Message]], refused: set[tuple[str, str] | None]
) -> Iterator[list[tuple[int, Message]]]:
    """Give the messages in calls: never two of a key in one, as a part of it may be refused.

    What follows a refused one of its key waits for its next try.
    """
    while waiting:
        call: list[tuple[int, Message]] = []
        rest: list[tuple[int, Message]] = []
        lanes: set[tuple[str, str]] = set()
        size = 0
        for number, message in waiting:
            lane = message.lane
            if lane is not None and lane in refused:
                continue
            is_full = len(call) == CALL or (call and size + len(message.body) > CALL_BYTES)
            if is_full or lane in lanes:
                rest.append((number, message))
            else:
                call.append((number, message))
                size += len(message.body)
            if lane is not None:
                lanes.add(lane)
        if call:
            yield call
        waiting = rest
