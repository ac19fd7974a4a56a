"""Migrations from a function, in Lambda's own runtime client."""

import http.server
import json
import threading

import pytest

from dal.testing.runtime import Function

# A definition of some seconds, which the server does not end when its client is gone.
LONG = "op.execute(\"CREATE TABLE slow AS SELECT BENCHMARK({}, SHA2('x', 512)) AS n\")"
PAUSE = "op.execute('SELECT SLEEP(0.4)')"
TABLE = "op.execute('CREATE TABLE {} (id INT)')"


@pytest.fixture
def function(revisions, environment, tmp_path):
    """The function on the test's revisions, with a limit of five seconds."""
    (tmp_path / "migrate_function.py").write_text(
        "import dal.migrate\nfrom dal import Database\n"
        f"handle = dal.migrate.handler(Database.from_env(), {str(tmp_path)!r})\n"
    )
    with_limit = []

    def make(timeout=5.0, **variables):
        made = Function(
            "migrate_function.handle",
            environment=environment | variables,
            timeout=timeout,
            path=[tmp_path],
        )
        with_limit.append(made)
        return made

    yield make
    for made in with_limit:
        made.close()


def rounds(rows, seconds):
    """How many rounds of SHA2 this server does in so many seconds, about."""
    import time

    began = time.monotonic()
    rows("SELECT BENCHMARK(200000, SHA2('x', 512))")
    return int(200_000 * seconds / (time.monotonic() - began))


def test_it_is_called_until_it_is_done_over_a_definition_longer_than_its_limit(
    revisions, function, rows
):
    bodies = [f"{TABLE.format(f't{n}')}\n{PAUSE}" for n in range(4)]
    bodies.insert(2, LONG.format(rounds(rows, 6)))
    revisions.chain(*bodies)
    migrate = function()

    answers = []
    for _ in range(12):
        answers.append(migrate.invoke({"action": "upgrade"}).answer())
        if answers[-1]["done"]:
            break

    assert answers[-1] == {"done": True, "at": ["r5"]}, answers
    assert any("runs on at the server" in answer.get("why", "") for answer in answers), answers
    assert migrate.cold_starts == 1  # never killed
    assert {name for (name,) in rows("SHOW TABLES")} == {
        *("alembic_version", "slow", "t0", "t1", "t2", "t3")
    }


def test_status_and_a_failure_and_going_on(revisions, function, rows):
    revisions.chain(TABLE.format("t"), "op.execute('INSERT INTO missing VALUES (1)')")
    migrate = function(timeout=20)

    failed = migrate.invoke({"action": "upgrade"})
    status = migrate.invoke({"action": "status"}).answer()

    assert failed.error["errorType"] == "MigrationFailed"
    assert "INSERT INTO missing" in failed.error["errorMessage"]
    assert (status["at"], status["pending"]) == (["r1"], ["r2"])
    assert status["half_done"]["errno"] == 1146
    assert "request" in status["half_done"]["who"]
    rows("CREATE TABLE missing (id INT)")
    assert migrate.invoke({"action": "upgrade"}).answer()["done"]


def test_an_action_it_does_not_know_is_refused(function):
    assert function(timeout=20).invoke({}).error["errorType"] == "InvalidArgument"


def test_it_says_that_it_is_behind_a_proxy(revisions, function):
    revisions.chain(TABLE.format("t"))
    answer = function(timeout=20, DAL_PROXY="true").invoke({"action": "upgrade"}).answer()

    assert answer["done"]
    assert "RDS Proxy" in answer["warning"]


# CloudFormation ---------------------------------------------------------------------------------


@pytest.fixture
def cloudformation():
    """What CloudFormation's side hears; the URL is in `url`."""

    class Heard(list):
        url = ""
        status = 200

    heard = Heard()

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.headers["Content-Type"], json.loads(body)))
            self.send_response(heard.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        heard.url = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield heard
        server.shutdown()


def event(heard, kind, **more):
    return {
        "RequestType": kind,
        "ResponseURL": heard.url,
        "StackId": "arn:stack",
        "RequestId": "one",
        "LogicalResourceId": "Migrated",
        "ResourceProperties": {"ServiceToken": "arn:function"},
        **more,
    }


def test_a_custom_resource_is_answered_after_success(revisions, function, rows, cloudformation):
    revisions.chain(TABLE.format("t"))

    function(timeout=20).invoke(event(cloudformation, "Create")).answer()

    ((content_type, said),) = cloudformation
    assert (said["Status"], content_type) == ("SUCCESS", "")
    assert (said["StackId"], said["RequestId"], said["LogicalResourceId"]) == (
        *("arn:stack", "one", "Migrated"),
    )
    assert said["PhysicalResourceId"]
    assert rows("SELECT version_num FROM alembic_version") == [("r1",)]


def test_a_custom_resource_is_answered_after_a_failure(revisions, function, cloudformation):
    revisions.chain("op.execute('INSERT INTO missing VALUES (1)')")

    function(timeout=20).invoke(event(cloudformation, "Update", PhysicalResourceId="it"))

    ((_, said),) = cloudformation
    assert (said["Status"], said["PhysicalResourceId"]) == ("FAILED", "it")
    assert "INSERT INTO missing" in said["Reason"]


def test_a_custom_resource_is_answered_without_a_server(function, cloudformation):
    migrate = function(timeout=20, DATABASE_URL="mysql://root@127.0.0.1:1/nowhere")

    migrate.invoke(event(cloudformation, "Create"))

    assert [said["Status"] for _, said in cloudformation] == ["FAILED"]


def test_a_custom_resource_that_has_no_time_is_answered(revisions, function, rows, cloudformation):
    revisions.chain(LONG.format(rounds(rows, 5)), TABLE.format("t"))

    function(timeout=3).invoke(event(cloudformation, "Create")).answer()

    ((_, said),) = cloudformation
    assert said["Status"] == "FAILED"
    assert "goes on" in said["Reason"]


def test_nothing_is_taken_back_where_the_stack_is_deleted(
    revisions, function, rows, cloudformation
):
    revisions.chain(TABLE.format("t"))

    function(timeout=20).invoke(event(cloudformation, "Delete", PhysicalResourceId="it")).answer()

    assert [said["Status"] for _, said in cloudformation] == ["SUCCESS"]
    assert rows("SHOW TABLES") == []
