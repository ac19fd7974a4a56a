"""What a function's log says of its invocations, in Lambda's own runtime client.

`DAL_TEST_INVOCATIONS=1000` adds up as many as the number says; 100 otherwise.
"""

import json
import os
import secrets
from collections import Counter
from pathlib import Path

import fastjsonschema
import pytest

from dal.testing.runtime import Function

FUNCTIONS = Path(__file__).parents[1] / "functions"
SCHEMA = Path(__file__).parents[2] / "unit" / "aws" / "embedded_metric_format.json"
INVOCATIONS = int(os.environ.get("DAL_TEST_INVOCATIONS", "100"))


TABLE = "CREATE TABLE thing (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) UNIQUE)"


@pytest.fixture
def function(environment, admin):
    with admin.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute("INSERT INTO thing (name) VALUES ('twin')")
    opened = []

    def deploy(handler="seen.handler", **variables):
        function = Function(
            handler, environment={**environment, **variables}, path=[FUNCTIONS], timeout=20
        )
        opened.append(function)
        return function

    yield deploy
    for each in opened:
        each.close()


def json_lines(invocation):
    return [json.loads(line) for line in invocation.log.splitlines() if line.startswith("{")]


def write(function, **event):
    invocation = function.invoke({"end": "write", "name": secrets.token_hex(8), **event})
    assert invocation.answer()["id"] > 0
    return invocation


class TestTheLog:
    """Without a level set anywhere, as Lambda sets none in its text format."""

    def test_in_lambdas_text_format_is_json_behind_the_request_id(self, function):
        invocation = write(function(DAL_REPORT="log"))
        (line,) = invocation.log.splitlines()
        level, _, request_id, text = line.split("\t")
        assert (level, request_id) == ("[INFO]", invocation.request_id)
        assert json.loads(text)["outcome"] == "committed"

    def test_in_lambdas_json_format_holds_the_fields(self, function):
        invocation = write(function(DAL_REPORT="log", AWS_LAMBDA_LOG_FORMAT="JSON"))
        (line,) = json_lines(invocation)
        assert (line["level"], line["logger"]) == ("INFO", "dal.report")
        assert line["requestId"] == invocation.request_id
        assert line["message"]["outcome"] == "committed"
        assert line["message"]["round_trips"] == 4

    def test_of_powertools_holds_the_fields_beside_its_own(self, function):
        invocation = write(function("seen.with_powertools", DAL_REPORT="log"))
        (line,) = json_lines(invocation)
        assert (line["level"], line["service"], line["name"]) == ("INFO", "things", "dal.report")
        assert line["function_request_id"] == invocation.request_id
        assert line["message"]["outcome"] == "committed"
        assert line["message"]["round_trips"] == 4

    def test_of_a_slow_statement_has_its_kind_and_no_value(self, function):
        deployed = function(DAL_SLOW_STATEMENT="0.05", AWS_LAMBDA_LOG_FORMAT="JSON")
        write(deployed)  # the first of a cold process
        invocation = deployed.invoke({"end": "slow", "name": "Pa55w0rd"})
        (line,) = json_lines(invocation)
        assert (line["level"], line["logger"]) == ("WARNING", "dal.slow")
        assert line["message"]["statement_ms"] >= 60
        assert line["message"]["fingerprint"] == "SELECT SLEEP(...), ?"
        assert "Pa55w0rd" not in invocation.log

    def test_is_empty_by_default(self, function):
        assert write(function()).log == ""


ENDS = ("write", "read", "fail", "refuse", "retry", "unused", "write", "read", "twin")
OUTCOMES = {
    "write": "committed",
    "retry": "committed",
    "read": "committed",
    "fail": "failed",
    "twin": "failed",
    "refuse": "rolled back",
    "unused": "unused",
}


@pytest.fixture
def status(admin):
    """The server's counters since they were last asked for; its own connection counts none."""

    def read():
        with admin.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS")
            rows = dict(cursor.fetchall())
        return Counter({name: int(value) for name, value in rows.items() if value.isdigit()})

    before = read()

    def since():
        now = read()
        return {name: now[name] - before[name] for name in now}

    return since


def test_the_metrics_add_up_to_what_the_server_counted(function, admin, status):
    is_valid = fastjsonschema.compile(json.loads(SCHEMA.read_text()))
    deployed = function(DAL_REPORT="emf")
    ends, sums = Counter(), Counter()
    for number in range(INVOCATIONS):
        end = ENDS[number % len(ENDS)]
        event = {"end": end} if end == "twin" else {"end": end, "name": f"thing {number}"}
        invocation = deployed.invoke(event)
        (line,) = json_lines(invocation)
        is_valid(line)
        assert (line["function_name"], line["request_id"]) == ("seen", invocation.request_id)
        assert line["outcome"] == OUTCOMES[end]
        assert (invocation.error is not None) == bool(line["failed"])
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        sums.update({metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]})
        ends[end] += 1

    counted = status()
    assert sums["connections"] == counted["Connections"] == counted["Com_set_option"]
    assert sums["commits"] == counted["Com_commit"]
    assert sums["rollbacks"] == counted["Com_rollback"]
    assert sums["statements"] == counted["Com_select"] + counted["Com_insert"]
    assert sums["retries"] == ends["retry"]
    assert sums["failed"] == ends["fail"] + ends["twin"]
    assert sums["unknown_commits"] == 0
    with admin.cursor() as cursor:
        stored = cursor.execute("SELECT * FROM thing") - 1
    assert stored == ends["write"] + ends["retry"]
    assert sums["rows_written"] == stored + ends["fail"] + ends["refuse"] + ends["retry"]
    assert sums["rows_read"] == ends["read"]
