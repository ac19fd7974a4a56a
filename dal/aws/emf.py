"""A line about a unit of work as metrics: CloudWatch's embedded metric format, on stdout.

CloudWatch makes metrics of such a line by itself; no call to AWS is made.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from dal.aws.handler import request_id

NAMESPACE = "dal"
DIMENSION = "function_name"

_TIMES = [
    {"Name": name, "Unit": "Milliseconds"}
    for name in ("total_ms", "connect_ms", "statement_ms", "commit_ms")
]
_COUNTS = [
    {"Name": name, "Unit": "Count"}
    for name in (
        "connections",
        "round_trips",
        "statements",
        "rows_read",
        "rows_written",
        "commits",
        "rollbacks",
        "retries",
        "failed",
        "unknown_commits",
    )
]


def write(line: Mapping[str, Any]) -> None:
    """Write the line to stdout, all its numbers as metrics of the function.

    A time of 0 is no data point: who did not commit says nothing about how long that takes.
    """
    metrics = [each for each in _TIMES if line[each["Name"]]] + _COUNTS
    directive = {"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": metrics}
    document = {
        "_aws": {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": [directive]},
        DIMENSION: os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "none"),
        **line,
        "failed": int(line["outcome"] in {"failed", "unknown"}),
        "unknown_commits": int(line["outcome"] == "unknown"),
    }
    known = request_id.get()
    if known is not None:
        document["request_id"] = known
    # In one write, so that no other thread's comes in between.
    sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
    sys.stdout.flush()
