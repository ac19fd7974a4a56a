"""Metrics on stdout, held to the schema that AWS publishes for them."""

import copy
import json
import re
import time
from pathlib import Path
from typing import get_args

import fastjsonschema
import pytest

from dal import CommitOutcomeUnknown, Database, Deadlock
from dal.aws import emf
from dal.scope.report import Outcome

SCHEMA = json.loads(Path(__file__).with_name("embedded_metric_format.json").read_text())
UNITS = {"Milliseconds": float, "Count": int}


@pytest.fixture(scope="module")
def is_valid():
    return fastjsonschema.compile(SCHEMA)


@pytest.fixture
def db():
    return Database("mysql://app@127.0.0.1:1/shop", report="emf")


@pytest.fixture
def printed(capsys):
    def documents():
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return documents


def metrics(document):
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    return {each["Name"]: each["Unit"] for each in directive["Metrics"]}


class Context:
    aws_request_id = "8f5c"

    def get_remaining_time_in_millis(self):
        return 3000


def test_a_line_is_valid(db, printed, is_valid):
    before = int(time.time() * 1000)
    with db.scope():
        pass
    (document,) = printed()

    is_valid(document)
    assert before <= document["_aws"]["Timestamp"] <= time.time() * 1000
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "dal"
    assert directive["Dimensions"] == [["function_name"]]
    # What the schema cannot say: every reference leads to a member of the right type.
    assert isinstance(document["function_name"], str)
    for name, unit in metrics(document).items():
        assert type(document[name]) is UNITS[unit]


def test_the_schema_would_tell(db, printed, is_valid):
    with db.scope():
        pass
    (good,) = printed()
    for spoil in (
        lambda metadata: metadata.pop("Timestamp"),
        lambda metadata: metadata["CloudWatchMetrics"][0].pop("Namespace"),
        lambda metadata: metadata["CloudWatchMetrics"][0]["Metrics"][0].update(Unit="ms"),
        lambda metadata: metadata["CloudWatchMetrics"][0]["Dimensions"].clear(),
    ):
        bad = copy.deepcopy(good)
        spoil(bad["_aws"])
        with pytest.raises(fastjsonschema.JsonSchemaValueException):
            is_valid(bad)


def test_a_time_that_was_not_spent_is_no_data_point(db, printed):
    with db.scope():
        pass
    (document,) = printed()
    assert {name for name, unit in metrics(document).items() if unit == "Milliseconds"} == {
        "total_ms"
    }
    assert document["outcome"] == "unused"
    assert document["round_trips"] == 0


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(LookupError(), "failed"), (CommitOutcomeUnknown("?"), "unknown")],
)
def test_what_ended_it_is_named_and_counted(db, printed, is_valid, error, outcome):
    with pytest.raises(type(error)), db.scope():
        raise error
    (document,) = printed()
    is_valid(document)
    assert (document["outcome"], document["error"]) == (outcome, type(error).__name__)
    assert (document["failed"], document["unknown_commits"]) == (1, int(outcome == "unknown"))


def test_all_attempts_are_one_line(db, printed, is_valid):
    errors = [Deadlock("1"), Deadlock("2")]

    def unit():
        if errors:
            raise errors.pop()

    db.run(unit, attempts=3)
    (document,) = printed()
    is_valid(document)
    assert (document["outcome"], document["retries"], document["failed"]) == ("unused", 2, 0)
    assert document["retried_after"] == {"Deadlock": 2}


def test_lines_of_a_function_bear_its_name_and_the_request(db, printed, monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "create-user")
    db.handler(lambda event, context: None)({}, Context())
    with db.scope():
        pass
    invocation, outside = printed()
    assert (invocation["function_name"], invocation["request_id"]) == ("create-user", "8f5c")
    assert "request_id" not in outside


def test_a_line_that_cannot_be_written_changes_nothing(db, monkeypatch, caplog):
    monkeypatch.setattr("sys.stdout", None)
    assert db.run(lambda: 5) == 5
    assert "could not be reported; how it ended stands" in caplog.text


@pytest.mark.parametrize("report", ["off", "log"])
def test_nothing_is_printed_unless_asked_for(report, capsys):
    with Database("mysql://app@127.0.0.1:1/shop", report=report).scope():
        pass
    assert capsys.readouterr() == ("", "")


# What the page says, held to the code -------------------------------------------------------------

PAGE = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()


def first_cells(head):
    """The code in the first cell of each row of the table with this head."""
    table = PAGE.partition(f"{head}\n")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()[1:]]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_page_has_every_field_of_a_line_in_its_order(caplog):
    errors = [Deadlock("1"), LookupError()]

    def unit():
        raise errors.pop(0)

    with pytest.raises(LookupError):
        Database("mysql://app@127.0.0.1:1/shop", report="log").run(unit)
    (record,) = caplog.records
    assert first_cells("| Field | Unit | Meaning |") == list(record.msg)


def test_the_page_has_every_metric():
    assert first_cells("| Metric | Unit |") == [name for name, _ in emf.METRICS]


def test_the_page_has_every_outcome():
    assert first_cells("| Outcome | Meaning |") == list(get_args(Outcome))
