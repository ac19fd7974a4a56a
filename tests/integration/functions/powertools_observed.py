"""Logger, Metrics and Tracer on either side of `@db.handler`."""

import contextlib
import json

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.logging.buffer import LoggerBufferConfig
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.tracing.base import BaseProvider, BaseSegment
from orders import db, fail_at_the_end, place


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

# Tracer -----------------------------------------------------------------------------------------


class Segment(BaseSegment):
    """Tells on stdout what it is told."""

    def put_metadata(self, key, value, namespace="default"):
        print(json.dumps({"traced": key, "value": str(value)}), flush=True)  # noqa: T201

    def put_annotation(self, key, value):
        pass

    def add_exception(self, exception, stack, remote=False):
        pass

    def close(self, end_time=None):
        pass

    def add_subsegment(self, subsegment):
        pass

    def remove_subsegment(self, subsegment):
        pass


class Provider(BaseProvider):
    """Powertools' own extension point, in place of the X-Ray daemon."""

    @contextlib.contextmanager
    def in_subsegment(self, name=None, **kwargs):
        yield Segment()

    def in_subsegment_async(self, name=None, **kwargs):
        raise NotImplementedError

    def put_annotation(self, key, value):
        pass

    def put_metadata(self, key, value, namespace="default"):
        pass

    def patch(self, modules):
        pass

    def patch_all(self):
        pass


tracer = Tracer(service="orders", provider=Provider(), auto_patch=False)


def traced(event, context):
    return take(event)


tracer_outside = tracer.capture_lambda_handler(db.handler(traced))
tracer_inside = db.handler(tracer.capture_lambda_handler(traced))
