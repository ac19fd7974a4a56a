"""Versions: no write over a row that another has changed, however it was read in between."""

import threading
import uuid

import goods
import pytest
import sqlalchemy as sa
from goods import Base, Document, Documents, Good, Goods
from sqlalchemy import orm
from sqlalchemy.orm import Mapped, mapped_column, selectinload
from sqlalchemy.orm.exc import StaleDataError

from dal import Database, InvalidArgument, NotFound, Repository, StaleVersion, everything
from dal.model import Versioned


@pytest.fixture
def db(environment):
    return goods.database(environment)


@pytest.fixture
def rows(admin):
    def select(sql):
        with admin.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    return select


@pytest.fixture
def documents(db):
    with db.scope():
        Documents(db).add(Document(slug="a", title="one", body="one"))
    return Documents(db)


@pytest.fixture
def another(environment):
    """Commit a change of the document in another scope."""
    database = Database.from_env(environment)

    def change(**changes):
        with database.scope():
            Documents(database).update(1, changes or {"title": "another's"})

    return change


ALL = "SELECT title, body, version FROM document"

READS = {
    "get": lambda documents, s: documents.get(1),
    "find": lambda documents, s: documents.find(everything())[0],
    "one": lambda documents, s: documents.one(Document.slug == "a"),
    "first": lambda documents, s: documents.first(order_by=Document.id),
    "get_many": lambda documents, s: documents.get_many([1]),
    "page": lambda documents, s: documents.page(everything(), order_by=Document.id, limit=5),
    "stream": lambda documents, s: list(documents.stream(everything(), chunk=5)),
    "session.get": lambda documents, s: s.get(Document, 1),
    "session.scalars": lambda documents, s: s.scalars(sa.select(Document)).all(),
    "session.query": lambda documents, s: s.query(Document).all(),
    "yield_per": lambda documents, s: list(s.scalars(sa.select(Document)).yield_per(1)),
    "partitions": lambda documents, s: list(s.scalars(sa.select(Document)).partitions(1)),
    "columns beside it": lambda documents, s: s.execute(sa.select(Document.id, Document)).all(),
    "from_statement": lambda documents, s: s.scalars(
        sa.select(Document).from_statement(sa.text("SELECT * FROM document"))
    ).all(),
    "for update": lambda documents, s: s.scalars(sa.select(Document).with_for_update()).all(),
}


class TestAReadThatWouldChangeTheVersion:
    @pytest.mark.parametrize("verb", READS)
    def test_raises_and_nothing_is_lost(self, db, documents, another, rows, verb):
        with pytest.raises(StaleVersion), db.scope() as session:
            held = documents.get_one(1)
            another()
            with pytest.raises(StaleVersion) as caught:
                READS[verb](documents, session)
            assert isinstance(caught.value.__cause__, StaleDataError)
            assert caught.value.transient
            assert (held.title, held.version) == ("one", 1)
            held.title = "mine, decided on one"
        assert rows(ALL) == [("another's", "one", 2)]

    @pytest.mark.parametrize("verb", READS)
    def test_is_just_a_fresh_read_in_a_read_only_scope(self, db, documents, another, verb):
        if verb == "for update":
            pytest.skip("a read-only scope takes no locks")
        with db.scope(read_only=True) as session:
            held = documents.get_one(1)
            another()
            READS[verb](documents, session)
            assert (held.title, held.version) == ("another's", 2)

    def test_is_allowed_by_name(self, db, documents, another, rows):
        with db.scope() as session:
            held = documents.get_one(1)
            another()
            session.refresh(held)
            assert (held.title, held.version) == ("another's", 2)
            held.body = "mine, decided on two"
        assert rows(ALL) == [("another's", "mine, decided on two", 3)]

    def test_is_allowed_by_name_with_a_lock(self, db, documents, another):
        with db.scope() as session:
            held = documents.get_one(1)
            another()
            session.refresh(held, with_for_update=True)
            assert held.version == 2

    def test_is_no_matter_where_nothing_was_held(self, db, documents, another, rows):
        with db.scope():
            another()
            documents.get_one(1).body = "mine"
        assert rows(ALL) == [("another's", "mine", 3)]

    def test_of_an_unchanged_row_refreshes_as_ever(self, db, documents):
        with db.scope():
            held = documents.get_one(1)
            held.title = "mine"
            assert documents.find(everything()) == [held]
            assert (held.title, held.version) == ("mine", 2)
            documents.update(1, {"body": "mine"})
            assert documents.find(everything()) == [held]
            assert (held.body, held.version) == ("mine", 3)
            documents.update_where(everything(), changes={"body": "all"})
            assert documents.find(everything()) == [held]
            assert (held.body, held.version) == ("all", 4)

    def test_reaches_through_eager_loading(self, db, admin, rows):
        with db.scope():
            Shelves(db).add(Shelf(books=[Book(name="one")]))
        with pytest.raises(StaleVersion), db.scope() as session:
            held = Shelves(db).get_one(1, options=[selectinload(Shelf.books)]).books[0]
            with admin.cursor() as cursor:
                cursor.execute("UPDATE book SET name = 'two', version = 2")
            for load in (selectinload, orm.joinedload):
                with pytest.raises(StaleVersion):
                    Shelves(db).get(1, options=[load(Shelf.books)])
            with pytest.raises(StaleVersion):
                session.scalars(sa.select(Book)).all()
            held.name = "mine"
        assert rows("SELECT name, version FROM book") == [("two", 2)]


class TestAWriteOverAnothersChange:
    def test_by_a_flush_raises(self, db, documents, another, rows):
        with pytest.raises(StaleVersion) as caught, db.scope():
            held = documents.get_one(1)
            another()
            held.title = "mine"
        assert isinstance(caught.value.__cause__, StaleDataError)
        assert rows(ALL) == [("another's", "one", 2)]

    def test_by_a_flush_in_a_savepoint_is_undone_with_it(self, db, documents, another, rows):
        with db.scope() as session:
            held = documents.get_one(1)
            another()
            with pytest.raises(StaleVersion), db.savepoint():
                held.title = "mine"
                session.flush()
            Goods(db).add(Good(code="the scope goes on"))
        assert rows(ALL) == [("another's", "one", 2)]
        assert rows("SELECT code FROM good") == [("the scope goes on",)]

    def test_by_update_or_delete_raises_with_what_was_read_or_expected(
        self, db, documents, another, rows
    ):
        for write in (
            lambda: documents.update(1, {"title": "mine"}),
            lambda: documents.update(1, {"title": "mine"}, expected_version=1),
            lambda: documents.delete(1),
            lambda: documents.delete(1, expected_version=1),
        ):
            with db.scope():
                held = documents.get_one(1)
                version = held.version
                another(title=str(version))
                with pytest.raises(StaleVersion, match=f"has version {version + 1}, not"):
                    write()
                assert held.version == version
        assert rows(ALL) == [("4", "one", 5)]

    def test_is_none_where_nothing_was_read_or_expected(self, db, documents, another, rows):
        with db.scope():
            another()
            documents.update(1, {"body": "mine"})
        assert rows(ALL) == [("another's", "mine", 3)]

    def test_by_update_where_does_not_hide_that_a_change_was_missed(
        self, db, documents, another, rows
    ):
        with pytest.raises(StaleVersion), db.scope():
            held = documents.get_one(1)
            another()
            assert documents.update_where(everything(), changes={"body": "all"}) == 1
            assert held.version == 1
            held.title = "mine"
        assert rows(ALL) == [("another's", "one", 2)]

    def test_swallowed_at_an_update_is_raised_again_by_the_flush(
        self, db, documents, another, rows
    ):
        for write in (lambda: documents.update(1, {"title": "x"}), lambda: documents.delete(1)):
            with pytest.raises(StaleVersion), db.scope():
                held = documents.get_one(1)
                another(title="another's")
                with pytest.raises(StaleVersion):
                    write()
                held.body = "mine"
        assert rows(ALL) == [("another's", "one", 3)]

    def test_by_session_delete_raises(self, db, documents, another, rows):
        with pytest.raises(StaleVersion), db.scope() as session:
            held = documents.get_one(1)
            another()
            session.delete(held)
        assert len(rows(ALL)) == 1

    def test_by_merging_a_copy_raises(self, db, documents, another, rows):
        with db.scope(read_only=True):
            copy = documents.get_one(1)
        another()
        with db.scope() as session, pytest.raises(StaleVersion):
            copy.title = "mine"
            session.merge(copy)
        assert rows(ALL) == [("another's", "one", 2)]

    def test_of_a_row_that_is_gone_says_so(self, db, documents, admin):
        with pytest.raises(StaleVersion), db.scope():
            held = documents.get_one(1)
            with admin.cursor() as cursor:
                cursor.execute("DELETE FROM document")
            with pytest.raises(NotFound):
                documents.update(1, {"title": "mine"})
            held.title = "mine"

    def test_of_a_row_without_a_version_that_is_gone_says_so(self, db, admin):
        with db.scope():
            Goods(db).add(Good(code="a"))
        with pytest.raises(StaleVersion), db.scope():
            held = Goods(db).get_one(1)
            with admin.cursor() as cursor:
                cursor.execute("DELETE FROM good")
            held.stock = 5


class TestAVersion:
    def test_moves_on_with_every_write(self, db, documents, rows):
        with db.scope():
            held = documents.get_one(1)
            held.title = "two"
            documents.update(1, {"title": "three"})
            assert held.version == 3
            documents.update(1, {"title": "three"}, expected_version=3)
            documents.update_where(everything(), changes={"title": "five"})
            assert held.version == 5
        assert rows(ALL) == [("five", "one", 5)]

    def test_is_never_set_by_hand(self, db, documents, rows):
        with db.scope():
            with pytest.raises(InvalidArgument, match="never set by hand"):
                documents.update(1, {"version": 9})
            with pytest.raises(InvalidArgument, match="never set by hand"):
                documents.update_where(everything(), changes={"version": Document.version + 1})
        with pytest.raises(InvalidArgument, match="never set by hand"), db.scope():
            documents.get_one(1).version = 9
        with db.scope():
            documents.add(Document(slug="b", version=9))
        assert rows("SELECT version FROM document ORDER BY id") == [(1,), (1,)]

    @pytest.mark.parametrize("expected", ["1", 1.0, True, b"1", sa.text("1"), Document.version])
    def test_that_is_expected_is_of_its_type(self, db, documents, rows, expected):
        with db.scope():
            with pytest.raises(InvalidArgument):
                documents.update(1, {"title": "mine"}, expected_version=expected)
            with pytest.raises(InvalidArgument):
                documents.delete(1, expected_version=expected)
        assert rows(ALL) == [("one", "one", 1)]

    def test_that_the_model_makes_by_itself_wants_the_one_before(self, db, rows):
        with db.scope():
            added = Drafts(db).add(Draft(text="one"))
            first = added.version
        with db.scope():
            with pytest.raises(InvalidArgument, match="expected_version"):
                Drafts(db).update(1, {"text": "two"})
            with pytest.raises(InvalidArgument, match="expected_version"):
                Drafts(db).update_where(everything(), changes={"text": "two"})
            Drafts(db).update(1, {"text": "two"}, expected_version=first)
            with pytest.raises(StaleVersion):
                Drafts(db).update(1, {"text": "three"}, expected_version=first)
        ((text, version),) = rows("SELECT text, version FROM draft")
        assert text == "two"
        assert version != first


class Draft(Base):
    __tablename__ = "draft"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(sa.String(20))
    version: Mapped[str] = mapped_column(sa.String(32))
    __mapper_args__ = {
        "version_id_col": version,
        "version_id_generator": lambda _: uuid.uuid4().hex,
    }


class Drafts(Repository[Draft]):
    pass


class Shelf(Base):
    __tablename__ = "shelf"
    id: Mapped[int] = mapped_column(primary_key=True)
    books: Mapped[list["Book"]] = orm.relationship()


class Book(Versioned, Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(sa.ForeignKey(Shelf.id))
    name: Mapped[str] = mapped_column(sa.String(20))


class Shelves(Repository[Shelf]):
    pass


class TestTwoAtOnce:
    def race(self, environment, write):
        """Both read version 1, then both write."""
        have_read = threading.Barrier(2)
        results = []

        def run(name):
            mine = Database.from_env(environment)
            try:
                with mine.scope():
                    held = Documents(mine).get_one(1)
                    have_read.wait()
                    write(mine, held, name)
                results.append(name)
            except StaleVersion as error:
                results.append(error)

        threads = [threading.Thread(target=run, args=(name,)) for name in "xy"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    @pytest.mark.parametrize("how", ["update", "expected", "flush", "read first"])
    def test_one_writes_and_the_other_is_told(self, environment, db, documents, rows, how):
        def write(mine, held, name):
            if how == "update":
                Documents(mine).update(1, {"title": name})
            elif how == "expected":
                Documents(mine).update(1, {"title": name}, expected_version=1)
            else:
                if how == "read first":
                    Documents(mine).find(everything())
                held.title = name

        results = self.race(environment, write)
        written = [result for result in results if isinstance(result, str)]
        assert len(written) == 1
        assert sum(isinstance(result, StaleVersion) for result in results) == 1
        assert rows(ALL) == [(written[0], "one", 2)]

    def test_running_the_unit_again_loses_no_increment(self, environment, db, documents, rows):
        def count(mine):
            for _ in range(10):

                def once():
                    held = Documents(mine).get_one(1)
                    held.body = str(int(held.body) + 1)

                mine.run(once, attempts=50)

        with db.scope():
            documents.update(1, {"body": "0"})
        threads = [
            threading.Thread(target=count, args=(Database.from_env(environment),)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert rows(ALL) == [("one", "30", 32)]
