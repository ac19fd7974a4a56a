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
    ("replayed", "Count"),
)


# What is the same in every document is encoded once.
_DEFINITIONS = {name: json.dumps({"Name": name, "Unit": unit}) for name, unit in METRICS}
_TIMES = [name for name, unit in METRICS if unit == "Milliseconds"]
_COUNTS = ",".join(_DEFINITIONS[name] for name, unit in METRICS if unit == "Count")
_DOCUMENT = (
    '{"_aws":{"Timestamp":%d,"CloudWatchMetrics":[{"Namespace":"'
    + f'{NAMESPACE}","Dimensions":[["{DIMENSION}"]],"Metrics":['
    + "%s]}]},%s\n"
)
_encode = json.JSONEncoder(separators=(",", ":")).encode


def write(line: Mapping[str, Any]) -> None:
    """Write the line to stdout, all its numbers as metrics of the function.

    A time of 0 is no data point: who did not commit says nothing about how long that takes.
    """
    outcome = line["outcome"]
    members = {
        DIMENSION: os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "none"),
        **line,
        "failed": int(outcome in {"failed", "unknown"}),
        "unknown_commits": int(outcome == "unknown"),
        "replayed": int(outcome == "replayed"),
    }
    known = request_id.get()
    if known is not None:
        members["request_id"] = known
    metrics = ",".join([*(_DEFINITIONS[name] for name in _TIMES if line[name]), _COUNTS])
    now = time.time_ns() // 1_000_000
    # One write: no other thread's comes in between.
    sys.stdout.write(_DOCUMENT % (now, metrics, _encode(members).removeprefix("{")))
    sys.stdout.flush()
