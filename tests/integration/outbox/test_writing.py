"""Messages are written with the work, or not at all, by one INSERT right before COMMIT."""

import math

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

from dal import Database, InvalidArgument, NoActiveScope, Outbox, ReadOnlyScope
from dal.testing.proxy import Proxy


@pytest.fixture
def outbox(db):
    return db.outbox


def test_a_message_is_there_once_the_work_is_committed(db, outbox, rows):
    with db.scope():
        Accounts(db).add(Account(owner="ada"))
        message = outbox.add("accounts", {"owner": "ada"}, key="ada")
        assert rows() == []
    assert rows("topic, message_key, payload, attempts, is_dead") == [
        ("accounts", b"ada", '{"owner":"ada"}', 0, 0)
    ]
    assert rows("message_id") == [message.id.bytes]
    assert message.payload == {"owner": "ada"}


def test_a_scope_of_nothing_but_messages_commits_them(db, outbox, rows):
    with db.scope():
        outbox.add("accounts", 1)
        outbox.add("accounts", 2)
    assert rows() == ["1", "2"]


def test_what_is_rolled_back_leaves_none(db, outbox, rows):
    with pytest.raises(ValueError, match="mine"), db.scope():
        outbox.add("accounts", 1)
        raise ValueError("mine")
    with db.scope():
        outbox.add("accounts", 2)
        db.rollback_only()
    db.handler(lambda event, context: outbox.add("accounts", 3) and {"statusCode": 500})({}, None)
    assert rows() == []


def test_what_is_added_in_a_savepoint_that_is_rolled_back_is_dropped(db, outbox, rows):
    with db.scope():
        outbox.add("accounts", "before")
        with pytest.raises(ValueError, match="mine"), db.savepoint():
            outbox.add("accounts", "inside")
            with db.savepoint():
                outbox.add("accounts", "deep inside")
            raise ValueError("mine")
        with db.savepoint():
            outbox.add("accounts", "kept")
    assert rows() == ['"before"', '"kept"']


def test_joined_scopes_write_into_the_outer_one(db, outbox, rows):
    with db.scope():
        with db.scope():
            outbox.add("accounts", 1)
        outbox.add("accounts", 2)
    assert rows() == ["1", "2"]


def test_each_attempt_writes_its_own(db, outbox, rows):
    tries = []

    def unit():
        tries.append(1)
        outbox.add("accounts", len(tries))
        if len(tries) == 1:
            db.session.connection().connection.dbapi_connection.drop()
            db.session.execute(sa.text("SELECT 1"))

    db.run(unit)
    assert rows() == ["2"]


def test_messages_of_one_key_share_a_shard_for_ever(db, outbox, rows):
    with db.scope():
        outbox.add("accounts", 1, key="ada")
        outbox.add("accounts", 2, key="bob")
        outbox.add("accounts", 3, key="ada")
        outbox.add("orders", 4, key="ada")
    # Two releases side by side share the table: these numbers may never change.
    assert rows("shard") == [9, 1, 9, 4]


def test_those_without_a_key_are_spread(db, outbox, rows):
    with db.scope():
        for number in range(100):
            outbox.add("accounts", number)
    assert len(set(rows("shard"))) > 8


def test_many_are_written_by_statements_of_the_allowed_length(environment, db, rows):
    small = Database.from_env(environment, max_statement_bytes=16_000)
    with small.scope():
        for number in range(200):
            small.outbox.add("accounts", ["'" * 500, number])
    assert len(rows()) == 200
    assert [one.endswith(f",{number}]") for number, one in enumerate(rows())] == [True] * 200


def test_what_is_no_message_is_refused_at_once(db, outbox, rows):
    with db.scope():
        for topic in ("", "é", "x" * 256, None, 1, "a\n"):
            with pytest.raises(InvalidArgument, match="topic"):
                outbox.add(topic, 1)
        for key in ("", "x" * 256, 1, b"k", "\ud800"):
            with pytest.raises(InvalidArgument, match="key"):
                outbox.add("accounts", 1, key=key)
        for payload in (b"x", {1, 2}, object(), math.nan, math.inf, [math.nan]):
            with pytest.raises(InvalidArgument, match="no JSON"):
                outbox.add("accounts", payload)
    assert rows() == []


def test_any_json_comes_back_as_it_was(db, outbox, publisher):
    payloads = [None, 0, "", [], {"b": 1, "a": 2**70}, "é日本\U0001f600\x00", 1e300, "\ud800"]
    with db.scope():
        for payload in payloads:
            outbox.add("t", payload, key="k")
    outbox.relay(publisher)()
    assert publisher.payloads == payloads


def test_it_needs_a_scope_that_writes(db, outbox):
    with pytest.raises(NoActiveScope):
        outbox.add("accounts", 1)
    with db.scope(read_only=True), pytest.raises(ReadOnlyScope):
        outbox.add("accounts", 1)


def test_the_databases_outbox_is_one(db):
    assert isinstance(db.outbox, Outbox)
    assert db.outbox is db.outbox


def test_all_of_a_scope_cost_one_round_trip(server, environment, db):
    with Proxy(server.host, server.port) as proxy:
        through = Database.from_env(
            {"DATABASE_URL": environment["DATABASE_URL"]},
            host=proxy.host,
            port=proxy.port,
            tls="disabled",
        )
        with through.scope() as session:
            session.scalar(sa.select(1))
        assert proxy.wait_closed()

        def trips(messages):
            proxy.reset()
            with through.scope() as session:
                session.execute(sa.insert(Account).values(owner=str(messages), balance=0))
                for number in range(messages):
                    through.outbox.add("accounts", number)
            assert proxy.wait_closed()
            return proxy.round_trips

        plain = trips(0)
        assert (trips(1), trips(3)) == (plain + 1, plain + 1)


def test_the_ids_follow_the_commits_of_those_who_change_a_common_row(db, outbox, rows):
    """Written when they are added, the second's would come first here."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    accounts = Accounts(db)
    with db.scope():
        accounts.add(Account(id=1, owner="ada"))
    has_row, may_add = Event(), Event()

    def slow():
        with db.scope():
            accounts.update(1, {"balance": 1})
            has_row.set()
            may_add.wait(5)
            outbox.add("accounts", "first", key="1")

    def early():
        with db.scope():
            has_row.wait(5)
            outbox.add("accounts", "second", key="1")
            may_add.set()
            accounts.update(1, {"balance": 2})

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(slow), pool.submit(early)]:
            done.result()
    assert rows() == ['"first"', '"second"']
