"""`proxy=True`: nothing pins a connection of RDS Proxy, and the promise holds all the same."""

import time

import goods
import pytest
import sqlalchemy as sa
from goods import Document, Documents, Good, Goods, Hit, Hits, Price, Prices, Seat, Seats, Visits
from sqlalchemy.orm import joinedload, selectinload

from dal import (
    Database,
    DeadlineExceeded,
    DuplicateKey,
    LockNotAvailable,
    ReadOnlyScope,
    StatementTimeout,
    everything,
)
from dal.testing.proxy import Proxy

WIDE = "ü'\\" * 20  # 60 characters, twice as many bytes as a literal


@pytest.fixture
def proxy(server):
    with Proxy(server.host, server.port) as proxy:
        yield proxy


@pytest.fixture
def behind(environment, proxy):
    """Make databases behind the counting proxy, with the tables of goods.py."""
    goods.database(environment)

    def database(**settings):
        return Database.from_env(
            {"DATABASE_URL": environment["DATABASE_URL"]},
            host=proxy.host,
            port=proxy.port,
            **{"tls": "disabled", "proxy": True, **settings},
        )

    return database


@pytest.fixture
def db(behind):
    return behind()


@pytest.fixture
def ask(admin):
    def ask(sql):
        with admin.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    return ask


def many(number):
    return [{"code": f"{WIDE[:50]}{n}", "name": WIDE * 3, "stock": n} for n in range(number)]


class TestNothingPins:
    """Each of these sends more than one statement may have, or what a session could remember."""

    @pytest.fixture(autouse=True)
    def _nothing_pins(self, proxy):
        yield
        assert proxy.wait_closed()
        sent = [text for trace in proxy.connections for text in trace.statements]
        assert sent, "it proves nothing unless the proxy has seen statements"
        assert proxy.pins() == []

    def test_insert_many(self, db, ask):
        with db.scope():
            Goods(db).insert_many(many(500))
        assert ask("SELECT COUNT(*) FROM good") == ((500,),)

    def test_upsert(self, db, ask):
        for stock in (1, 2):
            with db.scope():
                Hits(db).upsert(
                    ({"page": f"{WIDE[:50]}{n}", "count": stock} for n in range(500)),
                    key=[Hit.page],
                    update=[Hit.count],
                )
        assert ask("SELECT COUNT(*), SUM(count) FROM hit") == ((500, 1000),)

    def test_add_all_and_the_sessions_own_flush(self, db, ask):
        with db.scope() as session:
            Goods(db).add_all([Good(**row) for row in many(200)])
            session.add_all([Hit(page=f"{WIDE[:50]}{n}") for n in range(400)])
        assert ask("SELECT (SELECT COUNT(*) FROM good), (SELECT COUNT(*) FROM hit)") == (
            (200, 400),
        )

    def test_sqlalchemys_own_insert_of_many_rows(self, db, ask):
        with db.scope() as session:
            session.execute(sa.insert(Good), many(300))
        assert ask("SELECT COUNT(*) FROM good") == ((300,),)

    def test_get_many(self, db):
        pages = [f"{WIDE[:50]}{n}" for n in range(500)]
        with db.scope():
            Hits(db).insert_many({"page": page} for page in pages)
        with db.scope(read_only=True):
            assert [hit.page for hit in Hits(db).get_many(pages)] == pages

    def test_get_many_by_keys_that_the_server_compares(self, db):
        pages = [f"page-{n:02}" for n in range(300)]
        with db.scope():
            Hits(db).insert_many({"page": page} for page in pages)
        with db.scope():
            found = Hits(db).get_many([f"{page} " for page in pages])
            assert [hit.page for hit in found] == pages

    def test_purge_where(self, db, ask):
        with db.scope():
            Hits(db).insert_many({"page": f"{WIDE[:50]}{n}"} for n in range(500))
        assert Hits(db).purge_where(everything()) == 500
        assert ask("SELECT COUNT(*) FROM hit") == ((0,),)

    def test_every_other_verb(self, db, ask):
        with db.scope() as session:
            held = Goods(db).add(Good(code="a", stock=3))
            Prices(db).add(Price(good_id=held.id, cents=5))
            Visits(db).insert_many({"page": str(n)} for n in range(100))
            document = Documents(db).add(Document(slug="s"))
            Seats(db).insert_many([{"row": 1, "place": "a"}, {"row": 1, "place": "b"}])
            session.flush()
            document.title = "new"
            Goods(db).update(held.id, {"stock": 4})
            Goods(db).update_where(Good.code == "a", changes={"stock": 5})
            with db.savepoint():
                Hits(db).add(Hit(page="x"))
            with pytest.raises(DuplicateKey), db.savepoint():
                Hits(db).insert_many([{"page": "x"}])
        with db.scope():
            assert Goods(db).get(held.id, lock="update nowait").stock == 5
            assert Seats(db).claim(everything(), limit=1, order_by=[Seat.row, Seat.place])
            assert Goods(db).count(Good.stock == 5) == 1
            assert Goods(db).exists(Good.code == "a")
            assert len(list(Visits(db).stream(everything()))) == 100
            assert Goods(db).page(limit=1, order_by=Good.id).items
            assert Goods(db).find(everything(), options=[selectinload(Good.prices)])
            assert Goods(db).find(everything(), options=[joinedload(Good.prices)])
            Prices(db).delete_where(everything())
            Goods(db).delete(held.id)
        with db.scope(read_only=True) as session:
            assert session.scalar(sa.select(sa.func.count()).select_from(Good)) == 0

    def test_a_statement_that_is_given_up_and_not_killed_by_a_number_of_the_proxys(
        self, behind, proxy
    ):
        db = behind(statement_timeout=0.1)
        with pytest.raises(StatementTimeout), db.scope() as session:
            session.execute(sa.text("SELECT SLEEP(3)"))
        assert len(proxy.connections) == 1


class TestWhatHolds:
    def test_the_session_is_what_the_promise_needs(self, db, server):
        old = "tx" if server.is_mariadb else "transaction"
        state = sa.text(
            f"SELECT @@{old}_isolation, @@autocommit, @@{old}_read_only, @@time_zone, "
            "@@character_set_client, @@sql_mode"
        )
        for read_only in (False, True):
            with db.scope(read_only=read_only) as session:
                *found, mode = session.execute(state).one()
                assert found == ["READ-COMMITTED", read_only, read_only, "+00:00", "utf8mb4"]
                assert "STRICT_TRANS_TABLES" in mode

    def test_a_read_only_scope_is_refused_writes_by_the_server(self, db):
        with pytest.raises(ReadOnlyScope), db.scope(read_only=True) as session:
            session.execute(sa.text("INSERT INTO hit (page) VALUES ('x')"))

    def test_round_trips_are_those_without_a_proxy(self, db, proxy):
        with db.scope(read_only=True) as session:
            session.scalar(sa.select(1))
        with db.scope():
            Hits(db).add(Hit(page="x"))
        assert [trace.round_trips for trace in proxy.connections] == [3, 4]

    def test_the_deadline_ends_a_wait_by_the_client(self, db):
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded), db.scope(deadline=0.5) as session:
            session.execute(sa.text("SELECT SLEEP(5)"))
        assert time.monotonic() - started < 3

    def test_a_scope_that_runs_long_sends_no_second_set(self, db, proxy):
        with db.scope(deadline=30) as session:
            session.execute(sa.text("SELECT SLEEP(1.2)"))
            session.execute(sa.text("SELECT 1"))
        assert [text.split()[0] for text in proxy.connections[0].statements] == [
            "SET",
            "SELECT",
            "SELECT",
            "COMMIT",
        ]

    @pytest.mark.mysql("NOWAIT has an error of its own on MySQL alone")
    def test_nowait_needs_no_limit_of_the_server(self, db, ask):
        with db.scope():
            Hits(db).add(Hit(page="x"))
        with db.scope():
            Hits(db).get("x", lock="update")
            other = Database(db.settings)
            with pytest.raises(LockNotAvailable), other.engine.connect() as connection:
                connection.execute(sa.text("SELECT * FROM hit FOR UPDATE NOWAIT"))


class TestTheLint:
    def test_names_what_pins_among_the_statements_that_passed(self, db, proxy):
        with db.scope() as session:
            session.execute(sa.text("SET @total = 1"))
            session.execute(sa.text("SELECT GET_LOCK('nightly', 0)"))
            session.execute(sa.text(f"SELECT '{'x' * 17_000}'"))
        reasons = [pin.reason for pin in proxy.pins()]
        assert len(reasons) == 3
        assert "user variable" in reasons[0]
        assert "GET_LOCK" in reasons[1]
        assert "16 KB" in reasons[2]

    def test_says_that_it_sees_nothing_under_tls(self, behind, proxy, server):
        if server.is_mariadb:
            pytest.skip("the stand-in has no certificates")
        with behind(tls="unverified").scope() as session:
            session.scalar(sa.select(1))
        with pytest.raises(ValueError, match="TLS"):
            proxy.pins()

    def test_would_name_the_set_of_a_scope_without_proxy_mode(self, behind, proxy):
        with behind(proxy=False).scope() as session:
            session.scalar(sa.select(1))
        assert any("innodb_lock_wait_timeout" in pin.reason for pin in proxy.pins())
