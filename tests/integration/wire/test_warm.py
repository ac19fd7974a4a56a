"""`pool="warm"`: one session kept between scopes, indistinguishable from a new one."""

import gc
import os
import threading
import time

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

import dal.wire.kept
from dal import Database, ScopeEnded, TransactionControl
from dal.testing.proxy import Proxy

ID = sa.text("SELECT CONNECTION_ID()")


@pytest.fixture(autouse=True)
def _nobody_loses_patience(monkeypatch):
    """A loaded machine takes its time, which is the subject of few tests here."""
    monkeypatch.setattr(dal.wire.kept, "PATIENCE", 20.0)


@pytest.fixture
def make(environment, db):
    """Make databases that keep a session, and close it at the end."""
    made = []

    def database(**settings):
        made.append(Database.from_env(environment, **{"pool": "warm", **settings}))
        return made[-1]

    yield database
    for one in made:
        one.engine.dispose()


@pytest.fixture
def warm(make):
    """A database that keeps a session already."""
    warm = make()
    session_id(warm)
    return warm


@pytest.fixture
def ask(admin):
    def ask(sql, *values):
        with admin.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()

    return ask


@pytest.fixture
def sleeping(ask, database):
    """The sessions that are kept on the test's database, once those that end have ended."""

    def ids(number):
        end = time.monotonic() + 5
        sql = (
            "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()"
        )
        while len(found := ask(sql, database)) != number and time.monotonic() < end:
            time.sleep(0.01)
        return [found_id for (found_id,) in found]

    return ids


def session_id(database, **options):
    with database.scope(**options) as session:
        return session.scalar(ID)


#: A first scope's login, SET, SELECT and COMMIT, and the wiping, for whose answer nobody waits.
FIRST = 5


def after(proxy, round_trips):
    """Wait until so many round trips are done."""
    end = time.monotonic() + 5
    while proxy.round_trips < round_trips and time.monotonic() < end:
        time.sleep(0.005)
    assert proxy.round_trips == round_trips


class TestTheWire:
    @pytest.fixture(params=["tls", "plain"])
    def wire(self, request, server, environment, make):
        if request.param == "tls" and server.is_mariadb:
            pytest.skip("the stand-in has no certificates")
        tls = "unverified" if request.param == "tls" else "disabled"
        with Proxy(server.host, server.port) as proxy:
            database = make(host=proxy.host, port=proxy.port, tls=tls)
            session_id(database)
            yield proxy, database

    def test_a_read_only_scope_costs_the_one_set_and_the_select(self, wire):
        proxy, database = wire
        after(proxy, FIRST)
        with database.scope(read_only=True) as session:
            session.scalar(ID)
            assert proxy.round_trips == FIRST + 2

    def test_an_insert_costs_the_one_set_the_insert_and_the_commit(self, wire, ask):
        proxy, database = wire
        after(proxy, FIRST)
        with database.scope():
            Accounts(database).add(Account(owner="ada"))
            assert proxy.round_trips == FIRST + 2
        assert ask("SELECT owner FROM account") == (("ada",),)
        after(proxy, FIRST + 4)  # COMMIT, and the wiping
        assert len(proxy.connections) == 1

    def test_nobody_waits_for_the_wiping(self, wire, monkeypatch):
        monkeypatch.setattr(dal.wire.kept, "PATIENCE", 0.5)
        proxy, database = wire
        if proxy.connections[0].tls:
            pytest.skip("under TLS no statement is seen to strike at")
        after(proxy, FIRST)  # else the strike may meet the wiping of the fixture's scope
        after(proxy, FIRST)  # the wiping of the fixture's scope is not the one that is meant
        wiping = proxy.on(b"SET wait_timeout", "swallow")
        first = session_id(database)  # ends, though that answer never comes
        assert wiping.wait()
        assert session_id(database) != first


class TestTheSession:
    def test_is_lent_from_scope_to_scope(self, warm):
        assert len({session_id(warm, read_only=bool(n % 2)) for n in range(6)}) == 1

    def test_reads_what_was_committed_meanwhile(self, warm, ask):
        ask("INSERT INTO account (id, owner, balance) VALUES (1, 'ada', 0)")
        for balance in range(1, 6):
            ask("UPDATE account SET balance = %s", balance)
            with warm.scope(read_only=bool(balance % 2)):
                assert Accounts(warm).get_one(1).balance == balance

    def test_lends_no_transaction(self, warm, ask, sleeping):
        with pytest.raises(ValueError, match="no"), warm.scope() as session:
            Accounts(warm).add(Account(owner="ada"))
            own = session.scalar(ID)
            raise ValueError("no")
        assert sleeping(1) == [own]
        assert ask("SELECT COUNT(*) FROM account") == ((0,),)
        assert ask("SELECT COUNT(*) FROM information_schema.innodb_trx") == ((0,),)
        with warm.scope() as session:
            assert session.scalar(ID) == own
            assert session.scalar(sa.text("SELECT @@autocommit")) == 0

    DIRT = (
        "SET SESSION sort_buffer_size = 65536",
        "SET SESSION sql_safe_updates = 1",
        "SET SESSION foreign_key_checks = 0",
        "SET SESSION div_precision_increment = 7",
        "SET @mine = 'a variable'",
        "SET @dal_role = 'nobody'",
        "CREATE TEMPORARY TABLE mine (id INT)",
        "SELECT GET_LOCK('mine', 1)",
        "INSERT INTO account (owner, balance) VALUES ('ada', 0)",
        "USE mysql",
    )
    STATE = (
        "SELECT DATABASE(), CURRENT_ROLE(), @mine, IS_USED_LOCK('mine'), LAST_INSERT_ID(), "
        "ROW_COUNT(), CURRENT_USER()"
    )

    def state(self, database):
        """Everything that a session says of itself."""
        with database.scope() as session:
            session.execute(sa.text("SELECT 1"))
            own = session.execute(sa.text(self.STATE)).one()
            variables = dict(session.execute(sa.text("SHOW SESSION VARIABLES")).all())
            return {"own": own, **{k: v for k, v in variables.items() if k not in self.OWN}}

    # What differs from session to session, or from moment to moment.
    OWN = frozenset(
        {"pseudo_thread_id", "timestamp", "rand_seed1", "rand_seed2", "last_insert_id", "identity"}
        | {"gtid_executed", "statement_id", "session_track_gtids"}
    )

    @pytest.mark.parametrize("dirt", DIRT)
    def test_is_after_whatever_a_scope_did_as_a_new_one(self, make, dirt):
        warm, new = make(), make(pool="none")
        with warm.scope() as session:
            session.execute(sa.text(dirt))
        assert self.state(warm) == self.state(new)

    @pytest.mark.parametrize("dirt", ["SET NAMES latin1", "SET time_zone = '+05:00'"])
    def test_is_as_a_new_one_after_what_a_scope_refuses_and_a_procedure_does(
        self, make, dirt, admin
    ):
        warm, new = make(), make(pool="none")
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE PROCEDURE makes_dirt() {dirt}")
        with warm.scope() as session:
            session.execute(sa.text("CALL makes_dirt()"))
        assert self.state(warm) == self.state(new)

    def test_holds_nothing_while_it_waits(self, warm, ask, sleeping):
        with warm.scope() as session:
            session.execute(sa.text("CREATE TEMPORARY TABLE mine (id INT)"))
            session.execute(sa.text("SELECT GET_LOCK('mine', 1)"))
            own = session.scalar(ID)
        assert ask("SELECT GET_LOCK('mine', 5)") == ((1,),)
        assert sleeping(1) == [own]

    def test_is_ended_by_the_server_if_the_process_forgets_it(self, make, monkeypatch, sleeping):
        monkeypatch.setattr(dal.wire.kept, "LENIENCE", 0)
        warm = make(max_idle_seconds=1)
        first = session_id(warm)
        assert sleeping(0) == []
        assert session_id(warm) != first

    def test_is_out_of_reach_of_the_scope_before(self, warm, ask):
        with warm.scope() as session:
            raw = session.connection().connection.driver_connection
            cursor = raw.cursor()
        with warm.scope() as session:
            session.execute(sa.text("SELECT 1"))
            with pytest.raises(ScopeEnded):
                cursor.execute("INSERT INTO account (owner, balance) VALUES ('eve', 0)")
        assert ask("SELECT COUNT(*) FROM account") == ((0,),)

    @pytest.mark.mysql("roles are granted otherwise")
    def test_has_the_roles_of_a_login_or_is_not_lent(self, server, environment, make, admin):
        role, settings = f"r_{os.urandom(4).hex()}", make().settings
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {role}")
            cursor.execute(f"GRANT {role} TO CURRENT_USER()")
        try:
            warm = make()
            with warm.scope() as session:
                session.execute(sa.text(f"SET ROLE {role}"))
                first = session.scalar(ID)
            with warm.scope() as session:
                assert session.scalar(ID) != first
                assert session.scalar(sa.text("SELECT CURRENT_ROLE()")) == "NONE"
        finally:
            with admin.cursor() as cursor:
                cursor.execute(f"DROP ROLE {role}")
        assert settings.user

    def test_is_not_lent_where_the_server_prepares_new_ones_by_init_connect(self, warm, admin):
        first = session_id(warm)
        with admin.cursor() as cursor:
            cursor.execute("SET GLOBAL init_connect = 'SET @prepared = 1'")
        try:
            session_id(warm)
            assert session_id(warm) != first
        finally:
            with admin.cursor() as cursor:
                cursor.execute("SET GLOBAL init_connect = ''")


class TestWhatIsNotKept:
    def gone(self, warm, ask, own):
        assert session_id(warm) != own
        end = time.monotonic() + 5
        sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = %s"
        while ask(sql, own) != ((0,),) and time.monotonic() < end:
            time.sleep(0.01)
        assert ask(sql, own) == ((0,),)

    def test_a_session_on_which_a_statement_failed(self, warm, ask):
        with warm.scope() as session:
            own = session.scalar(ID)
            with pytest.raises(sa.exc.OperationalError):
                session.execute(sa.text("SELECT nonsense"))
        self.gone(warm, ask, own)

    def test_a_session_that_streamed(self, warm, ask):
        with warm.scope() as session:
            own = session.scalar(ID)
            assert session.execute(
                sa.text("SELECT 1"), execution_options={"stream_results": True}
            ).all() == [(1,)]
        self.gone(warm, ask, own)

    def test_a_session_that_was_interrupted(self, warm, ask, interrupt_after):
        with pytest.raises(KeyboardInterrupt), warm.scope() as session:
            own = session.scalar(ID)
            with interrupt_after(0.1):
                session.execute(sa.text("SELECT SLEEP(1)"))
        self.gone(warm, ask, own)

    def test_a_session_on_which_an_answer_was_never_read(self, warm, ask):
        with warm.scope(read_only=True) as session:
            own = session.scalar(ID)
            raw = session.connection().connection.driver_connection
            raw._execute_command(3, "SELECT 1")  # as an interrupt at the wrong moment leaves it
        self.gone(warm, ask, own)

    def test_a_connection_outside_scopes(self, warm, sleeping):
        (kept,) = sleeping(1)
        with warm.engine.connect() as connection:
            assert connection.scalar(ID) != kept
        assert sleeping(1) == [kept]

    def test_a_refusal_that_never_reached_the_server_changes_nothing(self, warm, sleeping):
        (kept,) = sleeping(1)
        with pytest.raises(TransactionControl), warm.scope() as session:
            session.scalar(ID)
            session.commit()
        assert session_id(warm) == kept


class TestASurprise:
    def test_by_kill_is_unseen(self, warm, ask, sleeping):
        (kept,) = sleeping(1)
        ask(f"KILL {kept}")
        with warm.scope():
            Accounts(warm).add(Account(owner="ada"))
        assert ask("SELECT owner FROM account") == (("ada",),)
        assert session_id(warm) != kept

    @pytest.fixture
    def line(self, server, make):
        with Proxy(server.host, server.port) as proxy:
            database = make(host=proxy.host, port=proxy.port, tls="disabled")
            session_id(database)
            yield proxy, database

    @pytest.mark.parametrize("action", ["cut", "reset"])
    def test_on_the_line_is_unseen(self, line, ask, action):
        proxy, database = line
        proxy.on(b"SET wait_timeout", action)
        session_id(database)
        with database.scope():
            Accounts(database).add(Account(owner="ada"))
        assert ask("SELECT owner FROM account") == (("ada",),)
        assert len(proxy.connections) == 2

    @pytest.mark.parametrize("action", ["cut", "reset", "swallow", "stall"])
    def test_at_the_one_set_is_unseen(self, line, ask, monkeypatch, action):
        monkeypatch.setattr(dal.wire.kept, "PATIENCE", 0.5)
        proxy, database = line
        struck = proxy.on(b"SET NAMES", action)
        with database.scope():
            Accounts(database).add(Account(owner="ada"))
        assert struck.fired == 1
        assert ask("SELECT owner FROM account") == (("ada",),)
        assert len(proxy.connections) == 2

    @pytest.mark.parametrize("clock", ["time", "monotonic"])
    @pytest.mark.parametrize("limit", ["idle", "age"])
    def test_by_the_clock_ends_a_session_that_waited_or_lived_too_long(
        self, make, monkeypatch, clock, limit
    ):
        warm = make(**{"max_idle_seconds": 600, "max_age_seconds": 600, f"max_{limit}_seconds": 60})
        first = session_id(warm)
        real = getattr(time, clock)
        monkeypatch.setattr(time, clock, lambda: real() + 59)
        assert session_id(warm) == first
        monkeypatch.setattr(time, clock, lambda: real() + 59 + (61 if limit == "idle" else 2))
        assert session_id(warm) != first

    def test_by_a_clock_that_was_set_back(self, warm, monkeypatch):
        first = session_id(warm)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 3600)
        assert session_id(warm) != first

    def test_in_a_forked_process_leaves_the_parents_session_alone(self, warm, sleeping):
        (kept,) = sleeping(1)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                own = session_id(warm)
                again = session_id(warm)
                warm.engine.dispose()
                os.write(writer, f"{own} {again}".encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        own, again = map(int, os.read(reader, 100).split())
        os.close(reader)
        assert own == again != kept
        assert session_id(warm) == kept

    def test_in_a_child_that_disposes_first_says_nothing_on_the_parents_line(self, line):
        proxy, database = line
        after(proxy, FIRST)
        said = proxy.connections[0].packets
        child = os.fork()
        if child == 0:
            try:
                database.engine.dispose()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert proxy.connections[0].packets == said
        assert proxy.connections[0].closed is None
        session_id(database)
        assert len(proxy.connections) == 1


class TestOneProcess:
    def test_keeps_one_session_however_many_threads(self, warm, sleeping):
        together, ids, lock = threading.Barrier(4), [], threading.Lock()

        def work():
            with warm.scope() as session:
                own = session.scalar(ID)
                together.wait(10)
            with lock:
                ids.append(own)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(ids)) == 4
        (kept,) = sleeping(1)
        assert session_id(warm) == kept

    def test_closes_the_session_with_the_engine(self, warm, sleeping):
        warm.engine.dispose()
        assert sleeping(0) == []
        session_id(warm)  # and goes on
        assert len(sleeping(1)) == 1

    def test_takes_its_leave_though_the_deadline_of_the_last_scope_has_passed(
        self, server, make, monkeypatch
    ):
        with Proxy(server.host, server.port) as proxy:
            database = make(host=proxy.host, port=proxy.port, tls="disabled")
            session_id(database, deadline=600)
            after(proxy, FIRST)
            said = proxy.connections[0].packets
            real = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: real() + 3600)
            database.engine.dispose()
            assert proxy.wait_closed(5)
            assert proxy.connections[0].packets == said + 1  # COM_QUIT

    def test_closes_the_session_with_the_last_reference(self, environment, db, sleeping):
        forgotten = Database.from_env(environment, pool="warm")
        session_id(forgotten)
        del forgotten
        gc.collect()
        assert sleeping(0) == []
