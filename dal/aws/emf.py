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

#: Each metric and its unit.
METRICS = (
    ("total_ms", "Milliseconds"),
    ("connect_ms", "Milliseconds"),
    ("statement_ms", "Milliseconds"),
    ("commit_ms", "Milliseconds"),
    ("connections", "Count"),
    ("round_trips", "Count"),
    ("statements", "Count"),
    ("rows_read", "Count"),
    ("rows_written", "Count"),
    ("commits", "Count"),
    ("rollbacks", "Count"),
    ("retries", "Count"),
    ("failed", "Count"),
    ("unknown_commits", "Count"),
)


def write(line: Mapping[str, Any]) -> None:
    """Write the line to stdout, all its numbers as metrics of the function.

    A time of 0 is no data point: who did not commit says nothing about how long that takes.
    """
    members = {
        DIMENSION: os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "none"),
        **line,
        "failed": int(line["outcome"] in {"failed", "unknown"}),
        "unknown_commits": int(line["outcome"] == "unknown"),
    }
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [[DIMENSION]],
        "Metrics": [
            {"Name": name, "Unit": unit}
            for name, unit in METRICS
            if unit == "Count" or members[name]
        ],
    }
    metadata = {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": [directive]}
    known = request_id.get()
    if known is not None:
        members["request_id"] = known
    document = json.dumps({"_aws": metadata, **members}, separators=(",", ":"))
    sys.stdout.write(document + "\n")  # one write: no other thread's comes in between
    sys.stdout.flush()
