"""`Outbox`: messages that are written in the transaction of the work, and those that are dead."""

from __future__ import annotations

import json
import random
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from dal.errors import InvalidArgument, ReadOnlyScope, UsageError
from dal.outbox.message import Message, from_row
from dal.outbox.relay import Relay
from dal.outbox.tables import SHARDS, statements
from dal.scope.current import current_scope
from dal.scope.units import UnitsOfWork

#: Sends messages; returns the refused ones and why. What it raises is an outage.
Publish = Callable[[Sequence[Message]], Mapping[uuid.UUID, str] | None]

_LONGEST = 255

#: Bytes of a row beside its payload, at the most.
_REST_OF_A_ROW = 900

# From the system's entropy: environments of one SnapStart snapshot share the state of `random`.
_random = random.SystemRandom()


@dataclass(frozen=True)
class Backlog:
    """What is in the outbox.

    Attributes:
        waiting: Messages to be sent.
        dead: Messages that were refused too often.
        lag: Seconds that the oldest of those to be sent has waited; 0.0 where there is none.
    """

    waiting: int
    dead: int
    lag: float


class Outbox:
    """The messages of one database."""

    def __init__(self, db: UnitsOfWork) -> None:
        """Take the database whose scopes write the messages; opens nothing."""
        self._db = db
        self._sql = statements(db.settings.table_prefix)

    def add(self, topic: str, payload: Any, *, key: str | None = None) -> Message:
        """Let a message leave if the current scope commits; return it.

        All of a scope are written by one INSERT, right before COMMIT: so the order of their rows is
        the order of COMMITs, wherever two transactions change, or lock, a common row. One that is
        added in a savepoint which is rolled back is dropped.

        Args:
            topic: 1 to 255 printable ASCII characters.
            payload: JSON values.
            key: 1 to 255 bytes in UTF-8. Messages of one topic and key are sent in order.

        Raises:
            NoActiveScope: no scope is open here.
            ReadOnlyScope: the scope is read-only.
            InvalidArgument: one of them is none of this.
        """
        session = self._db.session
        scope = current_scope(self._db)
        if scope is None or session.is_read_only:
            raise ReadOnlyScope(
                "a read-only scope writes no messages; open it, or the handler, without read_only"
            )
        message = Message(_checked_topic(topic), _checked_key(key), _encoded(payload))
        scope.before_commit(self._write, message)
        return message

    def relay(
        self,
        publish: Publish,
        *,
        attempts: int = 10,
        backoff: float = 1.0,
        window: int = 100,
        reserve: float = 0.5,
    ) -> Relay:
        """Return a Lambda handler that sends what is in the outbox.

        Args:
            publish: Sends at most ten messages, 240 KiB, and none twice of a key; returns those
                that were refused and why, or None. What it raises is an outage: nothing is counted.
            attempts: How often a message may be refused before it is dead.
            backoff: Seconds until a refused message is tried again; doubles, 5 minutes at most.
            window: How many messages are read, and deleted, in one transaction.
            reserve: Seconds of the invocation's time kept back for COMMIT and the answer.

        Raises:
            InvalidArgument: one of them is none of this.
        """
        return Relay(
            self._db, publish, attempts=attempts, backoff=backoff, window=window, reserve=reserve
        )

    def dead(self, *, limit: int = 100) -> list[Message]:
        """Return the oldest messages that were refused too often, with why."""
        with self._db.scope(read_only=True) as session:
            rows = session.connection().exec_driver_sql(self._sql.dead, (_positive(limit),)).all()
        return [from_row(row) for row in rows]

    def revive(self) -> int:
        """Let all dead messages be sent again; return how many.

        Raises:
            UsageError: inside a scope, which would be one transaction.
        """
        return self._in_chunks(self._sql.revive, ())

    def purge(self, *, older_than: float) -> int:
        """Delete the dead messages that were added more than so many seconds ago; return how many.

        What was sent is deleted by the relay.

        Raises:
            UsageError: inside a scope, which would be one transaction.
            InvalidArgument: `older_than` is no number of seconds.
        """
        is_number = isinstance(older_than, int | float) and not isinstance(older_than, bool)
        if not is_number or not 0 <= older_than < 10**10:
            raise InvalidArgument(f"older_than is seconds, 0 or more, not {older_than!r}")
        return self._in_chunks(self._sql.purge, (int(older_than * 1_000_000),))

    def backlog(self) -> Backlog:
        """Return how many messages wait, and for how long; reads all of the table's rows."""
        with self._db.scope(read_only=True) as session:
            row = session.connection().exec_driver_sql(self._sql.backlog).one()
        waiting, dead, lag = row
        return Backlog(int(waiting), int(dead), max(0, lag or 0) / 1_000_000)

    def _in_chunks(self, sql: str, values: tuple[Any, ...], chunk: int = 1000) -> int:
        if self._db.has_scope:
            raise UsageError("inside a scope it would be one transaction: call it outside")

        def one_chunk() -> int:
            found = self._db.session.connection().exec_driver_sql(sql, (*values, chunk))
            return found.rowcount

        changed = 0
        while (count := self._db.run(one_chunk)) == chunk:
            changed += count
        return changed + count

    def _write(self, connection: Connection, messages: list[Message]) -> None:
        for some in self._that_fit(messages):
            values = [value for message in some for value in _row(message)]
            rows = ", ".join([self._sql.row] * len(some))
            connection.exec_driver_sql(self._sql.insert + rows, tuple(values))

    def _that_fit(self, messages: list[Message]) -> Iterator[list[Message]]:
        """Give the messages in lots, each of which one statement may have."""
        lot: list[Message] = []
        size = 0
        for message in messages:
            longest = len(message.body) * 2 + _REST_OF_A_ROW  # a quote in it is escaped
            if lot and size + longest > self._db.settings.max_statement_bytes:
                yield lot
                lot, size = [], 0
            lot.append(message)
            size += longest
        yield lot


def _row(message: Message) -> tuple[Any, ...]:
    if message.lane is None:
        key, shard = None, _random.randrange(SHARDS)
    else:
        key = (message.key or "").encode()
        shard = zlib.crc32(message.topic.encode() + b"\0" + key) % SHARDS
    return shard, message.topic, key, message.id.bytes, message.body


def _checked_topic(topic: object) -> str:
    is_text = isinstance(topic, str) and topic.isascii() and topic.isprintable()
    if not isinstance(topic, str) or not is_text or not 0 < len(topic) <= _LONGEST:
        raise InvalidArgument(f"a topic is 1 to {_LONGEST} printable ASCII characters")
    return topic


def _checked_key(key: object) -> str | None:
    if key is None:
        return None
    try:
        is_key = isinstance(key, str) and 0 < len(key.encode()) <= _LONGEST
    except UnicodeEncodeError:
        is_key = False
    if not isinstance(key, str) or not is_key:
        raise InvalidArgument(
            f"a message's key is text of 1 to {_LONGEST} bytes, or None for no order, "
            f"not {'empty' if key == '' else f'of type {type(key).__name__}'}"
        )
    return key


def _encoded(payload: object) -> str:
    try:
        return json.dumps(payload, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(
            "a message's payload is no JSON: give dict, list, str, int, a finite float, bool or "
            f"None ({type(error).__name__})"
        ) from error


def _positive(limit: object) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidArgument(f"limit is a whole number from 1 up, not {limit!r}")
    return limit
