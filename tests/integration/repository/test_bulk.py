"""insert_many: whole or not at all, split by bytes, every text; and any sequence of writes."""

import datetime as dt
import threading
import time

import goods
import pytest
import sqlalchemy as sa
from goods import BIN, Base, Documents, Good, Goods, Hit, Hits, Visits
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import orm
from sqlalchemy.orm import Mapped, mapped_column

from dal import (
    DataTooLong,
    DuplicateKey,
    ForeignKeyViolation,
    InvalidArgument,
    NotFound,
    NotNullViolation,
    OutOfRange,
    ReadOnlyScope,
    Repository,
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


GOODS = "SELECT id, code, name, stock FROM good ORDER BY id"


class Odd(Base):
    """Names that must not be taken for SQL, and a value that the server computes."""

    __tablename__ = "values (odd"
    id: Mapped[int] = mapped_column(primary_key=True)
    percent: Mapped[str] = mapped_column("100%s) VALUES (", sa.String(20))
    made: Mapped[str] = mapped_column(sa.String(20), default=sa.func.concat("('", "VALUES"))
    tick: Mapped[int] = mapped_column("`", default=7)


class Odds(Repository[Odd]):
    pass


class TestInsertingMany:
    def test_is_one_statement_and_returns_how_many(self, recorded, rows):
        db, sent = recorded
        with db.scope():
            assert Goods(db).insert_many({"code": f"c{n}", "stock": n} for n in range(100)) == 100
        (insert,) = sent()
        assert insert.startswith("INSERT INTO good")
        assert rows(GOODS) == [(n + 1, f"c{n}", "nameless", n) for n in range(100)]

    def test_of_one_row_is_the_same(self, recorded, rows):
        db, sent = recorded
        with db.scope():
            assert Goods(db).insert_many([{"code": "x"}]) == 1
        assert len(sent()) == 1
        assert rows(GOODS) == [(1, "x", "nameless", 0)]

    def test_of_nothing_sends_nothing(self, recorded):
        db, sent = recorded
        with db.scope():
            assert Goods(db).insert_many([]) == 0
        assert sent() == []

    def test_is_split_by_bytes(self, recorded, rows):
        """Bytes as sent: 'é' has two, a quote is escaped, the whole statement counts."""
        db, sent = recorded
        with db.scope():
            Goods(db).insert_many({"code": f"c{n}", "name": "é'" * 60} for n in range(400))
        savepoint, *inserts, release = sent()
        assert (savepoint, release) == ("SAVEPOINT dal_rows", "RELEASE SAVEPOINT dal_rows")
        sizes = [len(text.encode()) for text in inserts]
        assert max(sizes) <= goods.through_bytes
        assert min(sizes[:-1]) > goods.through_bytes - 300
        assert rows("SELECT COUNT(DISTINCT code) FROM good") == [(400,)]

    def test_sends_a_row_that_is_too_long_by_itself_alone(self, recorded, admin, rows):
        with admin.cursor() as cursor:
            cursor.execute("ALTER TABLE good MODIFY note TEXT")
        long = "x" * 40_000
        through, sent = recorded
        with through.scope():
            Goods(through).insert_many(
                {"code": str(n), "note": long if n == 2 else None} for n in range(5)
            )
        assert len(sent()) == 5
        assert rows("SELECT LENGTH(note) FROM good WHERE code = '2'") == [(40_000,)]

    def test_is_undone_whole_where_the_table_refuses_a_row_and_the_scope_goes_on(
        self, recorded, rows
    ):
        db, _ = recorded
        many = [{"code": f"c{n}", "name": "x" * 100} for n in range(300)]
        with db.scope():
            Goods(db).add(Good(code="before"))
            with pytest.raises(DuplicateKey) as caught:
                Goods(db).insert_many([*many, {"code": "before", "name": "x"}])
            assert caught.value.table == "good" or caught.value.constraint
            Goods(db).add(Good(code="after"))
        assert [row[1] for row in rows(GOODS)] == ["before", "after"]

    @pytest.mark.parametrize(
        ("row", "error"),
        [
            ({"code": None}, NotNullViolation),
            ({"name": "no code"}, NotNullViolation),
            ({"code": "x" * 61}, DataTooLong),
            ({"code": "x", "stock": 2**31}, OutOfRange),
        ],
        ids=str,
    )
    def test_raises_what_the_table_refuses(self, db, rows, row, error):
        with db.scope():
            with pytest.raises(error):
                Goods(db).insert_many([row])
            Goods(db).insert_many([{"code": "fine"}])
        assert [row[1] for row in rows(GOODS)] == ["fine"]

    def test_raises_for_a_parent_that_is_missing(self, db):
        with db.scope(), pytest.raises(ForeignKeyViolation):
            goods.Prices(db).insert_many([{"good_id": 5, "cents": 1}])

    @pytest.mark.parametrize(
        "given",
        [
            {"code": "x"},
            "code",
            5,
            None,
            ["code"],
            [None],
            [Good(code="x")],
            [{"cod": "x"}],
            [{"prices": []}],
            [{1: "x"}],
            [{"code": "x"}, {"code": "y", "stock": 1}],
            [{"code": "x", "stock": 1}, {"code": "y"}],
            [{"code": "x", "stock": "1 OR 1=1"}],
            [{"code": "x", "stock": 1.5}],
            [{"code": "x", "stock": [1]}],
            [{"code": ("x", "y")}],
            [{"code": b"x"}],
            [{"code": {"x": 1}}],
            [{"code": sa.text("SLEEP(9)")}],
            [{"code": sa.func.sleep(9)}],
            [{"code": Good.name}],
            [{"code": "\ud83d"}],
            [{"code": "x"}] * 99_999 + [{"code": 1}],
        ],
        ids=lambda given: str(given)[:40],
    )
    def test_refuses_what_are_no_rows(self, db, rows, given):
        with db.scope(), pytest.raises(InvalidArgument):
            Goods(db).insert_many(given)
        assert rows(GOODS) == []

    def test_takes_a_sql_fragment_for_the_text_that_it_is(self, db, rows):
        texts = [
            "'); DROP TABLE good; -- ",
            "\\'",
            "%s",
            "%(code)s",
            "`",
            "VALUES (",
            "\\",
            '"',
            "%",
        ]
        with db.scope():
            Goods(db).insert_many({"code": text} for text in texts)
        assert [row[1] for row in rows(GOODS)] == texts

    def test_is_not_confused_by_names_and_functions(self, recorded, rows):
        db, sent = recorded
        with db.scope():
            assert Odds(db).insert_many({"percent": f"%s{n}"} for n in range(3)) == 3
        assert len(sent()) == 1
        assert rows("SELECT * FROM `values (odd` ORDER BY id") == [
            (n + 1, f"%s{n}", "('VALUES", 7) for n in range(3)
        ]

    def test_makes_the_keys_and_versions_of_the_model(self, db, rows):
        with db.scope():
            assert Visits(db).insert_many({"page": str(n)} for n in range(9)) == 9
            assert Documents(db).insert_many([{"slug": "a"}, {"slug": "b"}]) == 2
            with pytest.raises(InvalidArgument, match="never set by hand"):
                Documents(db).insert_many([{"slug": "c", "version": 7}])
        assert rows("SELECT page FROM visit ORDER BY id") == [(str(n),) for n in range(9)]
        assert rows("SELECT version FROM document") == [(1,), (1,)]

    def test_writes_what_is_pending_first(self, db, rows):
        with db.scope() as session:
            session.add(Good(id=1, code="parent"))
            goods.Prices(db).insert_many([{"good_id": 1, "cents": 5}])
        assert rows("SELECT cents FROM price") == [(5,)]

    def test_has_no_part_in_a_read_only_scope(self, db, rows):
        many = [{"code": f"c{n}", "name": "x" * 190} for n in range(9000)]
        with db.scope(read_only=True):
            for given in (many[:1], many[:5], many):
                with pytest.raises(ReadOnlyScope):
                    Goods(db).insert_many(given)
        assert rows(GOODS) == []

    def test_works_in_a_session_of_ones_own(self, db, rows):
        with orm.Session(db.engine) as session, session.begin():
            assert Goods(session).insert_many([{"code": "x"}, {"code": "y"}]) == 2
        assert len(rows(GOODS)) == 2

    def test_inserts_100_000_rows(self, db, rows):
        started = time.perf_counter()
        with db.scope():
            count = Goods(db).insert_many({"code": f"c{n}", "stock": n} for n in range(100_000))
        assert count == 100_000
        assert rows("SELECT COUNT(*), SUM(stock) FROM good") == [(100_000, 4_999_950_000)]
        assert time.perf_counter() - started < 30


anything = st.text(max_size=20) | st.text(
    alphabet=st.sampled_from(list("aAäߌ\u0000'\\%\"`;\u202eאب\U0001f600\u0301\ud7ff\uffff\x1a ")),
    max_size=8,
)
pages = (
    st.sampled_from(["a", "A", "ä", "a ", "", "\0", "\U0001f600", "א\u202e", "'", "%s"]) | anything
)
counts = st.integers(-(2**31), 2**31 - 1)
days = st.none() | st.dates(min_value=dt.date(1000, 1, 1))
row = st.fixed_dictionaries({"page": pages, "count": counts, "last": days})
changes = st.fixed_dictionaries({"count": counts}) | st.fixed_dictionaries(
    {"count": counts, "last": days}
)
operation = st.one_of(
    st.tuples(st.just("insert_many"), st.lists(row, max_size=4)),
    st.tuples(st.just("upsert"), st.lists(row, max_size=4)),
    st.tuples(st.just("keep"), st.lists(row, max_size=4)),
    st.tuples(st.just("update"), pages, changes),
    st.tuples(st.just("update_where"), counts, changes),
    st.tuples(st.just("delete"), pages),
    st.tuples(st.just("delete_where"), counts),
    st.tuples(st.just("get_or_create"), pages, counts),
)


class Model:
    """What the table is in plain Python, and what each operation returns or raises."""

    def __init__(self):
        self.rows = {}

    def insert_many(self, given):
        pages = [row["page"] for row in given]
        if len(set(pages)) < len(pages) or self.rows.keys() & set(pages):
            return DuplicateKey
        self.rows |= {row["page"]: row for row in given}
        return len(given)

    def upsert(self, given):
        before = changed = 0
        for row in given:
            before += row["page"] in self.rows
            changed += self.rows.get(row["page"], row) != row
            self.rows[row["page"]] = row
        return len(given), changed, len(given) - before

    def keep(self, given):
        new = 0
        for row in given:
            new += row["page"] not in self.rows
            self.rows.setdefault(row["page"], row)
        return len(given), 0, new

    def update(self, page, changes):
        if page not in self.rows:
            return NotFound
        self.rows[page] = self.rows[page] | changes
        return None

    def update_where(self, least, changes):
        fitting = [page for page, row in self.rows.items() if row["count"] >= least]
        for page in fitting:
            self.rows[page] = self.rows[page] | changes
        return len(fitting)

    def delete(self, page):
        return None if self.rows.pop(page, None) else NotFound

    def delete_where(self, least):
        fitting = [page for page, row in self.rows.items() if row["count"] >= least]
        for page in fitting:
            del self.rows[page]
        return len(fitting)

    def get_or_create(self, page, count):
        created = page not in self.rows
        row = self.rows.setdefault(page, {"page": page, "count": count, "last": None})
        return row, created


class Table:
    """The same operations on the server."""

    def __init__(self, db):
        self.hits = Hits(db)

    def insert_many(self, given):
        return self.hits.insert_many(given)

    def upsert(self, given, **how):
        done = self.hits.upsert(given, key=Hit.page, **how)
        assert done.rows == len(given)
        if done.inserted is not None:
            assert done.inserted + done.changed + done.unchanged == done.rows
        return done

    def keep(self, given):
        return self.upsert(given, update=())

    def update(self, page, changes):
        return self.hits.update(page, changes)

    def update_where(self, least, changes):
        return self.hits.update_where(Hit.count >= least, changes=changes)

    def delete(self, page):
        return self.hits.delete(page)

    def delete_where(self, least):
        return self.hits.delete_where(Hit.count >= least)

    def get_or_create(self, page, count):
        hit, created = self.hits.get_or_create({"page": page}, defaults={"count": count})
        return {"page": hit.page, "count": hit.count, "last": hit.last}, created


@pytest.fixture
def no_padding(db, admin):
    """A binary collation that does not take 'a ' for 'a', as `utf8mb4_bin` does."""
    with admin.cursor() as cursor:
        cursor.execute(
            "SELECT collation_name FROM information_schema.collations WHERE collation_name IN "
            "('utf8mb4_0900_bin', 'utf8mb4_nopad_bin')"
        )
        ((name,),) = cursor.fetchall()
        cursor.execute(
            f"ALTER TABLE hit MODIFY page VARCHAR(60) CHARACTER SET utf8mb4 COLLATE {name} NOT NULL"
        )
    return name


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=st.lists(operation, min_size=3, max_size=12))
def test_any_sequence_of_writes_leaves_what_a_dictionary_would(db, admin, no_padding, operations):
    assert no_padding != BIN
    with admin.cursor() as cursor:
        cursor.execute("DELETE FROM hit")
    model, table = Model(), Table(db)
    with db.scope() as session:
        for name, *arguments in operations:
            expected = getattr(model, name)(*arguments)
            if expected in (DuplicateKey, NotFound):
                with pytest.raises(expected):
                    getattr(table, name)(*arguments)
                continue
            result = getattr(table, name)(*arguments)
            if name in ("upsert", "keep"):
                assert (result.rows, result.changed) == expected[:2]
                assert result.inserted in (None, expected[2])
            else:
                assert result == expected
        found = session.scalars(sa.select(Hit)).all()
        assert {hit.page: (hit.count, hit.last) for hit in found} == {
            page: (row["count"], row["last"]) for page, row in model.rows.items()
        }
    with admin.cursor() as cursor:
        cursor.execute("SELECT page, count, last FROM hit")
        assert set(cursor.fetchall()) == {
            (row["page"], row["count"], row["last"]) for row in model.rows.values()
        }


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(texts=st.lists(anything, min_size=1, max_size=10))
def test_any_text_comes_back_as_it_was(db, admin, texts):
    with db.scope():
        Goods(db).delete_where(everything())
        Goods(db).insert_many({"code": str(n), "name": text} for n, text in enumerate(texts))
        Goods(db).add_all([Good(code=f"+{n}", name=text) for n, text in enumerate(texts)])
        for number, text in enumerate(texts):
            Goods(db).update_where(Good.code == f"+{number}", changes={"note": text})
    with admin.cursor() as cursor:
        cursor.execute("SELECT name, note FROM good ORDER BY id")
        found = list(cursor.fetchall())
    assert found == [(text, None) for text in texts] + [(text, text) for text in texts]


def test_two_scopes_insert_at_once_and_each_whole(environment, db, rows):
    """The one that comes second to a key is undone whole, many statements of it."""
    ready = threading.Barrier(2)
    outcomes = []

    def insert(name):
        mine = goods.Database.from_env(environment, max_statement_bytes=2_000)
        many = [{"code": f"{name}{n}", "name": name} for n in range(200)]
        ready.wait()
        with mine.scope():
            try:
                Goods(mine).insert_many([*many, {"code": "the same", "name": name}])
                outcomes.append("stored")
            except DuplicateKey:
                outcomes.append("refused")

    threads = [threading.Thread(target=insert, args=(name,)) for name in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "stored"]
    assert rows("SELECT COUNT(*), COUNT(DISTINCT name) FROM good") == [(201, 1)]
