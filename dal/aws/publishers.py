"""What the relay of an outbox publishes with: SQS, SNS, EventBridge, by a client of boto3.

Each takes the messages of one call, ten at the most, and returns those that the service refused.
What the client raises, or all of them failing by the service's own fault, is an outage.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

# What SQS and SNS take as a group: 1 to 128 letters, digits and punctuation.
_GROUP = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")

# What EventBridge says when it is its own fault.
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html
_OUTAGE = {"InternalException", "InternalFailure", "ThrottlingException"}


class Message(Protocol):
    """A `dal.outbox.Message`."""

    @property
    def id(self) -> uuid.UUID:
        """By which a consumer knows it again."""

    @property
    def topic(self) -> str:
        """What it is about."""

    @property
    def key(self) -> str | None:
        """What is sent in order."""

    @property
    def body(self) -> str:
        """The payload as JSON."""


class PublishingFailed(Exception):
    """The service failed by its own fault: nothing of the call was sent."""


class ToSQS:
    """Sends to a queue; the topic and the message's id are attributes.

    On a FIFO queue the key is the group and the id deduplicates: what is sent again within five
    minutes is dropped by the queue. A key that SQS does not take as a group is hashed.
    """

    def __init__(self, client: Any, queue_url: str) -> None:
        """Take `boto3.client("sqs")` and the queue's address."""
        self._client = client
        self._queue_url = queue_url
        self._is_fifo = queue_url.endswith(".fifo")

    def __call__(self, messages: Sequence[Message]) -> Mapping[uuid.UUID, str]:
        """Send them; return the refused ones and why."""
        entries = [
            {
                "Id": str(place),
                "MessageBody": message.body,
                "MessageAttributes": _attributes(message),
                **_fifo(message, is_fifo=self._is_fifo),
            }
            for place, message in enumerate(messages)
        ]
        answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        return _refused(messages, answer)


class ToSNS:
    """Sends to a topic of SNS, FIFO as `ToSQS`; the topic and the message's id are attributes."""

    def __init__(self, client: Any, topic_arn: str) -> None:
        """Take `boto3.client("sns")` and the topic's ARN."""
        self._client = client
        self._topic_arn = topic_arn
        self._is_fifo = topic_arn.endswith(".fifo")

    def __call__(self, messages: Sequence[Message]) -> Mapping[uuid.UUID, str]:
        """Send them; return the refused ones and why."""
        entries = [
            {
                "Id": str(place),
                "Message": message.body,
                "MessageAttributes": _attributes(message),
                **_fifo(message, is_fifo=self._is_fifo),
            }
            for place, message in enumerate(messages)
        ]
        answer = self._client.publish_batch(
            TopicArn=self._topic_arn, PublishBatchRequestEntries=entries
        )
        return _refused(messages, answer)


class ToEventBridge:
    """Sends to a bus; the topic is the detail type, the payload must be a dictionary.

    The message's id is the event's only resource, as `urn:uuid:...`. Buses keep no order.
    """

    def __init__(self, client: Any, *, bus: str, source: str) -> None:
        """Take `boto3.client("events")`, the bus, and what the events' source is."""
        self._client = client
        self._bus = bus
        self._source = source

    def __call__(self, messages: Sequence[Message]) -> Mapping[uuid.UUID, str]:
        """Send them; return the refused ones and why."""
        entries = [
            {
                "EventBusName": self._bus,
                "Source": self._source,
                "DetailType": message.topic,
                "Detail": message.body,
                "Resources": [message.id.urn],
            }
            for message in messages
        ]
        answer = self._client.put_events(Entries=entries)
        failed = [  # told by position alone
            (message, entry["ErrorCode"], entry.get("ErrorMessage", ""))
            for message, entry in zip(messages, answer["Entries"], strict=True)
            if entry.get("ErrorCode")
        ]
        return _told(failed, len(messages), (code in _OUTAGE for _, code, _ in failed))


def _attributes(message: Message) -> dict[str, dict[str, str]]:
    found = {"topic": message.topic, "message_id": str(message.id)}
    return {name: {"DataType": "String", "StringValue": value} for name, value in found.items()}


def _fifo(message: Message, *, is_fifo: bool) -> dict[str, str]:
    if not is_fifo:
        return {}
    key = str(message.id) if message.key is None else message.key
    group = key if _GROUP.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()
    return {"MessageGroupId": group, "MessageDeduplicationId": str(message.id)}


def _refused(messages: Sequence[Message], answer: Mapping[str, Any]) -> Mapping[uuid.UUID, str]:
    entries = answer.get("Failed", [])
    failed = [(messages[int(one["Id"])], one["Code"], one.get("Message", "")) for one in entries]
    return _told(failed, len(messages), (not one["SenderFault"] for one in entries))


def _told(
    failed: Sequence[tuple[Message, str, str]], count: int, are_outages: Iterable[bool]
) -> Mapping[uuid.UUID, str]:
    if len(failed) == count and all(are_outages):
        raise PublishingFailed(f"all {count} messages failed: {failed[0][1]}: {failed[0][2]}")
    return {message.id: f"{code}: {why}" for message, code, why in failed}
