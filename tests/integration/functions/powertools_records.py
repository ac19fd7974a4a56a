"""Powertools' batch processor: one unit of work for each record, or one for all of them."""

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes import SQSEvent, event_source
from orders import db, place
from sqlalchemy import text

processor = BatchProcessor(event_type=EventType.SQS)


def take(record):
    place(record.body)
    if record.body.startswith("bad"):
        raise LookupError("no such customer")
    if record.body.startswith("slow"):
        db.session.execute(text("SELECT SLEEP(60)"))
    if record.body.startswith("lost"):
        db.session.execute(text("KILL CONNECTION_ID()"))


def in_a_scope(record, lambda_context):
    seconds = lambda_context.get_remaining_time_in_millis() / 1000 - 0.5
    with db.scope(deadline=max(0.0, seconds)):
        take(record)


def in_a_savepoint(record):
    with db.savepoint():
        take(record)


def process(event, context, take_one):
    return process_partial_response(
        event=event, record_handler=take_one, processor=processor, context=context
    )


def scope_for_each(event, context):
    return process(event, context, in_a_scope)


@db.handler
def scope_for_all(event, context):
    return process(event, context, take)


@db.handler
def scope_for_each_in_one_for_all(event, context):
    return process(event, context, in_a_scope)


@db.handler
def savepoint_for_each(event, context):
    return process(event, context, in_a_savepoint)


# `event_source` gives the event another type, and so has its place on either side.


@event_source(data_class=SQSEvent)
@db.handler
def event_source_outside(event, context):
    return [place(record.body).name for record in event.records] + [time_limit()]


@db.handler
@event_source(data_class=SQSEvent)
def event_source_inside(event, context):
    return [place(record.body).name for record in event.records] + [time_limit()]


def time_limit():
    """How long the server keeps an idle session: what is left of the invocation, if `dal` knows."""
    return db.session.scalar(text("SELECT @@SESSION.wait_timeout"))
