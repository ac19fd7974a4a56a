"""A unit of work runs again as a whole, after transient errors alone, while there is time."""

import time

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

from dal import ConnectionLost, DeadlineExceeded, DuplicateKey, InvalidArgument, UsageError


def owners(admin):
    with admin.cursor() as cursor:
        cursor.execute("SELECT owner FROM account ORDER BY owner")
        return [owner for (owner,) in cursor.fetchall()]


def lose_connection(session):
    session.connection().connection.dbapi_connection.drop()
    session.execute(sa.text("SELECT 1"))


def test_a_transient_error_runs_all_of_it_again_in_a_fresh_scope(db, admin):
    accounts, sessions, ran = Accounts(db), [], []

    def unit():
        sessions.append(db.session)
        accounts.add(Account(owner=f"try {len(sessions)}"))
        attempt = len(sessions)
        db.after_commit(lambda: ran.append(attempt))
        if attempt < 3:
            lose_connection(db.session)
        return "done"

    assert db.run(unit, attempts=3) == "done"
    assert len(set(map(id, sessions))) == 3
    assert owners(admin) == ["try 3"]
    assert ran == [3]


def test_the_last_error_has_those_before(db, admin):
    def unit():
        Accounts(db).add(Account(owner="ada"))
        lose_connection(db.session)

    with pytest.raises(ConnectionLost) as left:
        db.run(unit, attempts=3)
    assert [type(error) for error in left.value.attempts] == [ConnectionLost, ConnectionLost]
    assert left.value not in left.value.attempts
    assert owners(admin) == []


def test_what_is_not_transient_is_not_repeated(db):
    calls = []

    def unit():
        calls.append(1)
        Accounts(db).add_all([Account(owner="ada"), Account(owner="ada")])

    with pytest.raises(DuplicateKey) as left:
        db.run(unit)
    assert len(calls) == 1
    assert left.value.attempts == ()


def test_an_error_of_ones_own_after_a_repetition_says_so(db):
    calls = []

    def unit():
        calls.append(1)
        if len(calls) == 1:
            db.session.scalar(sa.select(1))
            lose_connection(db.session)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as left:
        db.run(unit)
    assert "after 1 attempts that failed" in left.value.__notes__[0]


def test_no_attempt_begins_after_the_deadline(db):
    calls = []

    def unit():
        calls.append(1)
        db.session.scalar(sa.select(1))
        time.sleep(0.3)
        lose_connection(db.session)

    began = time.monotonic()
    with pytest.raises((ConnectionLost, DeadlineExceeded)):
        db.run(unit, attempts=100, deadline=1.0)
    assert time.monotonic() - began < 1.5
    assert 2 <= len(calls) <= 4


def test_it_is_refused_inside_a_scope(db):
    with db.scope(), pytest.raises(UsageError, match="inside a scope"):
        db.run(lambda: None)


@pytest.mark.parametrize("attempts", [0, -1, True, 1.5, "3"])
def test_a_senseless_number_of_attempts_is_refused(db, attempts):
    with pytest.raises(InvalidArgument):
        db.run(lambda: None, attempts=attempts)
    with pytest.raises(InvalidArgument):
        db.handler(attempts=attempts)(lambda event, context: None)


def test_a_handler_runs_again_as_a_whole(db, admin):
    calls = []

    @db.handler(attempts=2)
    def handler(event, context):
        calls.append(event)
        Accounts(db).add(Account(owner=f"try {len(calls)}"))
        if len(calls) == 1:
            lose_connection(db.session)
        return {"tries": len(calls)}

    assert handler({"a": 1}, None) == {"tries": 2}
    assert owners(admin) == ["try 2"]


def test_a_handler_inside_a_scope_leaves_repeating_to_that(db):
    calls = []

    @db.handler(attempts=5)
    def inner(event, context):
        calls.append(1)
        db.session.scalar(sa.select(1))
        lose_connection(db.session)

    with pytest.raises(ConnectionLost), db.scope():
        inner({}, None)
    assert len(calls) == 1
