"""Decorators that check the event, and check or change the answer."""

import datetime

from aws_lambda_powertools.middleware_factory import lambda_handler_decorator
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.validation import validator
from orders import db, place
from pydantic import BaseModel

ORDER = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "id": {"type": "integer"}},
    "required": ["id"],
}


class Wanted(BaseModel):
    name: str
    answer: dict | None = None


@lambda_handler_decorator
def dates_the_answer(handler, event, context):
    answer = handler(event, context)
    return answer | {"at": datetime.datetime.now(datetime.UTC)}


@lambda_handler_decorator
def answers_for_errors(handler, event, context):
    try:
        return handler(event, context)
    except LookupError:
        return {"statusCode": 500, "body": "sorry"}


def take(event):
    order = place(event["name"])
    if event["name"] == "bad":
        raise LookupError("no such customer")
    return event.get("answer") or {"id": order.id, "name": order.name}


@validator(outbound_schema=ORDER)
@db.handler
def validator_outside(event, context):
    return take(event)


@db.handler
@validator(outbound_schema=ORDER)
def validator_inside(event, context):
    return take(event)


@event_parser(model=Wanted)
@db.handler
def parser_outside(event: Wanted, context):
    return take(event.model_dump())


@db.handler
@event_parser(model=Wanted)
def parser_inside(event: Wanted, context):
    return take(event.model_dump())


@dates_the_answer
@db.handler
def dated_outside(event, context):
    return take(event)


@db.handler
@dates_the_answer
def dated_inside(event, context):
    return take(event)


@answers_for_errors
@db.handler
def forgiven_outside(event, context):
    return take(event)


@db.handler
@answers_for_errors
def forgiven_inside(event, context):
    return take(event)
