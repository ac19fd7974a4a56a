"""The line about a unit of work, against what a proxy in front of the server has counted."""

import logging
import time

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

from dal import CommitOutcomeUnknown, Database, Deadlock, DuplicateKey
from dal.testing.proxy import Proxy


@pytest.fixture
def proxy(server, db):
    with db.scope() as session:  # the server's login cache
        session.scalar(sa.select(1))
    with Proxy(server.host, server.port) as proxy:
        yield proxy


@pytest.fixture
def seen(proxy, environment):
    """A database that reports, its connections counted by the proxy."""
    variables = {"DATABASE_URL": environment["DATABASE_URL"]}
    return Database.from_env(
        variables, host=proxy.host, port=proxy.port, tls="disabled", report="log"
    )


@pytest.fixture
def line(proxy, caplog):
    """The one line that was written, once it has been held to what the proxy counted."""

    def only(*, unanswered=0, refused=0):
        (record,) = [each for each in caplog.records if each.name == "dal.report"]
        assert record.levelno == logging.INFO
        assert proxy.wait_closed()
        counted = [trace.round_trips for trace in proxy.connections]
        assert record.msg["round_trips"] == sum(counted) - unanswered
        assert record.msg["connections"] == len(counted) - refused
        caplog.clear()
        proxy.reset()
        return record.msg

    return only


def counts(line):
    """The numbers of a line but times, without those that are 0."""
    return {
        key: value
        for key, value in line.items()
        if isinstance(value, int) and value and key not in {"connections", "round_trips"}
    }


def add(session, owner):
    session.add(Account(owner=owner, balance=5))
    session.flush()


class TestOutcome:
    def test_of_work_that_is_stored(self, seen, database, line, admin):
        with seen.scope() as session:
            add(session, "ada")
        told = line()
        assert (told["database"], told["outcome"]) == (database, "committed")
        assert counts(told) == {"statements": 1, "rows_written": 1, "commits": 1}
        with admin.cursor() as cursor:
            assert cursor.execute("SELECT * FROM account") == 1

    def test_of_reading(self, db, seen, line):
        with db.scope() as session:
            session.add_all([Account(owner=owner) for owner in "abc"])
        with seen.scope(read_only=True) as session:
            session.scalars(sa.select(Account)).all()
        told = line()
        assert told["outcome"] == "read"
        assert counts(told) == {"statements": 1, "rows_read": 3}

    def test_of_work_that_was_not_wanted(self, seen, line, admin):
        with seen.scope() as session:
            add(session, "ada")
            seen.rollback_only()
        told = line()
        assert (told["outcome"], "error" in told) == ("rolled back", False)
        assert counts(told) == {"statements": 1, "rows_written": 1, "rollbacks": 1}
        with admin.cursor() as cursor:
            assert cursor.execute("SELECT * FROM account") == 0

    def test_of_an_error_of_the_server(self, db, seen, line):
        with db.scope() as session:
            add(session, "ada")
        with pytest.raises(DuplicateKey), seen.scope() as session:
            add(session, "ada")
        told = line()
        assert (told["outcome"], told["error"]) == ("failed", "DuplicateKey")
        assert counts(told) == {"statements": 1, "rollbacks": 1}

    def test_of_an_error_of_user_code(self, seen, line):
        with pytest.raises(LookupError), seen.scope() as session:
            add(session, "ada")
            raise LookupError
        told = line()
        assert (told["outcome"], told["error"]) == ("failed", "LookupError")

    def test_of_a_commit_whose_answer_was_lost(self, seen, proxy, line):
        proxy.on(3, "swallow", cut_after=0.05)
        with pytest.raises(CommitOutcomeUnknown), seen.scope() as session:
            add(session, "ada")
        told = line(unanswered=1)
        assert (told["outcome"], told["error"]) == ("unknown", "CommitOutcomeUnknown")
        assert counts(told) == {"statements": 1, "rows_written": 1}
        assert told["commit_ms"] >= 50

    def test_of_a_scope_that_never_touches_the_database(self, seen, line):
        with seen.scope():
            pass
        told = line()
        assert told["outcome"] == "unused"
        assert counts(told) == {}


class TestCounts:
    def test_of_savepoints_are_statements(self, seen, line):
        with seen.scope() as session, seen.savepoint():
            add(session, "ada")
        assert counts(line()) == {"statements": 3, "rows_written": 1, "commits": 1}

    def test_of_rows_have_those_that_were_found_changed_or_not(self, db, seen, line):
        with db.scope() as session:
            session.add_all([Account(owner=owner, balance=1) for owner in "abc"])
        with seen.scope() as session:
            session.execute(sa.update(Account).values(balance=1))
            session.execute(sa.delete(Account).where(Account.owner == "a"))
        assert counts(line()) == {"statements": 2, "rows_written": 4, "commits": 1}

    def test_of_a_stream_are_the_rows_that_were_taken(self, db, seen, line):
        with db.scope() as session:
            session.add_all([Account(owner=str(owner)) for owner in range(50)])
        with seen.scope(read_only=True) as session:
            names = session.scalars(
                sa.select(Account.owner), execution_options={"stream_results": True}
            )
            assert len(names.all()) == 50
        assert counts(line()) == {"statements": 1, "rows_read": 50}

    def test_of_a_batch_are_those_of_its_statements(self, seen, line):
        with seen.scope():
            Accounts(seen).insert_many({"owner": str(n), "balance": 0} for n in range(100))
        assert counts(line()) == {"statements": 1, "rows_written": 100, "commits": 1}

    def test_hold_no_settings_that_are_renewed(self, seen, line, monkeypatch):
        monkeypatch.setattr("dal.wire.session.login.RENEWAL", 0)
        with seen.scope(deadline=60) as session:
            session.scalar(sa.select(1))
        told = line()
        assert counts(told) == {"statements": 1, "rows_read": 1, "commits": 1}
        assert told["round_trips"] > 4

    def test_of_time_fit_into_the_whole(self, seen, proxy, line):
        proxy.latency = 0.02
        began = time.monotonic()
        with seen.scope() as session:
            add(session, "ada")
        whole = (time.monotonic() - began) * 1000
        told = line()
        # Two round trips to connect, one for each of the others.
        assert told["connect_ms"] >= 40
        assert told["statement_ms"] >= 20
        assert told["commit_ms"] >= 20
        parts = told["connect_ms"] + told["statement_ms"] + told["commit_ms"]
        assert parts <= told["total_ms"] + 0.05
        assert told["total_ms"] <= whole + 0.05

    def test_of_a_kept_session_hold_no_connection(self, proxy, environment, caplog):
        db = Database.from_env(
            {"DATABASE_URL": environment["DATABASE_URL"]},
            host=proxy.host,
            port=proxy.port,
            tls="disabled",
            report="log",
            pool="warm",
        )
        for owner in ("ada", "bob"):
            with db.scope() as session:
                add(session, owner)
        cold, warm = (record.msg for record in caplog.records if record.name == "dal.report")
        assert (cold["connections"], warm["connections"]) == (1, 0)
        # The login is spared: SET, INSERT, COMMIT.
        assert (cold["round_trips"], warm["round_trips"]) == (4, 3)
        assert counts(warm) == counts(cold) == {"statements": 1, "rows_written": 1, "commits": 1}
        assert warm["connect_ms"] > 0


class TestOneLine:
    def test_is_for_all_attempts(self, seen, line, admin):
        errors = [Deadlock("as if another had won"), Deadlock("once more")]

        def unit():
            add(seen.session, "ada")
            if errors:
                raise errors.pop()

        seen.run(unit)
        told = line()
        assert told["outcome"] == "committed"
        assert told["retried_after"] == {"Deadlock": 2}
        assert told["connections"] == 3
        assert counts(told) == {
            "statements": 3, "rows_written": 3, "commits": 1, "rollbacks": 2, "retries": 2,
        }  # fmt: skip
        with admin.cursor() as cursor:
            assert cursor.execute("SELECT * FROM account") == 1

    def test_is_for_all_attempts_that_failed_as_well(self, seen, line):
        def unit():
            raise Deadlock("for ever")

        with pytest.raises(Deadlock):
            seen.run(unit, attempts=2)
        told = line()
        assert (told["outcome"], told["error"], told["retries"]) == ("failed", "Deadlock", 1)

    def test_is_for_an_invocation(self, seen, line):
        @seen.handler(attempts=2)
        def handler(event, context):
            add(seen.session, event)
            return {"statusCode": 404}

        handler("ada", None)
        assert line()["outcome"] == "rolled back"

    def test_is_for_a_scope_and_all_that_join_it(self, seen, line):
        inner = seen.handler(lambda event, context: add(seen.session, event))
        with seen.scope():
            inner("ada", None)
            with seen.scope() as session:
                add(session, "bob")
        assert counts(line())["statements"] == 2

    def test_tells_of_a_password_that_was_asked_for_again(self, proxy, line, environment):
        passwords = iter(["wrong", sa.make_url(environment["DATABASE_URL"]).password])
        db = Database.from_env(
            environment,
            host=proxy.host,
            port=proxy.port,
            report="log",
            password=lambda: next(passwords),
        )
        with db.scope(read_only=True) as session:
            session.scalar(sa.select(1))
        told = line(refused=1)
        assert (told["retries"], told["retried_after"]) == (1, {"AccessDenied": 1})

    def test_is_all_that_is_written(self, seen, line, caplog):
        with seen.scope() as session:
            add(session, "ada")
        line()
        assert not caplog.records


def test_work_after_the_commit_has_a_line_of_its_own(seen, caplog):
    with seen.scope() as session:
        seen.after_commit(lambda: seen.run(lambda: add(seen.session, "bob")))
        add(session, "ada")
    assert [record.msg["commits"] for record in caplog.records] == [1, 1]


def test_two_databases_have_a_line_each(db, seen, environment, caplog):
    other = Database.from_env(environment, report="log")
    with seen.scope() as session, other.scope(read_only=True) as second:
        add(session, "ada")
        second.scalar(sa.select(1))
    assert [record.msg["outcome"] for record in caplog.records] == ["read", "committed"]


def test_nothing_is_written_by_default(db, caplog):
    with db.scope() as session:
        add(session, "ada")
    assert not caplog.records
