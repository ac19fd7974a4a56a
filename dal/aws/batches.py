"""A unit of work for each record of a batch: SQS, Kinesis, DynamoDB streams.

Which records failed goes back to Lambda as `batchItemFailures`, if the event source mapping has
ReportBatchItemFailures; without it, failed records are lost in silence.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from dal.aws.handler import Keys, Run, as_unit_of_work, lambda_context
from dal.errors import DeadlineExceeded, InvalidArgument
from dal.scope.units import UnitsOfWork
from dal.wire.deadline import INVOCATION

log = logging.getLogger("dal")

Record = Mapping[str, Any]
RecordHandler = Callable[..., None]


def record_handler(
    database: UnitsOfWork,
    function: Callable[..., object],
    *,
    idempotency: Keys | None,
    attempts: int,
    reserve: float,
    run: Run,
) -> RecordHandler:
    """Return `function` with one unit of work around each record.

    No `functools.wraps`: Powertools hands the context over to who has a parameter
    `lambda_context`, and would look for it in the function inside.
    """

    def one(record: Any, lambda_context: Any = None) -> None:
        function(record, **({"lambda_context": lambda_context} if wants_context else {}))

    one.__qualname__ = getattr(function, "__qualname__", repr(function))
    unit_of_work = as_unit_of_work(
        database,
        one,
        read_only=False,
        attempts=attempts,
        reserve=reserve,
        rollback_when=lambda _: False,
        idempotency=idempotency,
        run=run,
    )
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise InvalidArgument(f"a record's handler is a plain function, not {function!r}")
    wants_context = "lambda_context" in inspect.signature(function).parameters

    def handle(record: Any, lambda_context: Any = None) -> None:
        if _seconds_left(lambda_context) <= reserve:
            raise DeadlineExceeded(f"the deadline of {INVOCATION} passed before this record began")
        unit_of_work(record, lambda_context)

    handle.__doc__ = function.__doc__
    return handle


def batch_handler(handle: RecordHandler) -> Callable[..., dict[str, Any]]:
    """Return a Lambda handler that gives each record of an event to `handle`."""

    def handler(event: Any, context: Any = None) -> dict[str, Any]:
        records = _records(event)
        kind = _KINDS[records[0]["eventSource"]] if records else _of_sqs
        failed: list[str] = []
        stopped: set[str] = set()
        for record in records:
            lane, identifier = kind(record)
            if lane is not None and lane in stopped:
                if kind is _of_sqs:  # the rest of a group has not been done either
                    failed.append(identifier)
                continue
            try:
                handle(record, context)
            except Exception as error:
                log.exception("a record of the batch failed: %s", type(error).__name__)
                failed.append(identifier)
                if lane is not None:
                    stopped.add(lane)
        return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}

    return handler


def _of_sqs(record: Record) -> tuple[str | None, str]:
    """Return the group that stops at its first failure, None for none, and the record's id.

    Standard queues may have groups as well, for fairness: what keeps order is told by the ARN.
    """
    is_fifo = record["eventSourceARN"].endswith(".fifo")
    group = record["attributes"]["MessageGroupId"] if is_fifo else None
    return group, record["messageId"]


def _of_kinesis(record: Record) -> tuple[str | None, str]:
    # One shard is one invocation: Lambda begins again at the lowest of the failed.
    return "", record["kinesis"]["sequenceNumber"]


def _of_dynamodb(record: Record) -> tuple[str | None, str]:
    return "", record["dynamodb"]["SequenceNumber"]


_KINDS: dict[str, Callable[[Record], tuple[str | None, str]]] = {
    "aws:sqs": _of_sqs,
    "aws:kinesis": _of_kinesis,
    "aws:dynamodb": _of_dynamodb,
}


def _records(event: Any) -> list[Any]:
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list):
        raise InvalidArgument(
            "this event is no batch of SQS, Kinesis or DynamoDB streams; for others, such as "
            "Kafka, use Powertools with record_handler"
        )
    sources = {record.get("eventSource") for record in records}
    if not sources <= set(_KINDS) or len(sources) > 1:
        raise InvalidArgument(
            "the records of this event come from another source than SQS, Kinesis or DynamoDB "
            "streams; use Powertools with record_handler"
        )
    return records


def _seconds_left(context: object) -> float:
    return lambda_context((context,), {})[1]
