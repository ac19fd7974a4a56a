"""A message, as it is written and as a publisher gets it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        id: A UUID of its own, by which a consumer knows a message again that comes twice.
        topic: What it is about; what it means is up to the publisher.
        key: Messages of one topic and key are sent in order; None: this one in any order.
        body: The payload as JSON, in ASCII.
        attempts: How often it was refused so far.
        error: Why it was refused last.
    """

    topic: str
    key: str | None
    body: str
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    attempts: int = 0
    error: str | None = None

    @property
    def payload(self) -> Any:
        """What was given to `Outbox.add`, decoded from JSON."""
        return json.loads(self.body)

    @property
    def lane(self) -> tuple[str, str] | None:
        """What is sent in order; None where that does not matter."""
        return None if self.key is None else (self.topic, self.key)


def from_row(row: Any) -> Message:
    """Return the message in a row of the table."""
    _, message_id, topic, key, body, attempts, error = row
    key = None if key is None else bytes(key).decode()
    return Message(topic, key, body, uuid.UUID(bytes=bytes(message_id)), attempts, error)
