"""Powertools' Logger and Metrics on either side of `@db.handler`."""

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.buffer import LoggerBufferConfig
from aws_lambda_powertools.metrics import MetricUnit
from orders import db, fail_at_the_end, place

from dal import Deadlock


def take(event):
    order = place(event["name"])
    if event.get("ending") == "fails at the end":
        fail_at_the_end()
    return {"id": order.id}


# Logger -----------------------------------------------------------------------------------------

logger = Logger(service="orders", level="DEBUG", buffer_config=LoggerBufferConfig())


def logs(event, context):
    logger.debug("the detail that explains the failure")
    return take(event)


logger_outside = logger.inject_lambda_context(flush_buffer_on_uncaught_error=True)(db.handler(logs))
logger_inside = db.handler(logger.inject_lambda_context(flush_buffer_on_uncaught_error=True)(logs))

# Metrics ----------------------------------------------------------------------------------------

metrics = Metrics(namespace="Orders", service="orders")


def counts(event, context):
    metrics.add_metric(name="Tried", unit=MetricUnit.Count, value=1)
    db.after_commit(lambda: metrics.add_metric(name="Placed", unit=MetricUnit.Count, value=1))
    return take(event)


metrics_outside = metrics.log_metrics(db.handler(counts))
metrics_inside = db.handler(metrics.log_metrics(counts))

# With attempts ----------------------------------------------------------------------------------


def needs_two_attempts(event, context):
    metrics.add_metric(name="Tried", unit=MetricUnit.Count, value=1)
    db.after_commit(lambda: metrics.add_metric(name="Placed", unit=MetricUnit.Count, value=1))
    order = place(event["name"])
    if order.id == 1:
        raise Deadlock("as if another function had won")
    return {"id": order.id}


two_attempts_outside = metrics.log_metrics(db.handler(attempts=2)(needs_two_attempts))
two_attempts_inside = db.handler(attempts=2)(metrics.log_metrics(needs_two_attempts))
