"""Answering a custom resource of CloudFormation, which waits an hour where no answer comes.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
"""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

log = logging.getLogger("dal")

_TRIES = 3
_SECONDS = 3.0
_LONGEST_REASON = 3000  # the whole answer may have 4 KB


def is_custom_resource(event: object) -> bool:
    """Return whether CloudFormation sent this event and waits for an answer."""
    return isinstance(event, Mapping) and "ResponseURL" in event and "RequestType" in event


def answer(event: Mapping[str, Any], *, failure: str | None, data: Mapping[str, Any]) -> None:
    """Send the answer; three tries, of three seconds each.

    Raises:
        OSError: none of them reached it.
    """
    body = json.dumps(
        {
            "Status": "SUCCESS" if failure is None else "FAILED",
            "Reason": (failure or "")[:_LONGEST_REASON],
            "PhysicalResourceId": event.get("PhysicalResourceId")
            or f"migrations-{event.get('LogicalResourceId')}",
            "StackId": event.get("StackId"),
            "RequestId": event.get("RequestId"),
            "LogicalResourceId": event.get("LogicalResourceId"),
            "Data": dict(data),
        }
    ).encode()
    # The signature of the URL is over an empty content type.
    request = urllib.request.Request(  # noqa: S310  # CloudFormation's own address
        event["ResponseURL"], data=body, method="PUT", headers={"Content-Type": ""}
    )
    for tries in range(1, _TRIES + 1):
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
                return
        except OSError as error:
            log.warning("CloudFormation did not take the answer: %s", error)
            if tries == _TRIES:
                raise
            time.sleep(0.2 * tries)
