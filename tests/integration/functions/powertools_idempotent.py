"""Powertools' `@idempotent` on either side of `@db.handler`."""

import os
import time

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.idempotency import (
    IdempotencyConfig,
    idempotent,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
from orders import db, fail_at_the_end, place
from sqlalchemy import text

from dal import Database, DuplicateKey

# Like DynamoDB: reached by a way of its own, and no part of the handler's transaction.
records_db = Database.from_env(os.environ | {"DATABASE_URL": os.environ["RECORDS_URL"]})


class Records(BasePersistenceLayer):
    def _get_record(self, idempotency_key):
        with records_db.engine.connect() as connection:
            found = connection.execute(
                text("SELECT * FROM records WHERE id = :id"), {"id": idempotency_key}
            ).one_or_none()
        if found is None:
            raise IdempotencyItemNotFoundError
        return DataRecord(
            idempotency_key=found.id,
            status=found.status,
            expiry_timestamp=found.expires,
            in_progress_expiry_timestamp=found.in_progress_until,
            response_data=found.answer,
        )

    def _put_record(self, data_record):
        now = time.time()
        with records_db.engine.begin() as connection:
            connection.execute(
                text(
                    "DELETE FROM records WHERE id = :id AND (expires < :now OR "
                    "(status = 'INPROGRESS' AND in_progress_until < :now * 1000))"
                ),
                {"id": data_record.idempotency_key, "now": now},
            )
            try:
                connection.execute(
                    text(
                        "INSERT INTO records (id, status, expires, in_progress_until) "
                        "VALUES (:id, :status, :expires, :until)"
                    ),
                    {
                        "id": data_record.idempotency_key,
                        "status": data_record.status,
                        "expires": data_record.expiry_timestamp,
                        "until": data_record.in_progress_expiry_timestamp,
                    },
                )
            except DuplicateKey:
                raise IdempotencyItemAlreadyExistsError from None

    def _update_record(self, data_record):
        with records_db.engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE records SET status = :status, answer = :answer, expires = :expires "
                    "WHERE id = :id"
                ),
                {
                    "id": data_record.idempotency_key,
                    "status": data_record.status,
                    "answer": data_record.response_data,
                    "expires": data_record.expiry_timestamp,
                },
            )

    def _delete_record(self, data_record):
        with records_db.engine.begin() as connection:
            connection.execute(
                text("DELETE FROM records WHERE id = :id"), {"id": data_record.idempotency_key}
            )


store = Records()
config = IdempotencyConfig(event_key_jmespath="name")


def take(event):
    order = place(event["name"])
    match event.get("ending"):
        case "exception":
            raise LookupError("no such customer")
        case "refused":
            return {"statusCode": 409, "body": f"order {order.id} was refused"}
        case "asleep":
            time.sleep(60)
        case "fails at the end":
            fail_at_the_end()
    return {"id": order.id}


@idempotent(persistence_store=store, config=config)
@db.handler
def outside(event, context):
    return take(event)


@db.handler
@idempotent(persistence_store=store, config=config)
def inside(event, context):
    return take(event)


processor = BatchProcessor(event_type=EventType.SQS)
by_message = IdempotencyConfig(event_key_jmespath="messageId")


@idempotent_function(data_keyword_argument="record", persistence_store=Records(), config=by_message)
def take_record(record):
    with db.scope():
        place(record.body)
        if record.body.startswith("bad"):
            raise LookupError("no such customer")


def records(event, context):
    by_message.register_lambda_context(context)
    return process_partial_response(
        event=event, record_handler=take_record, processor=processor, context=context
    )
