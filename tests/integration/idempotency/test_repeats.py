"""A repeated event gets the answer of the first; nothing runs again."""

import json
import math
from decimal import Decimal

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

from dal import (
    DuplicateKey,
    Idempotency,
    InvalidArgument,
    PayloadMismatch,
    UnencodableAnswer,
    UsageError,
)
from dal.testing.proxy import Proxy

BY_ID = Idempotency("accounts.open", key=lambda event: event["id"])


@pytest.fixture
def opened(db):
    """A handler that opens an account, and the events for which it ran."""
    accounts, ran = Accounts(db), []

    def make(answer=lambda event: {"owner": event["owner"]}, idempotency=BY_ID, **options):
        @db.handler(idempotency=idempotency, **options)
        def handler(event, context=None):
            ran.append(event)
            accounts.add(Account(owner=event["owner"]))
            return answer(event) if callable(answer) else answer

        return handler

    make.ran = ran
    return make


def test_a_repeat_gets_the_stored_answer_and_runs_nothing(opened, owners, keys):
    handler = opened(answer=lambda event: {"number": len(opened.ran)})
    assert [handler({"id": "1", "owner": "ada"}) for _ in range(3)] == [{"number": 1}] * 3
    assert len(opened.ran) == 1
    assert owners() == ["ada"]
    assert keys() == ["1"]


def test_another_key_and_another_name_are_other_events(opened, db, owners):
    handler = opened()
    other = opened(idempotency=Idempotency("accounts.other", key=lambda event: event["id"]))
    handler({"id": "a", "owner": "1"})
    handler({"id": "A", "owner": "2"})
    handler({"id": "á", "owner": "3"})
    handler({"id": "a ", "owner": "4"})
    other({"id": "a", "owner": "5"})
    assert owners() == ["1", "2", "3", "4", "5"]


def test_a_repeat_of_what_would_meet_its_own_unique_key_gets_the_first_answer(db, owners):
    accounts = Accounts(db)

    @db.handler(idempotency=BY_ID)
    def sign_up(event, context):
        try:
            accounts.add(Account(owner=event["owner"]))
        except DuplicateKey:
            return {"statusCode": 409}
        return {"statusCode": 201}

    assert sign_up({"id": "1", "owner": "ada"}, None) == {"statusCode": 201}
    assert sign_up({"id": "1", "owner": "ada"}, None) == {"statusCode": 201}


class TestThePayload:
    GUARDED = Idempotency(
        "accounts.open", key=lambda event: event["id"], payload=lambda event: event["order"]
    )

    def test_another_one_under_the_same_key_is_refused(self, opened, owners):
        handler = opened(idempotency=self.GUARDED)
        handler({"id": "1", "owner": "ada", "order": {"amount": 1}})
        with pytest.raises(PayloadMismatch, match="another payload") as left:
            handler({"id": "1", "owner": "bob", "order": {"amount": 2}})
        assert not left.value.transient
        assert owners() == ["ada"]

    def test_is_the_same_in_any_order_and_any_envelope(self, opened):
        handler = opened(idempotency=self.GUARDED)
        first = {"id": "1", "owner": "ada", "order": {"a": 1, "b": [2.5, None]}, "receipt": 1}
        again = {"id": "1", "owner": "ada", "order": {"b": [2.5, None], "a": 1}, "receipt": 2}
        assert handler(first) == handler(again)
        assert len(opened.ran) == 1

    def test_is_not_compared_with_a_key_that_was_stored_without(self, opened):
        opened()({"id": "1", "owner": "ada"})
        opened(idempotency=self.GUARDED)({"id": "1", "owner": "ada", "order": 1})
        assert len(opened.ran) == 1

    def test_that_is_no_json_is_refused_before_anything_is_sent(self, opened):
        handler = opened(idempotency=self.GUARDED)
        for payload in (b"x", {1, 2}, object(), {1: 1, "1": 2}):
            with pytest.raises(InvalidArgument, match="is no JSON"):
                handler({"id": "1", "owner": "ada", "order": payload})
        assert opened.ran == []


class TestTheKey:
    def test_that_cannot_be_one_is_refused_before_anything_is_sent(self, opened, owners):
        handler = opened()
        for key in (None, "", 17, b"17", ["a"], "\ud800", "x" * 256, "é" * 128):
            with pytest.raises(InvalidArgument, match="idempotency key"):
                handler({"id": key, "owner": "ada"})
        assert opened.ran == []
        assert owners() == []

    def test_may_be_any_text_of_255_bytes(self, opened, keys):
        handler = opened()
        found = ["x" * 255, "é" * 127, "日本", "\x00", "'; --", "%s", "%(a)s", " ", "  "]
        for number, key in enumerate(found):
            handler({"id": key, "owner": str(number)})
            handler({"id": key, "owner": "again"})
        assert len(opened.ran) == len(found)
        assert keys() == sorted(found, key=str.encode)

    def test_never_stands_in_an_error(self, opened):
        handler = opened()
        with pytest.raises(InvalidArgument) as left:
            handler({"id": "secret" * 60, "owner": "ada"})
        assert "secret" not in str(left.value)

    def test_may_be_lambdas_own_request(self, opened, context, owners):
        handler = opened(idempotency=Idempotency.by_request("accounts.open"))
        for request, owner in (("r1", "ada"), ("r1", "bob"), ("r2", "eve")):
            handler({"owner": owner}, context(request_id=request))
        assert owners() == ["ada", "eve"]
        with pytest.raises(InvalidArgument, match="idempotency key"):
            handler({"owner": "ada"}, None)

    def test_is_asked_once_for_all_attempts(self, db):
        asked = []

        def key(event):
            asked.append(1)
            return "1"

        @db.handler(idempotency=Idempotency("n", key=key), attempts=3)
        def handler(event, context):
            event.clear()
            if len(asked) + len(ran) < 3:
                ran.append(1)
                db.session.connection().connection.dbapi_connection.drop()
                db.session.execute(sa.text("SELECT 1"))
            return "done"

        ran = []
        assert handler({"id": "1"}, None) == "done"
        assert (len(asked), len(ran)) == (1, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "é"},
        {"name": "a\n"},
        {"name": None},
        {"key": "id"},
        {"payload": "order"},
        {"expires": 0},
        {"expires": -1.0},
        {"expires": math.nan},
        {"expires": math.inf},
        {"expires": True},
        {"expires": "60"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_at_import(wrong):
    with pytest.raises(InvalidArgument):
        Idempotency(**{"name": "n", "key": str, **wrong})


class TestWhatLeavesNothing:
    def test_an_exception(self, opened, owners, keys):
        def fails_once(event):
            if len(opened.ran) == 1:
                raise ValueError("mine")
            return "done"

        handler = opened(answer=fails_once)
        with pytest.raises(ValueError, match="mine"):
            handler({"id": "1", "owner": "ada"})
        assert (owners(), keys()) == ([], [])
        assert handler({"id": "1", "owner": "bob"}) == "done"
        assert owners() == ["bob"]

    def test_an_answer_of_400_or_more(self, opened, owners, keys):
        handler = opened(answer={"statusCode": 400})
        for _ in range(2):
            assert handler({"id": "1", "owner": "ada"}) == {"statusCode": 400}
        assert len(opened.ran) == 2
        assert (owners(), keys()) == ([], [])

    def test_rollback_only(self, opened, db, keys):
        def answer(event):
            db.rollback_only()
            return "no"

        handler = opened(answer=answer)
        assert [handler({"id": "1", "owner": "ada"}) for _ in range(2)] == ["no", "no"]
        assert keys() == []

    def test_an_answer_that_cannot_leave(self, opened, keys):
        with pytest.raises(UnencodableAnswer):
            opened(answer=object())({"id": "1", "owner": "ada"})
        assert keys() == []

    def test_a_swallowed_error_that_dooms_the_scope(self, opened, db, keys):
        def answer(event):
            with pytest.raises(DuplicateKey):
                Accounts(db).add(Account(owner=event["owner"]))
            return "done"

        with pytest.raises(DuplicateKey):
            opened(answer=answer)({"id": "1", "owner": "ada"})
        assert keys() == []


class TestTheAnswer:
    def test_is_the_same_byte_for_byte(self, opened):
        from dal.aws.answer import prove_encodable

        answers = [
            *(None, 0, "", False, [], {}, (1, (2,)), {2: "x", None: 1, True: 2}, 1e300, 5e-324),
            *(-0.0, 1.0, 2**70, math.inf, {"b": 1, "a": 2}, "x" * 1_000_000, Decimal("1.5")),
            *("né 日本 \U0001f600 \x00 \\ ' \" %s \u2028", [0.1, 1e22, 1e16, 123456789.123456789]),
        ]
        handler = opened(answer=lambda event: answers[int(event["id"])])
        for number, answer in enumerate(answers):
            event = {"id": str(number), "owner": str(number)}
            first, again = handler(event), handler(event)
            assert prove_encodable(again) == prove_encodable(first) == prove_encodable(answer)
        assert len(opened.ran) == len(answers)

    def test_may_be_nan(self, opened):
        handler = opened(answer=math.nan)
        assert [json.dumps(handler({"id": "1", "owner": "ada"})) for _ in range(2)] == ["NaN"] * 2

    @pytest.mark.parametrize("answer", [b"bytes", {1: "a", "1": "b"}])
    def test_that_would_not_replay_is_refused_and_rolled_back(self, opened, owners, keys, answer):
        with pytest.raises(UnencodableAnswer, match="nothing was committed"):
            opened(answer=answer)({"id": "1", "owner": "ada"})
        assert (owners(), keys()) == ([], [])

    def test_is_no_longer_the_list_that_the_handler_still_holds(self, opened):
        held = [1]
        handler = opened(answer=held)
        handler({"id": "1", "owner": "ada"})
        held.append(2)
        assert handler({"id": "1", "owner": "ada"}) == [1]

    def test_is_kept_beside_a_stream_that_is_open_still(self, db, owners, keys):
        accounts = Accounts(db)
        with db.scope():
            accounts.add_all([Account(owner=str(number)) for number in range(50)])

        @db.handler(idempotency=BY_ID)
        def handler(event, context):
            streamed = db.session.execute(
                sa.select(Account), execution_options={"stream_results": True, "yield_per": 5}
            )
            return next(iter(streamed)).Account.owner

        assert [handler({"id": "1"}, None) for _ in range(2)] == ["0", "0"]
        assert keys() == ["1"]


class TestExpiry:
    def test_is_by_the_servers_clock(self, opened, admin):
        handler = opened()
        handler({"id": "1", "owner": "ada"})
        with admin.cursor() as cursor:
            cursor.execute(
                "SELECT TIMESTAMPDIFF(SECOND, created_at, expires_at), "
                "ABS(TIMESTAMPDIFF(SECOND, created_at, UTC_TIMESTAMP(6))) < 60 FROM dal_idempotency"
            )
            assert cursor.fetchall() == ((604_800, 1),)

    def test_lets_the_event_run_again(self, opened, admin, owners, keys):
        handler = opened()
        handler({"id": "1", "owner": "ada"})
        with admin.cursor() as cursor:
            cursor.execute("UPDATE dal_idempotency SET expires_at = UTC_TIMESTAMP(6)")
        assert handler({"id": "1", "owner": "bob"}) == {"owner": "bob"}
        assert handler({"id": "1", "owner": "eve"}) == {"owner": "bob"}
        assert owners() == ["ada", "bob"]
        assert keys() == ["1"]

    def test_is_purged_in_small_transactions(self, opened, db, admin, keys):
        handler = opened()
        for number in range(7):
            handler({"id": str(number), "owner": str(number)})
        with admin.cursor() as cursor:
            cursor.execute(
                "UPDATE dal_idempotency SET expires_at = UTC_TIMESTAMP(6) "
                "WHERE idempotency_key < '5'"
            )
        commits = []
        with pytest.MonkeyPatch.context() as patch:
            from dal.wire.connection import Connection

            commit = Connection.commit
            patch.setattr(Connection, "commit", lambda self: (commits.append(1), commit(self)))
            assert Idempotency.purge(db, chunk=2) == 5
        assert len(commits) == 3
        assert keys() == ["5", "6"]
        assert Idempotency.purge(db) == 0

    def test_is_not_purged_inside_a_scope(self, db):
        with db.scope(), pytest.raises(UsageError, match="one transaction"):
            Idempotency.purge(db)

    def test_is_purged_by_whole_chunks(self, db):
        for chunk in (0, -1, True, 1.5, "9"):
            with pytest.raises(InvalidArgument):
                Idempotency.purge(db, chunk=chunk)


class TestWhereItHasNoPlace:
    def test_a_handler_inside_a_scope_is_refused(self, opened, db, owners):
        handler = opened()
        with pytest.raises(UsageError, match="inside a scope"), db.scope():
            handler({"id": "1", "owner": "ada"})
        assert owners() == []

    def test_a_plain_handler_inside_an_idempotent_one_joins_it(self, opened, db, owners):
        inner = db.handler(lambda event, context: Accounts(db).add(Account(owner="inner")).owner)
        handler = opened(answer=lambda event: inner(event, None))
        assert [handler({"id": "1", "owner": "ada"}) for _ in range(2)] == ["inner", "inner"]
        assert owners() == ["ada", "inner"]

    def test_a_read_only_handler_is_refused_when_it_is_decorated(self, db):
        with pytest.raises(InvalidArgument, match="read_only"):
            db.handler(idempotency=BY_ID, read_only=True)(lambda event, context: None)

    def test_anything_but_an_idempotency_is_refused_when_it_is_decorated(self, db):
        with pytest.raises(InvalidArgument, match="idempotency wants"):
            db.handler(idempotency="id")(lambda event, context: None)


class TestCallbacks:
    def test_run_after_the_first_alone(self, opened, db):
        told = []

        def answer(event):
            db.after_commit(lambda: told.append(event["owner"]))
            return "done"

        handler = opened(answer=answer)
        for owner in ("ada", "bob"):
            handler({"id": "1", "owner": owner})
        assert told == ["ada"]


def test_a_handler_that_writes_nothing_is_remembered_all_the_same(db, keys):
    ran = []
    handler = db.handler(idempotency=BY_ID)(lambda event, context: ran.append(1) or len(ran))
    assert [handler({"id": "1"}, None) for _ in range(2)] == [1, 1]


def test_a_method_and_keywords_find_their_event(db, context, keys):
    class Handlers:
        @db.handler(idempotency=BY_ID)
        def handle(self, event, context):
            return event["id"]

    assert Handlers().handle({"id": "1"}, context()) == "1"
    assert Handlers().handle(context=context(), event={"id": "2"}) == "2"
    assert keys() == ["1", "2"]


def test_the_table_may_have_another_name(db, environment, admin, owners):
    from dal import Database, tables
    from dal.engine import Settings, create_engine

    metadata = sa.MetaData()
    tables(metadata, prefix="my_")
    settings = Settings.from_env({**environment, "DAL_TABLE_PREFIX": "my_"})
    metadata.create_all(create_engine(settings.for_migrations()))
    mine = Database(settings)
    handler = mine.handler(idempotency=BY_ID)(lambda event, context: 1)
    assert [handler({"id": "1"}, None) for _ in range(2)] == [1, 1]
    with admin.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT COUNT(*) FROM my_idempotency), (SELECT COUNT(*) FROM dal_idempotency)"
        )
        assert cursor.fetchall() == ((1, 0),)


def test_the_report_tells_a_replay(db, environment, caplog):
    from dal import Database

    told = Database.from_env(environment, report="log")
    handler = told.handler(idempotency=BY_ID)(lambda event, context: 1)
    with caplog.at_level("INFO", "dal.report"):
        for _ in range(2):
            handler({"id": "1"}, None)
    assert [record.msg["outcome"] for record in caplog.records] == ["committed", "replayed"]


class TestRoundTrips:
    """Beside a plain write: login, SET, INSERT, COMMIT."""

    @pytest.fixture
    def trips(self, server, environment, db):
        from dal import Database

        with Proxy(server.host, server.port) as proxy:
            through = Database.from_env(
                {"DATABASE_URL": environment["DATABASE_URL"]},
                host=proxy.host,
                port=proxy.port,
                tls="disabled",
            )
            with through.scope() as session:
                session.scalar(sa.select(1))

            def count(work):
                assert proxy.wait_closed()
                proxy.reset()
                work(through)
                assert proxy.wait_closed()
                return sum(trace.round_trips for trace in proxy.connections)

            yield count

    def test_are_one_more_without_an_answer_two_with_one_and_four_for_a_repeat(self, trips):
        def write(database, key, answer, **options):
            @database.handler(**options)
            def handler(event, context):
                database.session.execute(sa.insert(Account).values(owner=key, balance=0))
                return answer

            handler({"id": key}, None)

        plain = trips(lambda db: write(db, "0", None))
        assert trips(lambda db: write(db, "1", None, idempotency=BY_ID)) == plain + 1
        assert trips(lambda db: write(db, "2", {"a": 1}, idempotency=BY_ID)) == plain + 2
        assert trips(lambda db: write(db, "2", {"a": 1}, idempotency=BY_ID)) == plain
