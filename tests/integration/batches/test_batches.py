"""Each record of a batch is a unit of work: exactly the failed ones come back."""

import time

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
    process_partial_response,
)

from dal import DeadlineExceeded, Idempotency, InvalidArgument, UsageError, tables
from dal.engine import Settings, create_engine


class Context:
    """Lambda's context: so many seconds are left."""

    aws_request_id = "1"

    def __init__(self, seconds=30.0):
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self._end - time.monotonic()) * 1000)


def sqs(*bodies, groups=None, fifo=False):
    arn = "arn:aws:sqs:eu-central-1:123456789012:q" + (".fifo" if fifo else "")
    return {
        "Records": [
            {
                "messageId": f"m{place}",
                "receiptHandle": str(time.monotonic_ns()),
                "body": body,
                "attributes": {"MessageGroupId": groups[place]} if groups else {},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
            }
            for place, body in enumerate(bodies)
        ]
    }


def stream(source, *bodies):
    inner = {"aws:kinesis": "kinesis", "aws:dynamodb": "dynamodb"}[source]
    number = "sequenceNumber" if inner == "kinesis" else "SequenceNumber"
    return {
        "Records": [
            {"eventSource": source, "body": body, inner: {number: f"s{place}"}}
            for place, body in enumerate(bodies)
        ]
    }


def failures(answer):
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


@pytest.fixture
def owners(admin):
    def read():
        with admin.cursor() as cursor:
            cursor.execute("SELECT owner FROM account ORDER BY id")
            return [owner for (owner,) in cursor.fetchall()]

    return read


@pytest.fixture
def take(db):
    """Writes, then fails where the record says so."""

    def one(record, lambda_context=None):
        Accounts(db).add(Account(owner=record["body"]))
        if record["body"].startswith("bad"):
            raise LookupError("no such customer")
        if record["body"].startswith("slow"):
            db.session.execute(sa.text("SELECT SLEEP(60)"))

    return one


class TestABatch:
    def test_of_a_standard_queue_goes_on_after_a_failure(self, db, take, owners):
        handler = db.batch_handler(take)
        assert failures(handler(sqs("one", "bad", "two", "one"), None)) == ["m1", "m3"]
        assert owners() == ["one", "two"]

    def test_of_a_fifo_queue_stops_each_group_at_its_first_failure(self, db, take, owners):
        handler = db.batch_handler()(take)
        event = sqs("a1", "bad", "b1", "a2", "b2", groups=["a", "a", "b", "a", "b"], fifo=True)
        assert failures(handler(event, None)) == ["m1", "m3"]
        assert owners() == ["a1", "b1", "b2"]

    def test_of_a_standard_queue_with_groups_has_no_order(self, db, take, owners):
        event = sqs("bad", "a", groups=["g", "g"])
        assert failures(db.batch_handler(take)(event, None)) == ["m0"]
        assert owners() == ["a"]

    @pytest.mark.parametrize("source", ["aws:kinesis", "aws:dynamodb"])
    def test_of_a_stream_stops_at_its_first_failure(self, db, take, owners, source):
        event = stream(source, "one", "bad", "two", "bad2")
        assert failures(db.batch_handler(take)(event, None)) == ["s1"]
        assert owners() == ["one"]

    def test_that_has_no_time_left_gives_back_what_was_not_begun(self, db, take, owners):
        handler = db.batch_handler(take, reserve=0.5)
        answer = handler(sqs("one", "slow", "two"), Context(1.2))
        assert failures(answer) == ["m1", "m2"]
        assert owners() == ["one"]

    def test_that_is_delivered_again_does_each_record_once(self, db, take, owners, environment):
        metadata = sa.MetaData()
        tables(metadata)
        metadata.create_all(create_engine(Settings.from_env(environment).for_migrations()))
        once = Idempotency(
            "take", key=lambda record: record["messageId"], payload=lambda record: record["body"]
        )
        handler = db.batch_handler(idempotency=once)(take)
        for _ in range(3):
            assert failures(handler(sqs("one", "bad", "two"), None)) == ["m1"]
        assert owners() == ["one", "two"]

    def test_with_callbacks_runs_those_of_good_records(self, db, owners):
        told = []

        @db.batch_handler
        def handler(record):
            db.after_commit(lambda: told.append(record["body"]))
            if record["body"] == "bad":
                raise ValueError("mine")

        assert failures(handler(sqs("one", "bad"), None)) == ["m1"]
        assert told == ["one"]

    def test_of_nothing_is_done(self, db, take):
        assert db.batch_handler(take)({"Records": []}, None) == {"batchItemFailures": []}

    def test_of_another_source_is_refused(self, db, take, owners):
        handler = db.batch_handler(take)
        kafka = {"eventSource": "aws:kafka", "records": {"t-0": []}}
        for event in (kafka, {}, None, [], {"Records": [{"eventSource": "aws:s3"}]}):
            with pytest.raises(InvalidArgument, match="Powertools"):
                handler(event, None)
        assert owners() == []

    def test_answers_of_records_decide_nothing(self, db, take, owners):
        def answering(record):
            take(record)
            return {"statusCode": 500, "what": object()}

        assert failures(db.batch_handler(answering)(sqs("one"), None)) == []
        assert owners() == ["one"]


class TestARecordHandler:
    def test_gets_its_deadline_from_powertools(self, db, take, owners):
        handle = db.record_handler(take)
        processor = BatchProcessor(event_type=EventType.SQS)

        def handler(event, context):
            return process_partial_response(
                event=event,
                record_handler=lambda record, lambda_context: handle(
                    record.raw_event, lambda_context
                ),
                processor=processor,
                context=context,
            )

        answer = handler(sqs("one", "bad", "slow", "two"), Context(1.4))
        assert failures(answer) == ["m1", "m2", "m3"]
        assert owners() == ["one"]

    def test_is_seen_by_powertools_as_one_that_wants_the_context(self, db, owners):
        def take_one(record):
            Accounts(db).add(Account(owner=record.body))

        processor = SqsFifoPartialProcessor()
        event = sqs("one", "two", groups=["g", "g"], fifo=True)
        answer = process_partial_response(
            event=event,
            record_handler=db.record_handler(take_one),
            processor=processor,
            context=Context(),
        )
        assert failures(answer) == []
        assert owners() == ["one", "two"]
        with pytest.raises(DeadlineExceeded, match="before this record began"):
            db.record_handler(take_one)(event["Records"][0], Context(0.2))

    def test_runs_a_record_again_after_a_transient_error(self, db, owners):
        tries = []

        @db.record_handler(attempts=2)
        def handle(record):
            tries.append(1)
            Accounts(db).add(Account(owner=f"{record} {len(tries)}"))
            if len(tries) == 1:
                db.session.connection().connection.dbapi_connection.drop()
                db.session.execute(sa.text("SELECT 1"))

        handle("r")
        assert owners() == ["r 2"]

    def test_is_a_plain_function(self, db):
        async def later(record):
            pass

        for wrong in (later, "take", None):
            with pytest.raises(InvalidArgument):
                db.record_handler()(wrong)


class TestAHandlerAroundAProcessor:
    def processed(self, db, take, *bodies):
        processor = BatchProcessor(event_type=EventType.SQS)

        @db.handler
        def handler(event, context):
            return process_partial_response(
                event=event,
                record_handler=lambda record: take(record.raw_event),
                processor=processor,
                context=context,
            )

        return handler(sqs(*bodies), Context())

    def test_refuses_to_store_half_of_a_failed_record(self, db, take, owners):
        with pytest.raises(UsageError, match="record_handler"):
            self.processed(db, take, "one", "bad")
        assert owners() == []

    def test_may_undo_each_by_a_savepoint(self, db, take, owners):
        def in_a_savepoint(record):
            with db.savepoint():
                take(record)

        assert failures(self.processed(db, in_a_savepoint, "one", "bad")) == ["m1"]
        assert owners() == ["one"]

    def test_goes_well_where_nothing_failed(self, db, take, owners):
        assert failures(self.processed(db, take, "one", "two")) == []
        assert owners() == ["one", "two"]
