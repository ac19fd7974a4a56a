"""All of it at once, in the order that docs/powertools.md gives."""

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.buffer import LoggerBufferConfig
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.validation import validator
from orders import db, fail_at_the_end, place
from powertools_idempotent import Records
from powertools_traced import tracer
from pydantic import BaseModel

logger = Logger(service="orders", level="DEBUG", buffer_config=LoggerBufferConfig())
metrics = Metrics(namespace="Orders", service="orders")
store = Records()
by_name = IdempotencyConfig(event_key_jmespath="name")
PLACED = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


class Wanted(BaseModel):
    name: str
    ending: str | None = None


@logger.inject_lambda_context(flush_buffer_on_uncaught_error=True)
@tracer.capture_lambda_handler
@metrics.log_metrics
@idempotent(persistence_store=store, config=by_name)
@event_parser(model=Wanted)
@db.handler
@validator(outbound_schema=PLACED)
def handler(event: Wanted, context):
    logger.debug("the detail that explains the failure")
    order = place(event.name)
    db.after_commit(lambda: metrics.add_metric(name="Placed", unit=MetricUnit.Count, value=1))
    match event.ending:
        case "fails at the end":
            fail_at_the_end()
        case "refused":
            return {"id": None}
    return {"id": order.id}
