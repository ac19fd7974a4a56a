"""upsert and get_or_create: one row for each key, counts that are true, and every race."""

import threading

import goods
import pytest
import sqlalchemy as sa
from goods import (
    Base,
    Document,
    Documents,
    Good,
    Goods,
    Hit,
    Hits,
    Seat,
    Seats,
    Visit,
    Visits,
)
from sqlalchemy import orm
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import (
    Database,
    DataTooLong,
    Deadlock,
    DuplicateKey,
    InvalidArgument,
    ReadOnlyScope,
    Repository,
    StaleVersion,
    Upserted,
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
HITS = "SELECT page, count FROM hit ORDER BY page"


class Stamped(Base):
    """What moves on by itself, by Python, by SQL and by the server."""

    __tablename__ = "stamped"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(20), unique=True)
    text: Mapped[str | None] = mapped_column(sa.String(20))
    python: Mapped[str | None] = mapped_column(sa.String(20), onupdate=lambda: "100%s")
    scalar: Mapped[int | None] = mapped_column(onupdate=7)
    sql: Mapped[int | None] = mapped_column(onupdate=sa.func.length("four"))


class Stamps(Repository[Stamped]):
    pass


class Alias(Base):
    """Two unique keys besides the one that is counted up, one of them wider than the other."""

    __tablename__ = "alias"
    __table_args__ = (sa.UniqueConstraint("name", "realm"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20), unique=True)
    realm: Mapped[str | None] = mapped_column(sa.String(20))
    badge: Mapped[str | None] = mapped_column(sa.String(20), unique=True)
    code: Mapped[str] = mapped_column(sa.String(20), default="", server_default="")


class Aliases(Repository[Alias]):
    pass


class Apart(DeclarativeBase):
    """Its tables stand nowhere: MariaDB has no indexes on expressions."""


class Folded(Apart):
    __tablename__ = "folded"
    __table_args__ = (sa.Index("folded_name", sa.text("(lower(name))"), unique=True),)
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(20), unique=True)
    name: Mapped[str] = mapped_column(sa.String(20))


class TestUpserting:
    def test_inserts_or_updates_in_one_statement(self, recorded, rows):
        db, sent = recorded
        with db.scope():
            Goods(db).upsert([{"code": "a", "stock": 1}], key=Good.code)
            Goods(db).upsert([{"code": "a", "stock": 5}, {"code": "b", "stock": 6}], key=Good.code)
        assert [text.split()[0] for text in sent()] == ["INSERT", "INSERT"]
        assert [row[1:] for row in rows(GOODS)] == [("a", "nameless", 5), ("b", "nameless", 6)]

    def test_leaves_what_the_rows_do_not_name(self, db, rows):
        with db.scope():
            Goods(db).add(Good(code="a", name="Apple", stock=1))
            Goods(db).upsert([{"code": "a", "stock": 2}], key=Good.code)
        assert rows(GOODS) == [(1, "a", "Apple", 2)]

    def test_takes_over_just_what_update_names(self, db, rows):
        with db.scope():
            Goods(db).add(Good(code="a", name="Apple", stock=1))
            Goods(db).upsert(
                [{"code": "a", "name": "x", "stock": 2}], key=Good.code, update=Good.stock
            )
            Goods(db).upsert([{"code": "a", "name": "y", "stock": 3}], key=Good.code, update=())
        assert rows(GOODS) == [(1, "a", "Apple", 2)]

    def test_lets_the_last_of_equal_keys_win(self, db, rows):
        with db.scope():
            done = Hits(db).upsert([{"page": "a", "count": n} for n in (1, 2, 3)], key=Hit.page)
        assert (done.rows, done.changed) == (3, 2)
        assert rows(HITS) == [("a", 3)]

    def test_moves_on_what_an_update_does(self, db, rows):
        with db.scope():
            Stamps(db).upsert([{"code": "a", "text": "x"}], key=Stamped.code)
            assert rows("SELECT 1 FROM stamped") == []
        assert rows("SELECT code, text, python, scalar, `sql` FROM stamped") == [
            ("a", "x", None, None, None)
        ]
        with db.scope():
            Stamps(db).upsert(
                [{"code": "a", "text": "y"}, {"code": "b", "text": "z"}], key=Stamped.code
            )
        assert rows("SELECT code, text, python, scalar, `sql` FROM stamped ORDER BY id") == [
            ("a", "y", "100%s", 7, 4),
            ("b", "z", None, None, None),
        ]

    def test_counts_versions(self, db, rows):
        with db.scope():
            for title in ("one", "two", "two"):
                done = Documents(db).upsert([{"slug": "a", "title": title}], key=Document.slug)
            assert done == Upserted(rows=1, changed=1, inserted=0, unchanged=0)
            Documents(db).upsert([{"slug": "a", "title": "x"}], key=Document.slug, update=())
        assert rows("SELECT title, version FROM document") == [("two", 3)]

    def test_shows_in_entities_when_they_are_touched(self, db):
        with db.scope():
            held = Goods(db).add(Good(code="a", stock=1))
            Goods(db).upsert([{"code": "a", "stock": 5}], key=Good.code)
            assert held.stock == 5

    def test_leaves_the_version_that_an_entity_was_read_with(self, db, rows):
        with pytest.raises(StaleVersion), db.scope() as session:
            held = Documents(db).add(Document(slug="a"))
            Documents(db).upsert([{"slug": "a", "title": "t"}], key=Document.slug)
            assert (held.title, held.version) == ("t", 1)
            held.body = "mine"
        with db.scope() as session:
            held = Documents(db).add(Document(slug="a"))
            Documents(db).upsert([{"slug": "a", "title": "t"}], key=Document.slug)
            session.refresh(held)
            held.body = "mine"
        assert rows("SELECT title, body, version FROM document") == [("t", "mine", 3)]

    def test_by_a_key_of_several_columns(self, db, rows):
        with db.scope():
            for _ in range(2):
                Seats(db).upsert([{"row": 1, "place": "a"}], key=[Seat.row, Seat.place])
        assert rows("SELECT row_no, place FROM seat") == [(1, "a")]

    def test_is_split_by_bytes_and_whole(self, recorded, rows):
        db, sent = recorded
        many = [{"page": f"page {n}", "count": n} for n in range(2000)]
        with db.scope():
            done = Hits(db).upsert(many, key=Hit.page)
            assert (done.rows, done.changed) == (2000, 0)
        savepoint, *inserts, release = sent()
        assert savepoint.startswith("SAVEPOINT")
        assert release.startswith("RELEASE")
        assert max(len(text.encode()) for text in inserts) <= goods.through_bytes
        with db.scope():
            with pytest.raises(DataTooLong):
                Hits(db).upsert(
                    [
                        *({"page": f"page {n}", "count": 0} for n in range(2000)),
                        {"page": "x" * 61, "count": 0},
                    ],
                    key=Hit.page,
                )
            Hits(db).add(Hit(page="the scope goes on"))
        assert rows("SELECT COUNT(*), SUM(count) FROM hit") == [(2001, 1_999_000)]

    def test_of_nothing_sends_nothing(self, recorded):
        db, sent = recorded
        with db.scope():
            assert Hits(db).upsert([], key=Hit.page) == Upserted(0, 0, 0, 0)
        assert sent() == []

    def test_has_no_part_in_a_read_only_scope(self, db):
        with db.scope(read_only=True), pytest.raises(ReadOnlyScope):
            Hits(db).upsert([{"page": "a", "count": 1}], key=Hit.page)


class TestCounts:
    """Inserted 1, unchanged 1, changed 2: what follows from the sum, and what does not."""

    def upsert(self, db, *pairs):
        with db.scope():
            return Goods(db).upsert(
                [{"code": code, "stock": stock} for code, stock in pairs], key=Good.code
            )

    def test_of_one_row_with_a_counted_key_are_all_known(self, db):
        assert self.upsert(db, ("a", 1)) == Upserted(1, changed=0, inserted=1, unchanged=0)
        assert self.upsert(db, ("a", 1)) == Upserted(1, changed=0, inserted=0, unchanged=1)
        assert self.upsert(db, ("a", 2)) == Upserted(1, changed=1, inserted=0, unchanged=0)

    def test_of_rows_that_all_changed_or_all_stayed_are_known(self, db):
        self.upsert(db, ("a", 1), ("b", 1))
        assert self.upsert(db, ("a", 1), ("b", 1)) == Upserted(2, 0, inserted=0, unchanged=2)
        assert self.upsert(db, ("a", 2), ("b", 2)) == Upserted(2, 2, inserted=0, unchanged=0)

    def test_of_a_mixture_tell_just_what_changed(self, db):
        self.upsert(db, ("a", 1), ("b", 1))
        assert self.upsert(db, ("a", 1), ("b", 2)) == Upserted(2, 1, None, None)
        assert self.upsert(db, ("a", 1), ("c", 1)) == Upserted(2, 0, None, None)
        assert self.upsert(db, ("d", 1), ("c", 2)) == Upserted(2, 1, None, None)
        assert self.upsert(db, ("e", 1), ("f", 2)) == Upserted(2, 0, None, None)

    def test_of_a_natural_key_alone_cannot_tell_inserted_from_unchanged(self, db):
        for _ in range(2):
            with db.scope():
                done = Hits(db).upsert([{"page": "a", "count": 1}], key=Hit.page)
            assert done == Upserted(1, changed=0, inserted=None, unchanged=None)
        with db.scope():
            done = Hits(db).upsert([{"page": "a", "count": 2}], key=Hit.page)
        assert done == Upserted(1, changed=1, inserted=0, unchanged=0)

    def test_of_a_versioned_model_are_all_known(self, db):
        def upsert(*slugs):
            with db.scope():
                return Documents(db).upsert(
                    [{"slug": slug, "title": "t"} for slug in slugs], key=Document.slug
                )

        assert upsert("a", "b") == Upserted(2, 0, inserted=2, unchanged=0)
        assert upsert("a", "b", "c") == Upserted(3, 2, inserted=1, unchanged=0)


class TestKeys:
    @pytest.mark.parametrize(
        ("rows_given", "key", "match"),
        [
            ([{"code": "x", "stock": 1}], Good.stock, "is no unique key of Good; there are"),
            ([{"code": "x"}], "code", "named as Good.name"),
            ([{"code": "x"}], None, "named as"),
            ([{"code": "x"}], (), "nothing is no unique key"),
            ([{"code": "x"}], Hit.page, "named as Good.name"),
            ([{"code": "x"}], Good.prices, "no column attribute"),
            ([{"code": "x"}], (Good.code, Good.name), "no unique key"),
            ([{"stock": 1}], Good.code, "every row has a value"),
            ([{"code": None, "stock": 1}], Good.code, "every row has a value"),
            ([{"code": "x"}, {"code": "y", "stock": 1}], Good.code, "differs in stock"),
            ([{"code": "x", "stock": "1"}], Good.code, "stock is int"),
            ([{"code": sa.text("x")}], Good.code, "is a value here"),
            ({"code": "x"}, Good.code, "list of dictionaries"),
            (5, Good.code, "list of dictionaries"),
            ([None], Good.code, "is a dictionary"),
        ],
        ids=str,
    )
    def test_are_refused_unless_they_are_one(self, db, rows, rows_given, key, match):
        with db.scope(), pytest.raises(InvalidArgument, match=match):
            Goods(db).upsert(rows_given, key=key)
        assert rows(GOODS) == []

    @pytest.mark.parametrize("update", ["stock", [Good.code], [Good.note], 5, Hit.count], ids=str)
    def test_what_is_taken_over_is_in_the_rows(self, db, update):
        with db.scope(), pytest.raises(InvalidArgument):
            Goods(db).upsert([{"code": "x", "stock": 1}], key=Good.code, update=update)

    def test_are_refused_where_another_unique_key_could_catch_a_row(self, db, rows):
        """MySQL would update a stranger, whom only the other key knows."""
        with db.scope():
            Seats(db).add(Seat(row=1, place="a", person="ada"))
            Goods(db).add(Good(id=1, code="stranger"))
            with pytest.raises(InvalidArgument, match=r"one_seat_each \(person\)"):
                Seats(db).upsert(
                    [{"row": 2, "place": "b", "person": "ada"}], key=[Seat.row, Seat.place]
                )
            with pytest.raises(InvalidArgument, match=r"PRIMARY \(id\)"):
                Goods(db).upsert([{"id": 1, "code": "mine"}], key=Good.code)
            with pytest.raises(InvalidArgument, match=r"\(code\)"):
                Goods(db).upsert([{"id": 1, "code": "mine"}], key=Good.id)
            with pytest.raises(InvalidArgument, match=r"\(badge\)"):
                Aliases(db).upsert([{"name": "x", "badge": "b"}], key=Alias.name)
        assert rows("SELECT row_no, place, person FROM seat") == [(1, "a", "ada")]
        assert [row[1] for row in rows(GOODS)] == ["stranger"]

    def test_pass_where_the_other_key_is_null_counted_made_or_wider(self, db, rows):
        with db.scope():
            Seats(db).upsert([{"row": 2, "place": "b"}], key=[Seat.row, Seat.place])
            Aliases(db).upsert([{"name": "x", "realm": "r"}], key=Alias.name)
            Documents(db).upsert([{"slug": "a"}], key=Document.slug)
        assert rows("SELECT name, realm FROM alias") == [("x", "r")]

    def test_on_expressions_count_as_such_that_could(self, db):
        class Foldeds(Repository[Folded]):
            pass

        with db.scope(), pytest.raises(InvalidArgument, match="folded_name"):
            Foldeds(db).upsert([{"code": "x", "name": "y"}], key=Folded.code)


class TestGettingOrCreating:
    def test_creates_once(self, recorded, rows):
        db, sent = recorded
        with db.scope():
            row, created = Goods(db).get_or_create({"code": "a"}, defaults={"stock": 3})
            assert (row.id, row.stock, created) == (1, 3, True)
        assert [text.split()[0] for text in sent()] == [
            "SELECT",
            "SAVEPOINT",
            "INSERT",
            "RELEASE",
        ]
        with db.scope():
            row, created = Goods(db).get_or_create({"code": "a"}, defaults={"stock": 4})
            assert (row.id, row.stock, created) == (1, 3, False)
        assert [text.split()[0] for text in sent()] == ["SELECT"]
        assert rows(GOODS) == [(1, "a", "nameless", 3)]

    def test_finds_who_was_faster(self, environment, recorded, rows):
        """The other commits between the SELECT and the INSERT."""
        other = Database.from_env(environment)
        db, sent = recorded
        with db.scope() as session:
            plain = session.scalars

            def scalars(*arguments, **options):
                session.scalars = plain
                found = plain(*arguments, **options)
                with other.scope():
                    Goods(other).add(Good(code="a", stock=9))
                return found

            session.scalars = scalars
            row, created = Goods(db).get_or_create({"code": "a"}, defaults={"stock": 1})
            assert (row.stock, created) == (9, False)
        kinds = [text.split()[0] for text in sent()]
        assert kinds == ["SELECT", "SAVEPOINT", "INSERT", "ROLLBACK", "SELECT"]
        assert [row[1::2] for row in rows(GOODS)] == [("a", 9)]

    def test_leaves_the_scope_usable_for_who_was_slower(self, environment, db, rows):
        other = Database.from_env(environment)
        with db.scope() as session:
            plain = session.scalars

            def scalars(*arguments, **options):
                session.scalars = plain
                found = plain(*arguments, **options)
                with other.scope():
                    Goods(other).add(Good(code="a", stock=9))
                return found

            session.scalars = scalars
            row, _ = Goods(db).get_or_create({"code": "a"})
            row.stock = 10
            Goods(db).add(Good(code="the scope goes on"))
        assert [row[1::2] for row in rows(GOODS)] == [("a", 10), ("the scope goes on", 0)]

    def test_raises_where_another_key_is_taken(self, db, rows):
        with db.scope():
            Seats(db).add(Seat(row=1, place="a", person="ada"))
            with pytest.raises(DuplicateKey):
                Seats(db).get_or_create({"row": 2, "place": "b"}, defaults={"person": "ada"})
            assert Seats(db).get_or_create({"person": "ada"}, defaults={"row": 5})[1] is False
        assert rows("SELECT row_no, place, person FROM seat") == [(1, "a", "ada")]

    def test_works_in_a_session_of_ones_own(self, db, rows):
        with orm.Session(db.engine) as session, session.begin():
            assert Goods(session).get_or_create({"code": "a"})[1]
            assert not Goods(session).get_or_create({"code": "a"})[1]
        assert len(rows(GOODS)) == 1

    @pytest.mark.parametrize(
        ("key", "defaults"),
        [
            ({}, None),
            (None, None),
            ("code", None),
            ([("code", "a")], None),
            ({"name": "a"}, None),
            ({"code": "a", "name": "b"}, None),
            ({"cod": "a"}, None),
            ({"code": None}, None),
            ({"code": 1}, None),
            ({"code": sa.text("'a'")}, None),
            ({"code": Good.name}, None),
            ({"code": "a"}, {"code": "b"}),
            ({"code": "a"}, {"stok": 1}),
            ({"code": "a"}, {"stock": "1 OR 1=1"}),
            ({"code": "a"}, {"prices": []}),
            ({"code": "a"}, 5),
        ],
        ids=str,
    )
    def test_refuses_what_is_no_key(self, db, rows, key, defaults):
        with db.scope(), pytest.raises(InvalidArgument):
            Goods(db).get_or_create(key, defaults=defaults)
        assert rows(GOODS) == []

    def test_refuses_a_version_by_hand(self, db):
        with db.scope(), pytest.raises(InvalidArgument, match="never set by hand"):
            Documents(db).get_or_create({"slug": "a"}, defaults={"version": 4})


def at_once(environment, work, workers=2):
    """Run `work(database, number)` in so many threads, each with a database, started together."""
    ready = threading.Barrier(workers)
    results = []

    def run(number):
        mine = Database.from_env(environment)
        ready.wait()
        try:
            results.append(work(mine, number))
        except Exception as error:  # noqa: BLE001  # shown by whoever looks at the results
            results.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class TestTwoAtOnce:
    def test_upsert_one_key_and_there_is_one_row(self, environment, db, rows):
        inside = threading.Barrier(2)

        def upsert(mine, number):
            with mine.scope() as session:
                session.execute(sa.text("SELECT 1"))
                inside.wait()
                return Hits(mine).upsert([{"page": "a", "count": number + 1}], key=Hit.page)

        done = at_once(environment, upsert)
        assert sorted(result.changed for result in done) == [0, 1]
        ((page, count),) = rows(HITS)
        assert page == "a"
        assert count in (1, 2)

    def test_upsert_many_keys_and_lose_none(self, environment, db, rows):
        def upsert(mine, number):
            for turn in range(10):
                given = [{"page": f"{turn}-{n}", "count": number} for n in range(20)]
                mine.run(lambda given=given: Hits(mine).upsert(given, key=Hit.page), attempts=9)

        assert at_once(environment, upsert, workers=3) == [None] * 3
        assert rows("SELECT COUNT(*) FROM hit") == [(200,)]

    def test_get_or_create_one_key_and_one_makes_it(self, environment, db, rows):
        for turn in range(10):
            inside = threading.Barrier(2)

            def get(mine, number, turn=turn, inside=inside):
                with mine.scope() as session:
                    session.execute(sa.text("SELECT 1"))
                    inside.wait()
                    row, created = Goods(mine).get_or_create(
                        {"code": f"c{turn}"}, defaults={"stock": number}
                    )
                    return created, row.id, row.stock

            one, other = sorted(at_once(environment, get))
            assert (one[0], other[0]) == (False, True)
            assert one[1:] == other[1:]
        assert rows("SELECT COUNT(*) FROM good") == [(10,)]

    def test_upsert_in_opposite_orders_and_at_worst_one_is_told_to_run_again(
        self, environment, db, rows
    ):
        with db.scope():
            Hits(db).insert_many([{"page": "a", "count": 0}, {"page": "b", "count": 0}])
        inside = threading.Barrier(2)

        def upsert(mine, number):
            pages = ["a", "b"] if number else ["b", "a"]
            with mine.scope():
                Hits(mine).upsert([{"page": pages[0], "count": number + 1}], key=Hit.page)
                inside.wait()
                Hits(mine).upsert([{"page": pages[1], "count": number + 1}], key=Hit.page)

        results = at_once(environment, upsert)
        failed = [result for result in results if result is not None]
        assert len(failed) == 1
        assert isinstance(failed[0], Deadlock)
        assert failed[0].transient
        assert len({count for _, count in rows(HITS)}) == 1


def test_a_visit_needs_no_key_of_the_server(db, rows):
    with db.scope():
        done = Visits(db).upsert([{"id": Visit().id, "page": "x"}], key=Visit.id, update=Visit.page)
    assert done.changed == 0
    assert rows("SELECT page FROM visit") == [("x",)]
