"""Adding, updating and deleting: what is in the table, what is sent, what is refused."""

import threading

import goods
import pytest
import sqlalchemy as sa
from goods import Document, Documents, Good, Goods, Price, Prices, Seat, Seats, Visit, Visits
from sqlalchemy import event, orm

from dal import (
    CheckViolation,
    DuplicateKey,
    ForeignKeyViolation,
    InvalidArgument,
    NotFound,
    NotNullViolation,
    StaleVersion,
    everything,
)


@pytest.fixture
def db(environment):
    return goods.database(environment)


@pytest.fixture
def recorded(db, server, environment):
    with goods.recorded(server, environment) as both:
        yield both


@pytest.fixture
def rows(admin):
    def select(sql):
        with admin.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    return select


@pytest.fixture
def stocked(db, admin):
    with admin.cursor() as cursor:
        cursor.execute(
            "INSERT INTO good (id, code, name, stock) VALUES "
            "(1, 'a', 'Apple', 1), (2, 'b', 'Bread', 2), (3, 'c', 'Cheese', 3)"
        )
        cursor.execute("INSERT INTO price (id, good_id, cents) VALUES (1, 1, 10)")
    return Goods(db)


GOODS = "SELECT id, code, name, stock FROM good ORDER BY id"


class TestAddingMany:
    def test_is_one_insert_and_one_question_for_keys_that_the_server_counts_up(
        self, recorded, rows
    ):
        db, sent = recorded
        with db.scope():
            added = Goods(db).add_all([Good(code=f"c{n}", stock=n) for n in range(100)])
            assert [good.id for good in added] == list(range(1, 101))
            assert added[7].name == "nameless"
            assert added[7].note is None
        question, insert = sent()
        assert question == "SELECT @@auto_increment_increment"
        assert insert.startswith("INSERT INTO good")
        assert rows(GOODS) == [(n + 1, f"c{n}", "nameless", n) for n in range(100)]

    def test_gives_the_entities_to_the_session_as_a_flush_does(self, db, rows):
        with db.scope() as session:
            added = Goods(db).add_all([Good(code=f"c{n}") for n in range(5)])
            assert all(good in session for good in added)
            assert not session.new
            assert not session.dirty
            assert session.get(Good, 3) is added[2]
            added[2].stock = 9
            added[3].prices.append(Price(cents=4))
        assert rows("SELECT stock FROM good WHERE id = 3") == [(9,)]
        assert rows("SELECT good_id, cents FROM price") == [(4, 4)]

    def test_is_undone_and_forgotten_with_its_savepoint(self, db, rows):
        with db.scope() as session:
            added = []
            with pytest.raises(KeyError), db.savepoint():
                added = Goods(db).add_all([Good(code=f"c{n}") for n in range(5)])
                raise KeyError
            assert not any(good in session for good in added)
            again = Goods(db).add_all([Good(code=f"c{n}") for n in range(5)])
        assert [row[0] for row in rows(GOODS)] == [good.id for good in again]

    def test_fails_as_a_flush_does(self, db, stocked, rows):
        with pytest.raises(DuplicateKey), db.scope(), pytest.raises(DuplicateKey):
            stocked.add_all([Good(code=code) for code in "xya"])
        with db.scope() as session:
            with pytest.raises(DuplicateKey), db.savepoint():
                stocked.add_all([Good(code=code) for code in "xya"])
            assert not session.new
            stocked.add(Good(code="z"))
        assert [row[1] for row in rows(GOODS)] == ["a", "b", "c", "z"]

    def test_tells_the_keys_while_others_insert(self, environment, db, rows):
        """Interleaved with bulk inserts of unknown length, whose keys come in pieces."""
        stop = threading.Event()
        failed = []

        def many(name):
            mine = goods.Database.from_env(environment)
            for turn in range(15):
                with mine.scope():
                    added = Goods(mine).add_all(
                        [Good(code=f"{name}-{turn}-{n}", name=name) for n in range(40)]
                    )
                with mine.scope(read_only=True) as session:
                    failed.extend(
                        good.id for good in added if session.get(Good, good.id).code != good.code
                    )

        def bulk():
            turn = 0
            while not stop.is_set():
                turn += 1
                with db.scope() as session:
                    session.execute(
                        sa.text(
                            "INSERT INTO good (code, name, stock) SELECT "
                            "CONCAT(:turn, '/', id), 'bulk', 0 FROM "
                            "information_schema.collations LIMIT 30"
                        ),
                        {"turn": turn},
                    )

        others = [threading.Thread(target=many, args=(name,)) for name in ("x", "y")]
        noise = threading.Thread(target=bulk)
        for thread in (*others, noise):
            thread.start()
        for thread in others:
            thread.join()
        stop.set()
        noise.join()
        assert failed == []
        assert rows("SELECT COUNT(*) FROM good WHERE name IN ('x', 'y')") == [(1200,)]

    def test_minds_the_distance_between_keys(self, db, rows):
        with db.scope() as session:
            session.execute(sa.text("SET auto_increment_increment = 7, auto_increment_offset = 3"))
            added = Goods(db).add_all([Good(code=f"c{n}") for n in range(4)])
        assert [good.id for good in added] == [3, 10, 17, 24]
        assert [row[:2] for row in rows(GOODS)] == [(good.id, good.code) for good in added]

    def test_is_not_fooled_by_a_trigger_that_inserts_elsewhere(self, db, admin, rows):
        with admin.cursor() as cursor:
            cursor.execute("INSERT INTO hit (page, count) VALUES ('x', 0)")
            cursor.execute("CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, code TEXT)")
            cursor.execute("INSERT INTO log (id) VALUES (1000)")
            cursor.execute(
                "CREATE TRIGGER t AFTER INSERT ON good FOR EACH ROW "
                "INSERT INTO log (code) VALUES (NEW.code)"
            )
        with db.scope():
            added = Goods(db).add_all([Good(code=f"c{n}") for n in range(4)])
        assert [row[:2] for row in rows(GOODS)] == [(good.id, good.code) for good in added]

    def test_is_split_by_bytes_into_one_piece_all_the_same(self, recorded, rows):
        db, sent = recorded
        with db.scope():
            added = Goods(db).add_all([Good(code=f"c{n}", name="é" * 90) for n in range(200)])
        _, savepoint, *inserts, release = sent()
        assert savepoint.startswith("SAVEPOINT")
        assert release.startswith("RELEASE")
        assert len(inserts) == 3
        assert [row[:2] for row in rows(GOODS)] == [(good.id, good.code) for good in added]

    def test_with_keys_of_the_client_shares_one_insert(self, recorded, rows):
        db, sent = recorded
        with db.scope():
            new = [Visit(page=str(n)) for n in range(50)]
            keys = [visit.id for visit in new]
            added = Visits(db).add_all(new)
            assert [visit.id for visit in added] == keys == sorted(keys)
        (insert,) = sent()
        assert insert.startswith("INSERT INTO visit")
        found = rows("SELECT id FROM visit ORDER BY id")
        assert [key for (key,) in found] == [visit.id.bytes for visit in added]

    def test_with_keys_of_several_columns_shares_one_insert(self, recorded, rows):
        db, sent = recorded
        with db.scope() as session:
            added = Seats(db).add_all([Seat(row=n, place="a") for n in range(50)])
            assert session.get(Seat, (7, "a")) is added[7]
        assert [text.split()[0] for text in sent()] == ["INSERT", "SELECT"]
        assert rows("SELECT COUNT(*) FROM seat") == [(50,)]

    def test_leaves_to_sqlalchemy_what_is_more_than_rows(self, recorded, rows):
        db, sent = recorded
        with db.scope():
            Goods(db).add_all([Good(code=f"c{n}", prices=[Price(cents=n)]) for n in range(3)])
        assert len(sent()) >= 2  # MySQL: one for each row; MariaDB returns keys
        assert rows("SELECT good_id, cents FROM price ORDER BY id") == [(1, 0), (2, 1), (3, 2)]

    @pytest.mark.parametrize("where", ["mapper", "session"])
    def test_does_not_pass_over_listeners(self, db, rows, where):
        def name_it(mapper, connection, good):
            good.name = "heard"

        def name_all(session, context, instances):
            for good in session.new:
                good.name = "heard"

        with db.scope() as session:
            what = (Good, "before_insert", name_it)
            if where == "session":
                what = (session, "before_flush", name_all)
            event.listen(*what)
            try:
                Goods(db).add_all([Good(code=f"c{n}") for n in range(4)])
            finally:
                event.remove(*what)
        assert rows("SELECT DISTINCT name FROM good") == [("heard",)]

    def test_takes_keys_that_some_rows_bring(self, db, rows):
        with db.scope():
            Goods(db).add_all([Good(id=5, code="five"), Good(code="x"), Good(code="y")])
        assert (5, "five") in [row[:2] for row in rows(GOODS)]

    def test_starts_versions(self, db, rows):
        with db.scope():
            added = Documents(db).add_all([Document(slug=str(n)) for n in range(4)])
            assert [row.version for row in added] == [1, 1, 1, 1]
            added[0].title = "t"
        assert rows("SELECT version FROM document ORDER BY id") == [(2,), (1,), (1,), (1,)]

    def test_in_a_session_of_ones_own_is_sqlalchemys(self, db, rows):
        with orm.Session(db.engine) as session, session.begin():
            added = Goods(session).add_all([Good(code=f"c{n}") for n in range(4)])
            assert [good.id for good in added] == [1, 2, 3, 4]
        assert len(rows(GOODS)) == 4

    @pytest.mark.parametrize("given", [[Good(code="x"), Price()], ["x"], [None], {"code": "x"}, 1])
    def test_refuses_what_is_no_instance(self, db, given, rows):
        with db.scope(), pytest.raises(InvalidArgument):
            Goods(db).add_all(given)
        assert rows(GOODS) == []

    def test_of_nothing_sends_nothing(self, recorded):
        db, sent = recorded
        with db.scope():
            assert Goods(db).add_all([]) == []
        assert sent() == []


class TestUpdating:
    def test_is_one_statement_and_touches_nothing_else(self, recorded, stocked, rows):
        db, sent = recorded
        with db.scope():
            held = Goods(db).get_one(1)
            assert [price.cents for price in held.prices] == [10]
            Goods(db).update(1, {"stock": Good.stock + 4, "note": None})
            assert held.stock == 5
        (update,) = [text for text in sent() if not text.startswith("SELECT")]
        assert update.startswith("UPDATE good SET stock=(good.stock + 4), note=NULL WHERE")
        assert rows(GOODS)[0] == (1, "a", "Apple", 5)
        assert rows("SELECT id, good_id, cents FROM price") == [(1, 1, 10)]

    def test_applies_onupdate_and_the_servers_clock(self, db, rows):
        with db.scope():
            visit = Visits(db).add(Visit(page="x"))
            before = visit.updated_at
            assert visit.seen_by is None
        with db.scope():
            held = Visits(db).get_one(visit.id)
            Visits(db).update(visit.id, {"page": "y"})
            assert held.seen_by == "an update"
            assert held.updated_at > before
            assert held.created_at == visit.created_at
        assert rows("SELECT page, seen_by FROM visit") == [("y", "an update")]

    def test_of_a_missing_row_says_so_without_another_statement(self, recorded):
        db, sent = recorded
        with db.scope(), pytest.raises(NotFound, match="Good has the key 9"):
            Goods(db).update(9, {"stock": 1})
        assert len(sent()) == 1

    def test_keeps_pending_changes(self, db, stocked, rows):
        with db.scope():
            held = stocked.get_one(1)
            held.name = "pending"
            stocked.update(1, {"stock": 8})
            assert (held.name, held.stock) == ("pending", 8)
        assert rows(GOODS)[0] == (1, "a", "pending", 8)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            None,
            [("stock", 1)],
            {"stok": 1},
            {"id": 2},
            {"prices": []},
            {"stock": "1 OR 1=1"},
            {"stock": [1, 2]},
            {"name": 1},
            {"name": {"a": 1}},
            {Good.stock: 1},
        ],
        ids=str,
    )
    def test_refuses_what_is_no_change(self, db, stocked, rows, changes):
        before = rows(GOODS)
        with db.scope():
            with pytest.raises(InvalidArgument):
                stocked.update(1, changes)
            with pytest.raises(InvalidArgument):
                stocked.update_where(Good.id == 1, changes=changes)
        assert rows(GOODS) == before

    @pytest.mark.parametrize("identity", [None, "1", 1.0, True, (1, 2), [], Good.id, sa.text("1")])
    def test_refuses_what_is_no_key(self, db, stocked, rows, identity):
        before = rows(GOODS)
        with db.scope():
            with pytest.raises(InvalidArgument):
                stocked.update(identity, {"stock": 0})
            with pytest.raises(InvalidArgument):
                stocked.delete(identity)
        assert rows(GOODS) == before

    def test_refuses_an_expected_version_where_there_is_none(self, db, stocked):
        with db.scope():
            with pytest.raises(InvalidArgument, match="no version"):
                stocked.update(1, {"stock": 0}, expected_version=1)
            with pytest.raises(InvalidArgument, match="no version"):
                stocked.delete(1, expected_version=1)

    def test_undoes_just_itself_where_the_table_refuses(self, db, stocked, rows):
        with db.scope():
            stocked.update(1, {"name": "kept"})
            with pytest.raises(CheckViolation):
                stocked.update(1, {"stock": -1})
            with pytest.raises(NotNullViolation):
                stocked.update(1, {"code": None})
        assert rows(GOODS)[0] == (1, "a", "kept", 1)


class TestUpdatingManyRows:
    def test_returns_how_many_fitted_in_one_statement(self, recorded, stocked, rows):
        db, sent = recorded
        with db.scope():
            assert Goods(db).update_where(Good.stock > 1, changes={"note": "x"}) == 2
            assert Goods(db).update_where(Good.stock > 1, changes={"note": "x"}) == 2
            assert Goods(db).update_where(Good.stock > 9, changes={"note": "x"}) == 0
        assert len(sent()) == 3
        assert rows("SELECT id FROM good WHERE note = 'x' ORDER BY id") == [(2,), (3,)]

    def test_changes_the_entities_that_the_server_found(self, recorded, stocked, rows):
        """By the server's collation: in Python 'b' is not 'B'."""
        db, sent = recorded
        with db.scope():
            held = {good.id: good for good in Goods(db).find(everything())}
            Goods(db).update_where(
                sa.collate(Good.code, "utf8mb4_general_ci") == "B", changes={"stock": 20}
            )
            assert {key: good.stock for key, good in held.items()} == {1: 1, 2: 20, 3: 3}
        assert [text.split()[0] for text in sent()] == ["SELECT", "SELECT", "UPDATE"]

    def test_of_everything_is_named(self, db, stocked, rows):
        with db.scope():
            with pytest.raises(InvalidArgument, match=r"everything\(\)"):
                stocked.update_where(changes={"stock": 0})
            with pytest.raises(InvalidArgument, match=r"everything\(\)"):
                stocked.delete_where()
            assert stocked.update_where(everything(), changes={"stock": 0}) == 3
        assert {row[3] for row in rows(GOODS)} == {0}

    @pytest.mark.parametrize("where", ["stock = 1", True, None, 1, Good, Good.stock], ids=str)
    def test_refuses_what_is_no_condition(self, db, stocked, rows, where):
        before = rows(GOODS)
        with db.scope():
            with pytest.raises(InvalidArgument):
                stocked.update_where(where, changes={"stock": 0})
            with pytest.raises(InvalidArgument):
                stocked.delete_where(where)
        assert rows(GOODS) == before

    def test_moves_versions_on(self, db, rows):
        with db.scope():
            Documents(db).add_all([Document(slug=str(n)) for n in range(3)])
            Documents(db).update_where(Document.slug > "0", changes={"title": "t"})
        assert rows("SELECT version, title FROM document ORDER BY id") == [
            (1, ""),
            (2, "t"),
            (2, "t"),
        ]


class TestDeleting:
    def test_is_one_statement(self, recorded, stocked, rows):
        db, sent = recorded
        with db.scope():
            Goods(db).delete(2)
        assert [text.split()[0] for text in sent()] == ["DELETE"]
        assert [row[0] for row in rows(GOODS)] == [1, 3]

    def test_of_many_returns_how_many(self, recorded, stocked, rows):
        db, sent = recorded
        with db.scope():
            assert Goods(db).delete_where(Good.stock > 9) == 0
            assert Goods(db).delete_where(Good.stock > 1) == 2
        assert len(sent()) == 2
        assert [row[0] for row in rows(GOODS)] == [1]

    def test_takes_the_entity_back_with_its_savepoint(self, db, stocked, rows):
        with db.scope() as session:
            held = stocked.get_one(2)
            with pytest.raises(KeyError), db.savepoint():
                stocked.delete(2)
                assert held not in session
                raise KeyError
            assert held in session
            held.stock = 9
        assert rows(GOODS)[1] == (2, "b", "Bread", 9)

    def test_takes_entities_out_of_the_session(self, db, stocked, rows):
        with db.scope() as session:
            held = {good.id: good for good in stocked.find(everything())}
            assert stocked.delete_where(Good.id >= 2) == 2
            assert [key for key, good in held.items() if good in session] == [1]
        assert [row[0] for row in rows(GOODS)] == [1]

    def test_leaves_children_to_the_servers_foreign_keys(self, db, stocked, rows):
        with db.scope():
            with pytest.raises(ForeignKeyViolation):
                stocked.delete(1)
            with pytest.raises(ForeignKeyViolation):
                stocked.delete_where(everything())
            Prices(db).delete(1)
            assert stocked.delete_where(everything()) == 3
        assert rows(GOODS) == []

    def test_by_a_key_of_several_columns(self, db, rows):
        with db.scope():
            Seats(db).insert_many([{"row": 1, "place": "a", "person": None}])
            with pytest.raises(NotFound):
                Seats(db).delete((1, "b"))
            Seats(db).delete({"place": "a", "row": 1})
        assert rows("SELECT * FROM seat") == []


def test_a_stale_version_is_told_from_a_missing_row(recorded, rows):
    db, sent = recorded
    with db.scope():
        Documents(db).add(Document(slug="a"))
        Documents(db).update(1, {"title": "t"}, expected_version=1)
    sent()
    for call, error in (
        (lambda: Documents(db).update(1, {"title": "u"}, expected_version=1), StaleVersion),
        (lambda: Documents(db).update(9, {"title": "u"}, expected_version=1), NotFound),
        (lambda: Documents(db).delete(1, expected_version=1), StaleVersion),
        (lambda: Documents(db).delete(9, expected_version=1), NotFound),
    ):
        with db.scope(), pytest.raises(error):
            call()
        assert len(sent()) == 2
    assert rows("SELECT title, version FROM document") == [("t", 2)]
