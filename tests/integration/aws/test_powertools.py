"""Powertools for AWS Lambda around, and inside of, a handler on `dal`: which order is right.

The package is the real one, in the real runtime. docs/powertools.md says the same for users.
"""

import importlib.util
import json
import secrets
from pathlib import Path

import pytest
from sqlalchemy import make_url

from dal.testing.proxy import Proxy
from dal.testing.runtime import Function

FUNCTIONS = Path(__file__).parents[1] / "functions"
ORDERS = "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) UNIQUE)"
RECORDS = (
    "CREATE TABLE records (id VARCHAR(200) PRIMARY KEY, status VARCHAR(20), expires BIGINT, "
    "in_progress_until BIGINT, answer TEXT)"
)


def needs(package):
    """Skip where an optional package is missing that Powertools wants for one of its parts."""
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"this part of Powertools needs {package}, which is not installed",
    )


def query(connection, sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


# One database and one process per handler for many tests: a cold start with all of Powertools and
# boto3 takes a second. Each test begins with empty tables.


@pytest.fixture(scope="module")
def database(server):
    name = f"dal_powertools_{secrets.token_hex(6)}"
    server.create_database(name)
    yield name
    server.drop_database(name)


@pytest.fixture(scope="module")
def admin(server, database):
    with server.connect(database) as connection:
        query(connection, ORDERS)
        query(connection, RECORDS)
        yield connection


@pytest.fixture(autouse=True)
def _empty_tables(admin):
    query(admin, "TRUNCATE orders")
    query(admin, "TRUNCATE records")


@pytest.fixture
def placed(admin):
    """What is in the table, seen from outside."""
    return lambda: [name for (name,) in query(admin, "SELECT name FROM orders ORDER BY name")]


@pytest.fixture
def statuses(admin):
    """What the records of idempotency say."""
    return lambda: [status for (status,) in query(admin, "SELECT status FROM records")]


@pytest.fixture(scope="module")
def line(server, admin):
    # `admin` has logged in over TLS: after that the server lets the account in without RSA.
    with Proxy(server.host, server.port) as proxy:
        yield proxy


@pytest.fixture
def proxy(line):
    """What the handlers' own connections go through, in the clear."""
    yield line
    line.release()


@pytest.fixture(scope="class")
def function(server, database, line):
    url = server.environment(database)["DATABASE_URL"]
    by_proxy = make_url(url).set(host=line.host, port=line.port)
    variables = {
        "DATABASE_URL": by_proxy.render_as_string(hide_password=False),
        "DAL_TLS": "disabled",
        "RECORDS_URL": url,
    }
    opened = {}

    def deploy(handler, *, timeout=20.0):
        deployed = opened.get(handler)
        if deployed is None:
            deployed = Function(handler, environment=variables, path=[FUNCTIONS])
            opened[handler] = deployed
        deployed.timeout = timeout
        return deployed

    yield deploy
    for one in opened.values():
        one.close()


# The API resolvers ------------------------------------------------------------------------------


def rest_event(path, body=None):
    return {
        "httpMethod": "POST",
        "path": path,
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {"requestId": "1", "path": path, "stage": "dev"},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def http_event(path):
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "requestId": "1",
            "stage": "$default",
            "http": {"method": "POST", "path": path},
        },
        "body": None,
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize(
    ("handler", "event"),
    [("powertools_api.rest", rest_event), ("powertools_api.http", http_event)],
    ids=["rest", "http"],
)
class TestAnApiResolver:
    def test_answers_of_400_or_more_leave_and_nothing_is_stored(
        self, function, placed, handler, event
    ):
        api = function(handler)
        paths = {
            "/orders/one/not-found": 404,
            "/orders/one/bad-request": 400,
            "/orders/one/unavailable": 503,
            "/orders/one/conflict": 409,
            "/orders/one/conflict-by-name": 409,
            "/orders/one/tuple": 422,
            "/orders/one/handled": 500,
            "/absent/one": 404,
            "/twice/one": 500,
        }
        for path, status in paths.items():
            answer = api.invoke(event(path)).answer()
            assert (path, answer["statusCode"]) == (path, status)
            assert placed() == []
        assert api.invoke(event("/nowhere")).answer()["statusCode"] == 404
        assert api.cold_starts == 1

    def test_an_answer_of_200_leaves_and_the_row_is_stored(self, function, placed, handler, event):
        answer = function(handler).invoke(event("/orders/one/ok")).answer()
        assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"message": "placed"})
        assert placed() == ["one"]

    def test_an_error_that_a_route_lets_out_fails_the_invocation(
        self, function, placed, handler, event
    ):
        failed = function(handler).invoke(event("/orders/one/unhandled"))
        assert failed.error["errorType"] == "LookupError"
        assert placed() == []

    def test_an_error_of_dal_that_a_route_swallows_fails_the_invocation(
        self, function, placed, handler, event
    ):
        failed = function(handler).invoke(event("/swallowed/one"))
        assert failed.error["errorType"] == "DuplicateKey"
        assert placed() == []


@needs("pydantic")
class TestAValidatingResolver:
    def test_a_wrong_request_or_response_is_an_answer_of_422_and_nothing_is_stored(
        self, function, placed
    ):
        api = function("powertools_validated_api.rest")
        good = {"name": "one", "quantity": 1}
        for path, body in (
            ("/orders", good | {"quantity": "many"}),
            ("/orders-badly", good),
        ):
            answer = api.invoke(rest_event(path, body)).answer()
            assert answer["statusCode"] == 422
            assert placed() == []
        assert api.invoke(rest_event("/orders", good)).answer()["statusCode"] == 200
        assert placed() == ["one"]

    def test_of_bedrock_names_its_status_otherwise_and_wants_rollback_when(self, function, placed):
        event = {
            "messageVersion": "1.0",
            "agent": {"name": "a", "id": "a", "alias": "a", "version": "1"},
            "inputText": "",
            "sessionId": "1",
            "actionGroup": "orders",
            "apiPath": "/orders",
            "httpMethod": "POST",
            "sessionAttributes": {},
            "promptSessionAttributes": {},
        }
        told = function("powertools_validated_api.agent_told").invoke(event).answer()
        assert told["response"]["httpStatusCode"] == 404
        assert placed() == []
        bare = function("powertools_validated_api.agent_bare").invoke(event).answer()
        assert bare["response"]["httpStatusCode"] == 404
        assert placed() == ["by an agent"]  # half-written: what leaving it out costs


class TestAResolverThatAnswersForAFailedItem:
    """Bedrock's functions and AppSync's batches: no status says that an item has failed."""

    def tool(self, name, order):
        return {
            "messageVersion": "1.0",
            "agent": {"name": "a", "id": "a", "alias": "a", "version": "1"},
            "inputText": "",
            "sessionId": "1",
            "actionGroup": "orders",
            "function": name,
            "parameters": [{"name": "name", "type": "string", "value": order}],
        }

    def fields(self, name, *orders):
        return [
            {
                "typeName": "Mutation",
                "fieldName": name,
                "info": {"fieldName": name, "parentTypeName": "Mutation"},
                "arguments": {"name": order},
            }
            for order in orders
        ]

    def test_stores_half_of_it_in_the_scope_of_a_handler(self, function, placed):
        tools = function("powertools_api.agent_on_dal")
        answer = tools.invoke(self.tool("in_the_scope_of_the_handler", "bad tool")).answer()
        assert "LookupError" in json.dumps(answer)
        fields = function("powertools_api.graphql_on_dal")
        assert fields.invoke(self.fields("shared", "one", "bad field")).answer() == ["one", None]
        assert placed() == ["bad field", "bad tool", "one"]

    def test_stores_none_of_it_with_a_scope_for_each_item(self, function, placed):
        tools = function("powertools_api.agent")
        answer = tools.invoke(self.tool("in_a_scope_of_its_own", "bad tool")).answer()
        assert "LookupError" in json.dumps(answer)
        fields = function("powertools_api.graphql")
        assert fields.invoke(self.fields("each", "one", "bad field")).answer() == ["one", None]
        assert placed() == ["one"]

    def test_fails_the_invocation_with_a_scope_for_each_item_within_a_handler(
        self, function, placed
    ):
        tools = function("powertools_api.agent_on_dal")
        failed = tools.invoke(self.tool("in_a_scope_of_its_own", "bad tool"))
        assert failed.error["errorType"] == "RollbackOnly"
        assert "LookupError" in failed.error["errorMessage"]
        assert placed() == []


# Idempotency ------------------------------------------------------------------------------------


COMMIT = 3  # the third command of the handler's connection, after SET and INSERT


@needs("boto3")
class TestIdempotentOutside:
    """The right order: the record is written after COMMIT."""

    def test_a_repeated_event_runs_once_and_gets_the_stored_answer(
        self, function, placed, statuses
    ):
        outside = function("powertools_idempotent.outside")
        first, second = outside.invoke({"name": "one"}), outside.invoke({"name": "one"})
        assert first.answer() == second.answer() == {"id": 1}
        assert placed() == ["one"]
        assert statuses() == ["COMPLETED"]

    @pytest.mark.parametrize("ending", ["exception", "fails at the end"])
    def test_an_error_leaves_no_record_and_the_next_time_it_runs(
        self, function, placed, statuses, ending
    ):
        outside = function("powertools_idempotent.outside")
        failed = outside.invoke({"name": "one", "ending": ending})
        assert failed.error["errorType"] in {"LookupError", "DuplicateKey"}
        assert (placed(), statuses()) == ([], [])
        outside.invoke({"name": "one"}).answer()
        assert (placed(), statuses()) == (["one"], ["COMPLETED"])

    def test_a_commit_that_fails_leaves_no_record_and_the_next_time_it_runs(
        self, function, placed, statuses, proxy
    ):
        outside = function("powertools_idempotent.outside")
        proxy.on(COMMIT, "cut")
        lost = outside.invoke({"name": "one"})
        assert lost.error["errorType"] == "CommitOutcomeUnknown"
        assert (placed(), statuses()) == ([], [])
        outside.invoke({"name": "one"}).answer()
        assert (placed(), statuses()) == (["one"], ["COMPLETED"])

    def test_a_commit_whose_answer_is_lost_is_kept_from_running_twice_by_a_unique_key_alone(
        self, function, placed, statuses, proxy
    ):
        outside = function("powertools_idempotent.outside")
        proxy.on(COMMIT, "swallow", cut_after=0.1)
        lost = outside.invoke({"name": "one"})
        assert lost.error["errorType"] == "CommitOutcomeUnknown"
        assert (placed(), statuses()) == (["one"], [])
        # No record, so it runs again; that it cannot store is the doing of orders.name.
        again = outside.invoke({"name": "one"})
        assert again.error["errorType"] == "DuplicateKey"
        assert (placed(), statuses()) == (["one"], [])

    def test_after_a_kill_the_record_runs_out_with_the_invocation_and_the_next_time_it_runs(
        self, function, placed, statuses
    ):
        outside = function("powertools_idempotent.outside", timeout=1.5)
        killed = outside.invoke({"name": "one", "ending": "asleep"})
        assert killed.error["errorType"] == "Sandbox.Timedout"
        assert (placed(), statuses()) == ([], ["INPROGRESS"])
        outside.timeout = 20.0
        outside.invoke({"name": "one"}).answer()
        assert (placed(), statuses()) == (["one"], ["COMPLETED"])

    def test_an_answer_of_4xx_is_rolled_back_and_stays_the_answer(self, function, placed, statuses):
        outside = function("powertools_idempotent.outside")
        first = outside.invoke({"name": "one", "ending": "refused"}).answer()
        assert first == {"statusCode": 409, "body": "order 1 was refused"}
        assert outside.invoke({"name": "one"}).answer() == first
        assert (placed(), statuses()) == ([], ["COMPLETED"])

    def test_around_each_record_of_a_batch_runs_each_once(self, function, placed, statuses):
        process = function("powertools_idempotent.records")
        assert failures(process.invoke(sqs_event("one", "bad", "two")).answer()) == ["bad"]
        assert placed() == ["one", "two"]
        # All of them are delivered again; orders.name would refuse what ran twice.
        assert failures(process.invoke(sqs_event("one", "bad", "two")).answer()) == ["bad"]
        assert (placed(), statuses()) == (["one", "two"], ["COMPLETED", "COMPLETED"])


@needs("boto3")
class TestIdempotentInside:
    """The wrong order: the record is written before COMMIT."""

    def test_a_record_says_completed_for_work_that_was_never_committed(
        self, function, placed, statuses, proxy
    ):
        inside = function("powertools_idempotent.inside")
        proxy.on(COMMIT, "cut")
        lost = inside.invoke({"name": "one"})
        assert lost.error["errorType"] == "CommitOutcomeUnknown"
        assert (placed(), statuses()) == ([], ["COMPLETED"])
        # The caller repeats it, is told that all is well, and has lost its order.
        assert inside.invoke({"name": "one"}).answer() == {"id": 1}
        assert placed() == []

    def test_so_it_does_for_an_error_that_was_swallowed(self, function, placed, statuses):
        inside = function("powertools_idempotent.inside")
        failed = inside.invoke({"name": "one", "ending": "fails at the end"})
        assert failed.error["errorType"] == "DuplicateKey"
        assert (placed(), statuses()) == ([], ["COMPLETED"])


# Records of a batch ------------------------------------------------------------------------------


def sqs_event(*bodies):
    return {
        "Records": [
            {"messageId": body, "body": body, "eventSource": "aws:sqs", "attributes": {}}
            for body in bodies
        ]
    }


def failures(answer):
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


class TestABatch:
    def test_with_a_scope_for_each_record_stores_all_of_each_that_went_well(self, function, placed):
        process = function("powertools_records.scope_for_each", timeout=3.0)
        answer = process.invoke(sqs_event("one", "bad", "lost", "two", "one", "slow")).answer()
        assert failures(answer) == ["bad", "lost", "one", "slow"]
        assert placed() == ["one", "two"]
        assert process.invoke(sqs_event("three")).answer() == {"batchItemFailures": []}
        assert process.cold_starts == 1

    def test_with_one_scope_for_all_does_not_store_half_of_a_failed_record(self, function, placed):
        process = function("powertools_records.scope_for_all")
        failed = process.invoke(sqs_event("one", "bad", "two"))
        assert failed.error["errorType"] == "UsageError"
        assert "record_handler" in failed.error["errorMessage"]
        assert placed() == []
        assert failures(process.invoke(sqs_event("one", "two")).answer()) == []
        assert placed() == ["one", "two"]

    def test_with_one_scope_for_all_an_error_of_a_flush_sends_all_records_back(
        self, function, placed
    ):
        process = function("powertools_records.scope_for_all")
        failed = process.invoke(sqs_event("one", "one", "two"))
        assert failed.error["errorType"] == "DuplicateKey"
        assert placed() == []

    def test_with_a_scope_for_each_in_one_for_all_sends_all_records_back(self, function, placed):
        process = function("powertools_records.scope_for_each_in_one_for_all")
        failed = process.invoke(sqs_event("one", "bad", "two"))
        assert failed.error["errorType"] == "RollbackOnly"
        assert placed() == []

    def test_with_a_savepoint_for_each_stores_all_that_went_well_in_one_commit(
        self, function, placed
    ):
        process = function("powertools_records.savepoint_for_each")
        answer = process.invoke(sqs_event("one", "bad", "one", "two")).answer()
        assert failures(answer) == ["bad", "one"]
        assert placed() == ["one", "two"]

    def test_with_a_savepoint_for_each_a_lost_connection_sends_all_records_back(
        self, function, placed
    ):
        process = function("powertools_records.savepoint_for_each")
        failed = process.invoke(sqs_event("one", "lost", "two"))
        assert failed.error is not None
        assert failed.error["errorType"] != "Sandbox.Timedout"
        assert placed() == []


class TestEventSource:
    @pytest.mark.parametrize("side", ["outside", "inside"])
    def test_may_stand_on_either_side_and_dal_knows_the_deadline(self, function, placed, side):
        handler = function(f"powertools_records.event_source_{side}", timeout=20.0)
        *names, idle_limit = handler.invoke(sqs_event("one", "two")).answer()
        assert names == placed() == ["one", "two"]
        assert idle_limit <= 21  # not the 60 s of a scope without a deadline


# What checks or changes the answer --------------------------------------------------------------


@needs("fastjsonschema")
@needs("pydantic")
class TestValidator:
    def test_inside_a_refused_answer_is_rolled_back(self, function, placed):
        inside = function("powertools_answers.validator_inside")
        failed = inside.invoke({"name": "one", "answer": {"id": "no number"}})
        assert failed.error["errorType"] == "SchemaValidationError"
        assert placed() == []
        assert inside.invoke({"name": "one"}).answer()["name"] == "one"
        assert placed() == ["one"]

    def test_outside_an_error_is_answered_for_work_that_is_stored(self, function, placed):
        outside = function("powertools_answers.validator_outside")
        failed = outside.invoke({"name": "one", "answer": {"id": "no number"}})
        assert failed.error["errorType"] == "SchemaValidationError"
        assert placed() == ["one"]


@needs("fastjsonschema")
@needs("pydantic")
class TestEventParser:
    @pytest.mark.parametrize("side", ["outside", "inside"])
    def test_may_stand_on_either_side(self, function, placed, side):
        handler = function(f"powertools_answers.parser_{side}")
        assert handler.invoke({"name": 1}).error["errorType"] == "ValidationError"
        assert placed() == []
        assert handler.invoke({"name": "one"}).answer()["name"] == "one"
        assert placed() == ["one"]


@needs("fastjsonschema")
@needs("pydantic")
class TestMiddleware:
    def test_that_changes_the_answer_belongs_inside(self, function, placed):
        inside = function("powertools_answers.dated_inside")
        assert inside.invoke({"name": "one"}).error["errorType"] == "UnencodableAnswer"
        assert placed() == []
        outside = function("powertools_answers.dated_outside")
        assert outside.invoke({"name": "one"}).error["errorType"] == "Runtime.MarshalError"
        assert placed() == ["one"]  # an error is answered for work that is stored

    @pytest.mark.parametrize("side", ["outside", "inside"])
    def test_that_answers_4xx_or_5xx_for_errors_may_stand_on_either_side(
        self, function, placed, side
    ):
        handler = function(f"powertools_answers.forgiven_{side}")
        assert handler.invoke({"name": "bad"}).answer() == {"statusCode": 500, "body": "sorry"}
        assert placed() == []


# What observes ----------------------------------------------------------------------------------


def told(invocation, key):
    """The JSON lines of the function's log that have this key."""
    lines = [line for line in invocation.log.splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, lines) if key in line]


class TestLogger:
    def details(self, invocation):
        return [line["function_request_id"] for line in told(invocation, "message")]

    def test_outside_its_buffer_is_flushed_by_an_error_of_the_end_of_the_scope(
        self, function, placed
    ):
        outside = function("powertools_observed.logger_outside")
        failed = outside.invoke({"name": "one", "ending": "fails at the end"})
        assert failed.error["errorType"] == "DuplicateKey"
        assert self.details(failed) == [failed.request_id]
        assert placed() == []

    def test_inside_it_does_not_hear_of_that_error(self, function):
        inside = function("powertools_observed.logger_inside")
        failed = inside.invoke({"name": "one", "ending": "fails at the end"})
        assert failed.error["errorType"] == "DuplicateKey"
        assert self.details(failed) == []


def counted(invocation):
    """The names of the metrics that were sent."""
    return {
        metric["Name"]
        for line in told(invocation, "_aws")
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }


class TestMetrics:
    def test_outside_what_after_commit_counts_is_sent_if_and_only_if_it_was_committed(
        self, function, placed
    ):
        outside = function("powertools_observed.metrics_outside")
        failed = outside.invoke({"name": "one", "ending": "fails at the end"})
        assert failed.error["errorType"] == "DuplicateKey"
        assert (placed(), counted(failed)) == ([], {"Tried"})
        assert counted(outside.invoke({"name": "one"})) == {"Tried", "Placed"}
        assert placed() == ["one"]

    def test_inside_what_after_commit_counts_is_sent_with_the_next_invocation(self, function):
        inside = function("powertools_observed.metrics_inside")
        assert counted(inside.invoke({"name": "one"})) == {"Tried"}
        assert counted(inside.invoke({"name": "two"})) == {"Tried", "Placed"}

    def test_outside_it_runs_once_and_inside_with_each_attempt(self, function, placed, admin):
        outside = function("powertools_observed.two_attempts_outside")
        (sent,) = told(outside.invoke({"name": "one"}), "_aws")
        assert (sent["Tried"], sent["Placed"]) == ([1.0, 1.0], [1.0])
        assert placed() == ["one"]
        query(admin, "TRUNCATE orders")  # the first id again, and so the first attempt fails
        inside = function("powertools_observed.two_attempts_inside")
        sent = told(inside.invoke({"name": "two"}), "_aws")
        assert [line["Tried"] for line in sent] == [[1.0], [1.0]]
        assert placed() == ["two"]


@needs("aws_xray_sdk")
class TestTracer:
    def test_outside_it_records_an_error_of_the_end_of_the_scope(self, function, placed):
        outside = function("powertools_traced.tracer_outside")
        failed = outside.invoke({"name": "one", "ending": "fails at the end"})
        assert failed.error["errorType"] == "DuplicateKey"
        assert [line["traced"] for line in told(failed, "traced")] == ["traced error"]
        assert placed() == []

    def test_inside_it_records_a_response_that_never_left(self, function, placed):
        inside = function("powertools_traced.tracer_inside")
        failed = inside.invoke({"name": "one", "ending": "fails at the end"})
        assert failed.error["errorType"] == "DuplicateKey"
        assert [line["traced"] for line in told(failed, "traced")] == ["traced response"]
        assert placed() == []


@needs("aws_xray_sdk")
@needs("boto3")
@needs("fastjsonschema")
@needs("pydantic")
class TestAllOfItInTheOrderOfTheDocumentation:
    def test_a_failure_at_any_place_stores_nothing_and_a_success_runs_once(
        self, function, placed, statuses, proxy
    ):
        handler = function("powertools_stack.handler")
        failures = {
            "ValidationError": {"name": 1},
            "SchemaValidationError": {"name": "one", "ending": "refused"},
            "DuplicateKey": {"name": "one", "ending": "fails at the end"},
            "CommitOutcomeUnknown": {"name": "one"},
        }
        for kind, event in failures.items():
            if kind == "CommitOutcomeUnknown":
                proxy.on(COMMIT, "cut")
            failed = handler.invoke(event)
            assert failed.error["errorType"] == kind
            assert (placed(), statuses(), counted(failed)) == ([], [], set())
            assert [line["traced"] for line in told(failed, "traced")] == ["handler error"]
        done, again = handler.invoke({"name": "one"}), handler.invoke({"name": "one"})
        assert done.answer() == again.answer()
        assert (placed(), statuses()) == (["one"], ["COMPLETED"])
        assert (counted(done), counted(again)) == ({"Placed"}, set())
        assert handler.cold_starts == 1
