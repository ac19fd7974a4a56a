"""A handler on `dal` in the real Lambda runtime: what is answered, stored and left open."""

import random
import secrets
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import make_url

from dal.testing.proxy import Proxy
from dal.testing.runtime import Function, Invocation

FUNCTIONS = Path(__file__).parents[1] / "functions"
LEDGER = "CREATE TABLE ledger (id INT AUTO_INCREMENT PRIMARY KEY, token VARCHAR(50) NOT NULL)"
ITEM = "CREATE TABLE item (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) NOT NULL UNIQUE)"
PUBLISHED = "CREATE TABLE published (name VARCHAR(20), committed INT)"
AMPLE = 20.0  # seconds: for functions whose timeout is no subject, also on a loaded machine


def query(connection, sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def sessions(admin):
    """The ids of the sessions in the admin's database, but for its own."""
    return query(
        admin,
        "SELECT id, command, info FROM information_schema.processlist "
        "WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    )


def eventually(condition, seconds):
    """Whether the condition comes true within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def waits_for_a_lock(admin, text):
    """Whether a session is inside a statement with this text."""
    return any(info and text in info for _, _, info in sessions(admin))


def no_sessions_within(admin, seconds):
    return eventually(lambda: not sessions(admin), seconds)


def names(admin):
    return [name for (name,) in query(admin, "SELECT name FROM item ORDER BY name")]


def through(proxy, environment):
    """The variables of a function that reaches its database by the proxy, in the clear."""
    url = make_url(environment["DATABASE_URL"]).set(host=proxy.host, port=proxy.port)
    return environment | {
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "DAL_TLS": "disabled",  # else the proxy sees no statements
    }


@pytest.fixture
def function(environment):
    opened = []

    def deploy(handler, *, timeout=AMPLE, environment=environment):
        opened.append(Function(handler, environment=environment, path=[FUNCTIONS], timeout=timeout))
        return opened[-1]

    yield deploy
    for one in opened:
        one.close()


@pytest.fixture
def proxy(server, admin):
    # `admin` has logged in over TLS: after that the server lets the account in without RSA.
    with Proxy(server.host, server.port) as proxy:
        yield proxy


@pytest.fixture
def ledger(admin):
    query(admin, LEDGER)


@pytest.fixture
def item(admin):
    query(admin, ITEM)
    query(admin, PUBLISHED)


# The mix ---------------------------------------------------------------------------------------

WORKERS = 6
KILLED = 0.8  # seconds: the timeout of an invocation that is to be killed

#: How many of each ending.
MIX = {
    "answer": 60,
    "exception": 36,
    "refuse": 36,
    "no_json": 24,
    "too_large": 2,
    "leave": 8,
    "asleep": 10,
    "in_a_statement": 6,
    "at_the_end": 12,
    "after_the_commit": 6,
}
KILLS = {"asleep", "in_a_statement", "at_the_end", "after_the_commit"}


def the_mix():
    choose = random.Random(200)
    endings = [ending for ending, count in MIX.items() for _ in range(count)]
    choose.shuffle(endings)
    for number, ending in enumerate(endings):
        yield {
            "token": f"{ending}-{number}",
            "ending": ending,
            "status": choose.choice([400, 404, 409, 422, 500, 503]),
            "before": choose.uniform(0.0, 0.006),
            # A function that knows its deadline gives up a statement before it is killed in it.
            "knows_its_deadline": ending not in {"in_a_statement", "at_the_end"},
        }


@contextmanager
def a_database(server, name):
    server.create_database(name)
    try:
        with server.connect(name) as admin:
            yield admin
    finally:
        server.drop_database(name)


@dataclass(frozen=True)
class Outcome:
    """What came of one invocation, as its caller, the wire and the table tell."""

    ending: str
    invocation: Invocation
    acknowledged: bool
    same_process: bool
    statements: list[str]
    stored: int
    closed: bool

    @property
    def timed_out(self):
        return was_killed(self.invocation)

    @property
    def committed(self):
        return "COMMIT" in self.statements


def was_killed(invocation):
    return invocation.error is not None and invocation.error["errorType"] == "Sandbox.Timedout"


def work_off(server, events):
    """Invoke one function with each event in turn, and look at its row after each."""
    name = f"dal_mix_{secrets.token_hex(6)}"
    with (
        a_database(server, name) as admin,
        Proxy(server.host, server.port) as proxy,
        Function(
            "ledger.handler",
            environment=through(proxy, server.environment(name)),
            path=[FUNCTIONS],
        ) as function,
    ):
        query(admin, LEDGER)
        return [outcome(function, event, admin, proxy) for event in events]


def outcome(function, event, admin, proxy):
    function.timeout = KILLED if event["ending"] in KILLS else AMPLE
    proxy.reset()
    process = function.pid
    invocation = function.invoke(event)
    return Outcome(
        ending=event["ending"],
        invocation=invocation,
        acknowledged=invocation.payload is not None and "token" in invocation.payload,
        same_process=process in (None, function.pid),
        # First, for it is on the clock.
        closed=no_sessions_within(admin, 5 if was_killed(invocation) else 1),
        statements=[statement for trace in proxy.connections for statement in trace.statements],
        stored=query(admin, "SELECT COUNT(*) FROM ledger WHERE token = %s", event["token"])[0][0],
    )


@pytest.fixture(scope="module")
def outcomes(server):
    events = list(the_mix())
    with ThreadPoolExecutor(WORKERS) as pool:
        shares = [events[start::WORKERS] for start in range(WORKERS)]
        return [one for share in pool.map(partial(work_off, server), shares) for one in share]


class TestAfterTwoHundredMixedInvocations:
    def test_they_ended_as_they_were_meant_to(self, outcomes):
        kinds = {ending: Counter() for ending in MIX}
        for one in outcomes:
            error = one.invocation.error
            kinds[one.ending][error["errorType"] if error else "answered"] += 1
        assert sum(map(Counter.total, kinds.values())) == 200
        assert kinds["answer"] == {"answered": MIX["answer"]}
        assert kinds["refuse"] == {"answered": MIX["refuse"]}
        assert kinds["exception"] == {"LookupError": MIX["exception"]}
        assert kinds["no_json"] == {"UnencodableAnswer": MIX["no_json"]}
        assert kinds["too_large"] == {"UnencodableAnswer": MIX["too_large"]}
        assert kinds["leave"] == {"Runtime.ExitError": MIX["leave"]}
        for ending in KILLS - {"at_the_end"}:
            assert kinds[ending] == {"Sandbox.Timedout": MIX[ending]}
        # The kill did meet them where it was meant to.
        assert any(
            one.statements[-1:] == ["SELECT SLEEP(60)"] and one.timed_out for one in outcomes
        )
        assert any(one.stored and one.timed_out for one in outcomes)

    def test_each_acknowledged_row_is_stored_exactly_once(self, outcomes):
        acknowledged = [one for one in outcomes if one.acknowledged]
        assert len(acknowledged) >= MIX["answer"]
        assert [one for one in acknowledged if one.stored != 1] == []

    def test_an_unacknowledged_row_is_stored_at_most_once_and_only_if_commit_was_sent(
        self, outcomes
    ):
        unacknowledged = [one for one in outcomes if not one.acknowledged]
        assert [one for one in unacknowledged if one.stored > one.committed] == []

    def test_commit_is_never_sent_for_exceptions_bad_answers_4xx_exits_and_sleepers(self, outcomes):
        undone = {"exception", "refuse", "no_json", "too_large", "leave", "asleep"}
        undone |= {"in_a_statement"}
        concerned = [one for one in outcomes if one.ending in undone]
        assert [one for one in concerned if one.stored or one.committed] == []

    def test_no_connection_was_left_a_second_after_an_answer_and_five_after_a_kill(self, outcomes):
        assert [one for one in outcomes if not one.closed] == []

    def test_errors_keep_the_environment_warm(self, outcomes):
        harmless = {"answer", "exception", "refuse", "no_json", "too_large"}
        concerned = [one for one in outcomes if one.ending in harmless]
        assert [one for one in concerned if not one.same_process] == []


@pytest.mark.usefixtures("ledger")
class TestTheAnswer:
    def test_leaves_byte_for_byte_as_it_does_without_dal(self, function, admin):
        plain, on_dal = function("answers.plain"), function("answers.on_dal")
        # NaN, bytes in a list: that is for the runtime to decide, and dal asks it.
        refused = []
        for name in plain.invoke("names").answer():
            expected, got = plain.invoke(name), on_dal.invoke(name)
            if expected.error is None:
                assert (name, got.raw) == (name, expected.raw)
            else:
                refused.append(name)
                assert expected.error["errorType"] == "Runtime.MarshalError"
                assert got.error["errorType"] == "UnencodableAnswer"
            stored = query(admin, "SELECT COUNT(*) FROM ledger WHERE token = %s", name)
            assert (name, stored) == (name, ((int(expected.error is None),),))
        assert {"date", "set"} <= set(refused)
        assert on_dal.cold_starts == 1


@pytest.mark.usefixtures("item")
class TestAnswersThatMeanFailure:
    def test_a_status_of_400_or_more_leaves_and_rolls_back(self, function, admin):
        status = function("unit.status")
        for code in (400, 404, 422, 500, 599):
            answer = {"statusCode": code, "headers": {"X": "1"}, "body": "no"}
            assert status.invoke({"name": f"at {code}", "answer": answer}).answer() == answer
        assert names(admin) == []

    def test_any_other_answer_is_committed(self, function, admin):
        status = function("unit.status")
        others = [{"statusCode": 200}, {"statusCode": 399}, {"statusCode": "404"}, {"status": 500}]
        others += [{"statusCode": True}, {"statusCode": None}, [{"statusCode": 404}], 404, None]
        for number, answer in enumerate(others):
            assert status.invoke({"name": f"{number}", "answer": answer}).answer() == answer
        assert names(admin) == sorted(map(str, range(len(others))))

    def test_rollback_when_decides_in_its_place(self, function, admin):
        chosen, never = function("unit.rolls_back_when_failed"), function("unit.never_rolls_back")
        for answer in ({"failed": True}, {"failed": False, "statusCode": 500}):
            event = {"name": f"failed={answer['failed']}", "answer": answer}
            assert chosen.invoke(event).answer() == answer
        never.invoke({"name": "never", "answer": {"statusCode": 500}}).answer()
        assert names(admin) == ["failed=False", "never"]

    def test_an_error_of_rollback_when_rolls_back(self, function, admin):
        chosen = function("unit.rolls_back_when_failed")
        failed = chosen.invoke({"name": "x", "answer": {"other": 1}})
        assert failed.error["errorType"] == "KeyError"
        assert names(admin) == []


@pytest.mark.usefixtures("item")
class TestErrors:
    @pytest.mark.parametrize(
        ("what", "kind", "parts"),
        [
            ("a mistake of its own", "KeyError", ["'price'"]),
            ("duplicate key", "DuplicateKey", ["another row has this value of the key", "1062"]),
            ("data too long", "DataTooLong", ["column 'name'", "1406"]),
            ("not found", "NotFound", ["no Row has the key 4711"]),
        ],
    )
    def test_arrive_at_the_caller_by_their_names(self, function, admin, what, kind, parts):
        raises = function("unit.raises")
        failed = raises.invoke({"name": "a name", "what": what})
        assert failed.error["errorType"] == kind
        assert [part for part in parts if part not in failed.error["errorMessage"]] == []
        assert "unit.py" in "".join(failed.error["stackTrace"])
        assert names(admin) == []
        process = raises.pid
        assert raises.invoke({"name": "next", "what": "nothing"}).answer() is None
        assert (raises.pid, raises.cold_starts) == (process, 1)
        assert names(admin) == ["next"]

    def test_that_have_no_name_arrive_as_sqlalchemys(self, function, admin):
        failed = function("unit.raises").invoke({"name": "a name", "what": "no such table"})
        assert failed.error["errorType"] == "ProgrammingError"
        assert "1146" in failed.error["errorMessage"]
        assert names(admin) == []

    def test_of_connecting_say_what_to_do_and_no_secret(self, function, environment):
        address = make_url(environment["DATABASE_URL"])
        wrong = {
            "AccessDenied": (address.set(password="open sesame"), "check DB_USER and DB_PASSWORD"),
            "UnknownDatabase": (address.set(database="absent"), "check DB_NAME"),
            "ConnectError": (address.set(port=1, password="open sesame"), "security group"),
        }
        for kind, (url, advice) in wrong.items():
            text = url.render_as_string(hide_password=False)
            variables = {"DATABASE_URL": text, "DAL_CONNECT_TIMEOUT": "2"}
            deployed = function("unit.run", environment=environment | variables)
            failed = deployed.invoke({"name": "x", "statement": "SELECT 1"})
            assert failed.error["errorType"] == kind
            assert advice in failed.error["errorMessage"]
            assert "sesame" not in failed.raw.decode() + failed.log

    def test_of_settings_fail_the_start_and_name_the_variable(self, function):
        wrong = {"DATABASE_URL": "mysql://me:sesame@host/db", "DAL_STATEMENT_TIMEOUT": "soon"}
        failed = function("unit.run", environment=wrong).invoke({})
        assert failed.error["errorType"] == "ConfigurationError"
        assert "DAL_STATEMENT_TIMEOUT" in failed.error["errorMessage"]
        assert "sesame" not in failed.raw.decode() + failed.log


@pytest.mark.usefixtures("item")
class TestTheDeadlineOfTheInvocation:
    """Several functions wait at once in each test: the waits are the time that it takes."""

    TIMEOUT = 3.0

    def invoke_all(self, functions_and_events):
        with ThreadPoolExecutor(len(functions_and_events)) as pool:
            return list(pool.map(lambda pair: pair[0].invoke(pair[1]), functions_and_events))

    def ended_by_themselves(self, failures, functions):
        """Whether each function answered in time and lives on; the reserve is half a second."""
        return all(2.4 < one.duration < self.TIMEOUT for one in failures) and all(
            one.pid is not None for one in functions
        )

    @pytest.mark.mysql("the server's own limit for a SELECT is MySQL's alone")
    def test_ends_a_slow_select_on_the_server_too(self, function, admin):
        slow = [
            "SELECT SLEEP(60)",
            "SELECT 1 FROM information_schema.tables WHERE SLEEP(60) = 0",
        ]
        runs = [function("unit.run", timeout=self.TIMEOUT) for _ in slow]
        failures = self.invoke_all(
            [
                (run, {"name": text[:20], "statement": text})
                for run, text in zip(runs, slow, strict=True)
            ]
        )
        assert no_sessions_within(admin, 1)
        assert self.ended_by_themselves(failures, runs)
        kinds = {one.error["errorType"] for one in failures}
        assert kinds <= {"DeadlineExceeded", "StatementTimeout"}
        assert names(admin) == []

    def test_ends_the_wait_for_a_slow_write_which_is_then_undone(self, function, admin):
        # MySQL bounds SELECT alone: a write that runs finishes first, and finds nobody there.
        slow = [
            "INSERT INTO item (name) SELECT CONCAT('late ', SLEEP(3))",
            "DO SLEEP(3)",
        ]
        runs = [function("unit.run", timeout=self.TIMEOUT) for _ in slow]
        failures = self.invoke_all(
            [
                (run, {"name": text[:20], "statement": text})
                for run, text in zip(runs, slow, strict=True)
            ]
        )
        assert self.ended_by_themselves(failures, runs)
        assert [one.error["errorType"] for one in failures] == ["DeadlineExceeded"] * 2
        assert no_sessions_within(admin, 5)
        assert names(admin) == []

    def test_ends_the_wait_for_a_lock(self, function, admin, server, database, environment):
        query(admin, "INSERT INTO item (name) VALUES ('held')")
        query(admin, "CREATE TABLE shut (id INT)")
        waits = [
            "UPDATE item SET name = 'x' WHERE name = 'held'",
            "SELECT * FROM item WHERE name = 'held' FOR UPDATE",
            "INSERT INTO shut VALUES (1)",
        ]
        # By itself the wait for a lock would be over before the invocation.
        patient = {**environment, "DAL_LOCK_WAIT_TIMEOUT": "5"}
        runs = [function("unit.run", environment=patient, timeout=self.TIMEOUT) for _ in waits]
        with (
            server.connect(database, autocommit=False) as row_lock,
            server.connect(database) as table_lock,
        ):
            query(row_lock, "SELECT * FROM item WHERE name = 'held' FOR UPDATE")
            query(table_lock, "LOCK TABLES shut READ")
            failures = self.invoke_all(
                [
                    (run, {"name": text[-20:], "statement": text})
                    for run, text in zip(runs, waits, strict=True)
                ]
            )
            # The server's limits are whole seconds, so a lock may be waited for a little longer.
            assert eventually(lambda: len(sessions(admin)) == 2, 3)
        assert self.ended_by_themselves(failures, runs)
        kinds = {one.error["errorType"] for one in failures}
        assert kinds <= {"DeadlineExceeded", "LockWaitTimeout"}
        assert names(admin) == ["held"]

    def test_ends_the_wait_for_a_server_that_went_silent(
        self, function, admin, environment, server
    ):
        insert, select, commit = 2, 3, 4  # the first command is the SET
        moments = ["greeting", "login", insert, select, commit]
        with ExitStack() as stack:
            runs = []
            for moment in moments:
                proxy = stack.enter_context(Proxy(server.host, server.port))
                proxy.on(moment, "stall")
                variables = through(proxy, environment)
                runs.append(function("unit.run", timeout=self.TIMEOUT, environment=variables))
            failures = self.invoke_all(
                [
                    (run, {"name": f"at {moment}", "statement": "SELECT 1"})
                    for run, moment in zip(runs, moments, strict=True)
                ]
            )
            # Nobody told the server that they have left: its own limits must end the sessions.
            assert no_sessions_within(admin, 5)
        assert self.ended_by_themselves(failures, runs)
        assert [one.error["errorType"] for one in failures] == [
            *["DeadlineExceeded"] * 4,
            "CommitOutcomeUnknown",
        ]
        assert names(admin) == []

    def test_leaves_work_uncommitted_that_took_too_long(self, function, admin):
        run = function("unit.takes_its_time", timeout=self.TIMEOUT)
        failed = run.invoke({"name": "slow", "seconds": 2.6})
        assert failed.error["errorType"] == "DeadlineExceeded"
        assert self.ended_by_themselves([failed], [run])
        assert names(admin) == []
        assert run.invoke({"name": "fast", "seconds": 0}).answer() == "done"
        assert names(admin) == ["fast"]


@pytest.mark.usefixtures("item")
class TestAfterCommit:
    def published(self, admin):
        return query(admin, "SELECT name, committed FROM published")

    def test_runs_after_the_commit_and_before_the_answer_leaves(self, function, admin):
        publishes = function("unit.publishes")
        # `committed` is how many of the rows the callback saw: from outside of the transaction.
        assert publishes.invoke({"name": "one"}).answer() == "done"
        assert self.published(admin) == (("one", 1),)
        assert names(admin) == ["one"]

    def test_one_that_raises_is_logged_and_the_rest_run_and_the_answer_stands(
        self, function, admin
    ):
        invocation = function("unit.publishes").invoke({"name": "one", "first": "fails"})
        assert invocation.answer() == "done"
        assert "the queue is full" in invocation.log
        assert self.published(admin) == (("one", 1),)

    def test_does_not_run_without_a_commit(self, function, admin, proxy, environment):
        new_each_time = {**environment, "DAL_POOL": "none"}  # for the number of a command
        publishes = function("unit.publishes", environment=through(proxy, new_each_time))
        publishes.invoke({"name": "exception", "ending": "exception"})
        publishes.invoke({"name": "no json", "ending": "no json"})
        publishes.invoke({"name": "rollback only", "ending": "rollback only"})
        publishes.invoke({"name": "failure", "answer": {"statusCode": 409}})
        proxy.on(3, "cut")  # after SET and INSERT
        lost = publishes.invoke({"name": "cut"})
        assert lost.error["errorType"] == "CommitOutcomeUnknown"
        assert self.published(admin) == ()
        assert names(admin) == []
        assert publishes.cold_starts == 1


@pytest.mark.usefixtures("item")
class TestAHandlerThatSwallowsAnErrorAndAnswers:
    @pytest.mark.parametrize(
        ("what", "kind"),
        [
            ("commit", "TransactionControl"),
            ("commit as text", "TransactionControl"),
            ("ddl", "TransactionControl"),
            ("duplicate key", "DuplicateKey"),
        ],
    )
    def test_fails_with_that_error_and_stores_nothing(self, function, admin, what, kind):
        swallows = function("unit.swallows")
        failed = swallows.invoke({"name": "a name", "what": what})
        assert failed.error["errorType"] == kind
        assert names(admin) == []
        assert swallows.invoke({"name": "next", "what": "nothing"}).answer()["statusCode"] == 200
        assert swallows.cold_starts == 1
        assert names(admin) == ["next"]

    def test_of_a_deadlock_fails_with_it_and_stores_nothing(
        self, function, admin, server, database
    ):
        query(admin, "INSERT INTO item (name) VALUES ('ada'), ('bob')")
        swallows = function("unit.swallows")
        statements = [
            "UPDATE item SET name = 'mine' WHERE name = 'ada'",
            "UPDATE item SET name = 'mine too' WHERE name = 'bob'",
        ]
        event = {"name": "new", "what": "statement", "statements": statements}
        with server.connect(database, autocommit=False) as other, ThreadPoolExecutor(1) as pool:
            # InnoDB ends the transaction that has written less.
            query(other, f"INSERT INTO published (name) VALUES {', '.join(['(NULL)'] * 50)}")
            query(other, "UPDATE item SET name = 'other' WHERE name = 'bob'")
            invoked = pool.submit(swallows.invoke, event)
            assert eventually(lambda: waits_for_a_lock(admin, "mine too"), 10)
            query(other, "UPDATE item SET name = 'other too' WHERE name = 'ada'")
            failed = invoked.result()
            other.commit()
        assert failed.error["errorType"] == "Deadlock"
        assert "1213" in failed.error["errorMessage"]
        assert names(admin) == ["other", "other too"]

    def test_of_a_lock_wait_timeout_fails_with_it_and_stores_nothing(
        self, function, admin, server, database, environment
    ):
        query(admin, "INSERT INTO item (name) VALUES ('held')")
        swallows = function(
            "unit.swallows", environment=environment | {"DAL_LOCK_WAIT_TIMEOUT": "1"}
        )
        event = {
            "name": "new",
            "what": "statement",
            "statements": ["UPDATE item SET name = 'mine' WHERE name = 'held'"],
        }
        with server.connect(database, autocommit=False) as other:
            query(other, "SELECT * FROM item WHERE name = 'held' FOR UPDATE")
            failed = swallows.invoke(event)
        assert failed.error["errorType"] == "LockWaitTimeout"
        assert names(admin) == ["held"]

    def test_of_a_savepoint_goes_on_and_is_committed(self, function, admin):
        event = {"name": "a name", "what": "duplicate key in a savepoint"}
        assert function("unit.swallows").invoke(event).answer()["statusCode"] == 200
        assert names(admin) == ["a name"]
