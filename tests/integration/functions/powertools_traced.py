"""Powertools' Tracer on either side of `@db.handler`."""

import contextlib
import json

from aws_lambda_powertools import Tracer
from aws_lambda_powertools.tracing.base import BaseProvider, BaseSegment
from orders import db, fail_at_the_end, place


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
    order = place(event["name"])
    if event.get("ending") == "fails at the end":
        fail_at_the_end()
    return {"id": order.id}


tracer_outside = tracer.capture_lambda_handler(db.handler(traced))
tracer_inside = db.handler(tracer.capture_lambda_handler(traced))
