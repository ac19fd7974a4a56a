"""COMMIT whose answer is lost: what became of it is asked for, and every verdict is true."""

import contextlib
import threading
import time

import pytest
import sqlalchemy as sa
from accounts import Account

from dal import CommitOutcomeUnknown, ConnectionLost, Database, Idempotency
from dal.scope import Session
from dal.testing.proxy import Proxy

BY_ID = Idempotency("accounts.open", key=lambda event: event["id"])
EVENT = {"id": "1", "owner": "ada"}


@pytest.fixture
def proxy(server):
    with Proxy(server.host, server.port) as made:
        yield made


@pytest.fixture
def at_commit(proxy):
    """Arms a fault for the next COMMIT; by its text alone, READ-COMMITTED would be struck."""
    armed = []

    class Struck:
        def __init__(self, action, how):
            self._how, self._is_armed = (action, how), threading.Event()
            armed.append(self)

        def arm(self):
            action, how = self._how
            if how.pop("gone", False):  # nobody connects after that
                proxy.on("accept", "cut", times=None)
            self._fault = proxy.on(b"", action, **how)
            self._is_armed.set()

        def wait(self, seconds):
            return self._is_armed.wait(seconds) and self._fault.wait(seconds)

    def arm(_):
        if armed:
            armed.pop().arm()

    sa.event.listen(Session, "before_commit", arm)
    yield lambda action, **how: Struck(action, how)
    sa.event.remove(Session, "before_commit", arm)


@pytest.fixture
def through(environment, db, proxy, server):
    """Makes a `Database` behind the proxy: with a key, or with the marker."""

    def make(**settings):
        return Database.from_env(
            {"DATABASE_URL": environment["DATABASE_URL"]},
            host=proxy.host,
            port=proxy.port,
            tls="disabled",
            **settings,
        )

    with make().scope() as session:  # the server's login cache
        session.scalar(sa.select(1))
    return make


@pytest.fixture(params=["key", "marker"])
def work(request, through):
    """A handler that writes, and what its callbacks have told."""

    class Work:
        told = []
        ran = []

        def __init__(self, attempts=1, **settings):
            self.told, self.ran = [], []
            options = {"idempotency": BY_ID} if request.param == "key" else {}
            self.db = through(commit_marker=request.param == "marker", **settings)
            self.handler = self.db.handler(attempts=attempts, **options)(self.run)

        def run(self, event, context=None):
            self.ran.append(1)
            owner = event["owner"]
            self.db.session.execute(sa.insert(Account).values(owner=owner, balance=0))
            self.db.after_commit(lambda: self.told.append(owner))
            return {"owner": owner}

    return Work


class Context:
    """Lambda's context: so many seconds are left."""

    aws_request_id = "1"

    def __init__(self, seconds):
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self._end - time.monotonic()) * 1000)


BEFORE = [("cut", {}), ("stall", {}), ("stall", {"cut_after": 0.3})]
AFTER = [
    ("cut", {"answer": True}),
    ("reset", {"answer": True}),
    ("swallow", {}),
    ("stall", {"answer": True}),
]


class TestCommitThatNeverArrived:
    @pytest.mark.parametrize("fault", BEFORE, ids=str)
    def test_is_rolled_back_and_that_is_said(self, work, at_commit, owners, fault):
        tried = work()
        at_commit(fault[0], **fault[1])
        with pytest.raises(ConnectionLost, match="nothing is stored"):
            tried.handler(EVENT, Context(3.0))
        assert (owners(), tried.told) == ([], [])

    @pytest.mark.parametrize("fault", BEFORE[:2], ids=str)
    def test_runs_again_where_attempts_allow(self, work, at_commit, owners, fault):
        tried = work(attempts=2)
        at_commit(fault[0], **fault[1])
        assert tried.handler(EVENT, Context(6.0)) == {"owner": "ada"}
        assert (owners(), tried.told, len(tried.ran)) == (["ada"], ["ada"], 2)


class TestCommitWhoseAnswerIsLost:
    @pytest.mark.parametrize("fault", AFTER, ids=str)
    def test_is_committed_the_answer_stands_and_the_callbacks_run(
        self, work, at_commit, owners, fault
    ):
        tried = work(attempts=3)
        at_commit(fault[0], **fault[1])
        assert tried.handler(EVENT, Context(3.0)) == {"owner": "ada"}
        assert (owners(), tried.told, len(tried.ran)) == (["ada"], ["ada"], 1)

    @pytest.mark.parametrize("seconds", [0.9, 2.0])
    def test_is_told_in_scarce_time(self, work, at_commit, owners, seconds):
        tried = work()
        at_commit("swallow")
        began = time.monotonic()
        assert tried.handler(EVENT, Context(seconds)) == {"owner": "ada"}
        assert time.monotonic() - began < seconds
        assert owners() == ["ada"]

    def test_is_told_once_the_network_is_back(self, work, proxy, at_commit, owners):
        tried = work()

        def strike():
            struck.wait(5)
            proxy.refuse()
            time.sleep(0.7)
            proxy.release()

        struck = at_commit("cut", answer=True)
        thread = threading.Thread(target=strike)
        thread.start()
        assert tried.handler(EVENT, Context(6.0)) == {"owner": "ada"}
        thread.join()
        assert owners() == ["ada"]

    def test_is_told_by_a_kept_session_too(self, work, at_commit, owners):
        tried = work(pool="warm")
        tried.handler({"id": "0", "owner": "0"}, Context(3.0))
        at_commit("swallow")
        assert tried.handler(EVENT, Context(3.0)) == {"owner": "ada"}
        tried.handler({"id": "2", "owner": "bob"}, Context(3.0))
        assert owners() == ["0", "ada", "bob"]
        tried.db.engine.dispose()

    def test_leaves_objects_and_listeners_as_a_plain_commit_does(self, through, at_commit, owners):
        db = through(commit_marker=True)
        told = []
        at_commit("cut", answer=True)
        with db.scope(deadline=3.0) as session:
            account = Account(owner="ada")
            session.add(account)
            sa.event.listen(session, "after_commit", lambda _: told.append("committed"))
            db.after_commit(lambda: told.append(account.id))
        assert told == ["committed", account.id]
        assert account.owner == "ada"


class TestKill:
    def test_before_commit_is_rolled_back(self, work, admin, owners):
        tried = work()

        def kill(session):
            number = session.connection().connection.dbapi_connection.thread_id()
            with admin.cursor() as cursor, contextlib.suppress(Exception):
                cursor.execute(f"KILL {number}")

        run = tried.run

        def killed(event, context=None):
            answer = run(event)
            sa.event.listen(tried.db.session, "before_commit", kill, once=True)
            return answer

        options = {"idempotency": BY_ID} if not tried.db.settings.commit_marker else {}
        handler = tried.db.handler(**options)(killed)
        with pytest.raises(ConnectionLost):
            handler(EVENT, Context(3.0))
        assert (owners(), tried.told) == ([], [])

    @pytest.mark.parametrize("stage", ["before", "after"])
    def test_at_random_moments_is_told_truly(self, through, admin, owners, stage):
        db = through(commit_marker=True)
        for number in range(15):

            def strike(session_id, pause=number * 0.0004):
                time.sleep(pause)
                with admin.cursor() as cursor, contextlib.suppress(Exception):
                    cursor.execute(f"KILL {session_id}")

            is_stored = True
            thread = None
            try:
                with db.scope(deadline=3.0) as session:
                    session.execute(sa.insert(Account).values(owner=str(number), balance=0))
                    found = session.connection().connection.dbapi_connection.thread_id()
                    thread = threading.Thread(target=strike, args=(found,))
                    thread.start()
                    if stage == "after":
                        time.sleep(0.002)
            except ConnectionLost:
                is_stored = False
            thread.join()
            assert (str(number) in owners()) is is_stored


class TestWhatStaysUnknown:
    def test_is_where_the_server_is_out_of_reach_until_the_deadline(
        self, work, proxy, at_commit, owners
    ):
        tried = work(attempts=3)
        at_commit("cut", answer=True, gone=True)
        began = time.monotonic()
        with pytest.raises(CommitOutcomeUnknown):
            tried.handler(EVENT, Context(2.0))
        assert time.monotonic() - began < 2.0
        proxy.release()
        assert (owners(), tried.told, len(tried.ran)) == (["ada"], [], 1)

    def test_is_settled_by_sending_the_event_again(self, through, proxy, at_commit, owners):
        db, ran = through(), []

        @db.handler(idempotency=BY_ID)
        def handler(event, context):
            ran.append(1)
            db.session.execute(sa.insert(Account).values(owner="ada", balance=0))
            return {"number": len(ran)}

        at_commit("cut", answer=True, gone=True)
        with pytest.raises(CommitOutcomeUnknown):
            handler(EVENT, Context(1.5))
        proxy.release()
        assert handler(EVENT, Context(3.0)) == {"number": 1}
        assert owners() == ["ada"]

    def test_is_every_lost_commit_without_key_and_marker(self, through, at_commit, owners):
        db = through()
        at_commit("cut", answer=True)
        with pytest.raises(CommitOutcomeUnknown), db.scope(deadline=3.0) as session:
            session.execute(sa.insert(Account).values(owner="ada", balance=0))
        assert owners() == ["ada"]


def test_a_repeat_that_was_faster_gives_its_answer_and_no_callbacks(
    through, proxy, at_commit, owners, db
):
    """COMMIT is held back, the session killed, and a repeat does the work before one asks."""
    behind, ran, told = through(), [], []

    def work(event, context=None):
        ran.append(1)
        number = len(ran)
        current = db if db.has_scope else behind
        current.session.execute(sa.insert(Account).values(owner="ada", balance=0))
        current.after_commit(lambda: told.append(number))
        return {"number": number}

    slow = behind.handler(idempotency=BY_ID)(work)
    fast = db.handler(idempotency=BY_ID)(work)
    struck = at_commit("cut", gone=True)
    repeated = []

    def repeat():
        assert struck.wait(5)
        repeated.append(fast(EVENT, None))
        proxy.release()

    thread = threading.Thread(target=repeat)
    thread.start()
    assert slow(EVENT, Context(8.0)) == {"number": 2}
    thread.join()
    assert repeated == [{"number": 2}]
    assert (owners(), told) == (["ada"], [2])


class TestTheMarker:
    def test_costs_one_round_trip_and_nothing_where_nothing_is_sent(self, through, proxy, admin):
        plain, marked = through(), through(commit_marker=True)

        def trips(db, work):
            proxy.wait_closed()
            proxy.reset()
            with db.scope() as session:
                work(session)
            assert proxy.wait_closed()
            return proxy.round_trips

        def write(session):
            session.execute(sa.insert(Account).values(owner=str(time.time()), balance=0))

        assert trips(marked, write) == trips(plain, write) + 1
        assert trips(marked, lambda session: None) == 0
        with admin.cursor() as cursor:
            cursor.execute("SELECT name, expires_at > created_at FROM dal_idempotency")
            assert cursor.fetchall() == (("", 1),)

    def test_is_not_written_where_the_scope_is_rolled_back_or_reads(self, through, admin):
        db = through(commit_marker=True)
        with db.scope(read_only=True) as session:
            session.scalar(sa.select(1))
        with db.scope() as session:
            session.execute(sa.insert(Account).values(owner="ada", balance=0))
            db.rollback_only()
        with pytest.raises(ValueError, match="mine"), db.scope() as session:
            session.scalar(sa.select(1))
            raise ValueError("mine")
        with admin.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM dal_idempotency")
            assert cursor.fetchall() == ((0,),)
