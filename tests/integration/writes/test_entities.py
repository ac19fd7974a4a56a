"""What a write leaves in entities: tracked as after a set, whatever their classes call equal."""

import dataclasses
import json

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.mutable import MutableComposite, MutableDict, MutableList, MutableSet
from sqlalchemy.orm import DeclarativeBase, Mapped, composite, mapped_column, relationship

from dal import Database, Repository
from dal.engine import Settings, create_engine


class Base(DeclarativeBase):
    """Of its own: other tests need not create these tables."""


@dataclasses.dataclass
class Point(MutableComposite):
    x: int
    y: int

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        self.changed()


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20), unique=True)
    data: Mapped[dict] = mapped_column(MutableDict.as_mutable(sa.JSON), default=dict)
    tags: Mapped[list] = mapped_column(MutableList.as_mutable(sa.JSON), default=list)
    seen: Mapped[set] = mapped_column(MutableSet.as_mutable(sa.PickleType), default=set)
    kind: Mapped[str] = mapped_column(sa.String(9), default="note")


class Mark(Base):
    __tablename__ = "mark"
    id: Mapped[int] = mapped_column(primary_key=True)
    x: Mapped[int] = mapped_column(default=0)
    y: Mapped[int] = mapped_column(default=0)
    at: Mapped[Point] = composite("x", "y")


class Strange:
    """False, and equal to everything, None among it; no set takes it."""

    __hash__ = None

    def __bool__(self):
        return False

    def __len__(self):
        return 0

    def __eq__(self, other):
        return True


class Author(Strange, Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20))
    books: Mapped[list["Book"]] = relationship(back_populates="author")


class Book(Strange, Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(20))
    author_id: Mapped[int | None] = mapped_column(sa.ForeignKey(Author.id))
    author: Mapped[Author | None] = relationship(back_populates="books")


class Notes(Repository[Note]):
    pass


class Marks(Repository[Mark]):
    pass


class Authors(Repository[Author]):
    pass


class Books(Repository[Book]):
    pass


@pytest.fixture
def db(environment):
    Base.metadata.create_all(create_engine(Settings.from_env(environment).for_migrations()))
    return Database.from_env(environment)


@pytest.fixture
def rows(admin):
    def select(sql):
        with admin.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    return select


class TestLaterChangesOfAValue:
    """After a write in place of a set; the row shows whether they were seen."""

    @pytest.fixture
    def changed(self, rows):
        def documents(column="data"):
            return [json.loads(value) for (value,) in rows(f"SELECT {column} FROM note")]

        return documents

    @pytest.mark.parametrize("verb", ["update", "update_where"])
    def test_follow_a_change_by_key_or_condition(self, db, changed, verb, rows):
        with db.scope():
            note = Notes(db).add(Note(name="a", data={"a": 1}))
            changes = {"data": {"b": 2}, "tags": ["x"], "seen": {1}}
            if verb == "update":
                Notes(db).update(note.id, changes)
            else:
                Notes(db).update_where(Note.name == "A", changes=changes)
            note.data["c"] = 3
            note.tags.append("y")
            note.seen.add(2)
        assert changed() == [{"b": 2, "c": 3}]
        assert changed("tags") == [["x", "y"]]
        with db.scope():
            assert Notes(db).get_one(note.id).seen == {1, 2}

    def test_follow_an_update_to_each_of_its_entities(self, db, changed):
        with db.scope():
            one, two = Notes(db).add_all([Note(name="a"), Note(name="b")])
            Notes(db).update_where(Note.id > 0, changes={"data": {"b": 2}})
            one.data["one"] = 1
            assert two.data == {"b": 2}
            two.data["two"] = 2
        assert changed() == [{"b": 2, "one": 1}, {"b": 2, "two": 2}]

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_follow_a_default_made_by_add_all(self, db, changed, count):
        with db.scope():
            notes = Notes(db).add_all([Note(name=f"n{n}") for n in range(count)])
            for note in notes:
                note.data["c"] = 3
                note.tags.append("y")
        assert changed() == [{"c": 3}] * count
        assert changed("tags") == [["y"]] * count

    def test_follow_get_or_create_and_upsert(self, db, changed):
        with db.scope():
            note, _ = Notes(db).get_or_create({"name": "a"})
            note.data["c"] = 3
            row = {"name": "a", "data": {"d": 4}}
            Notes(db).upsert([row], key=Note.name)
            assert note.data == {"d": 4}
            note.data["e"] = 5
        assert changed() == [{"d": 4, "e": 5}]

    @pytest.mark.parametrize("verb", ["update", "update_where"])
    def test_follow_the_columns_of_a_composite(self, db, rows, verb):
        with db.scope():
            mark = Marks(db).add(Mark(at=Point(1, 2)))
            if verb == "update":
                Marks(db).update(mark.id, {"x": 5})
            else:
                Marks(db).update_where(Mark.id > 0, changes={"x": 5})
            assert mark.at == Point(5, 2)
            mark.at.y = 7
        assert rows("SELECT x, y FROM mark") == [(5, 7)]


class TestEntitiesThatAreFalseAndAllEqual:
    @pytest.mark.parametrize("count", [1, 2, 3, 5])
    def test_keep_their_foreign_keys(self, db, rows, count):
        with db.scope():
            authors = [Author(name=f"a{n}") for n in range(count)]
            Books(db).add_all(
                [Book(title=f"b{n}", author=author) for n, author in enumerate(authors)]
            )
        found = rows("SELECT b.title, a.name FROM book b JOIN author a ON a.id = b.author_id")
        assert sorted(found) == [(f"b{n}", f"a{n}") for n in range(count)]

    @pytest.mark.parametrize("count", [1, 3])
    def test_keep_their_collections(self, db, rows, count):
        with db.scope():
            Authors(db).add_all(
                [Author(name=f"a{n}", books=[Book(title=f"b{n}")]) for n in range(count)]
            )
        found = rows("SELECT b.title, a.name FROM book b JOIN author a ON a.id = b.author_id")
        assert sorted(found) == [(f"b{n}", f"a{n}") for n in range(count)]

    def test_share_one_insert_where_the_relationship_is_empty(self, db, rows):
        with db.scope():
            books = Books(db).add_all([Book(title=f"b{n}", author=None) for n in range(3)])
            assert [book.id for book in books] == [1, 2, 3]
        assert rows("SELECT count(*), max(author_id) FROM book") == [(3, None)]

    def test_are_found_changed_and_deleted_each_by_itself(self, db, rows):
        with db.scope() as session:
            one, two, three = Authors(db).add_all([Author(name=name) for name in "abc"])
            assert [
                each is author
                for each, author in zip(Authors(db).get_many([3, 1]), (three, one), strict=True)
            ] == [True, True]
            assert len(Authors(db).find(Author.id > 0)) == 3
            Authors(db).update(two.id, {"name": "two"})
            Authors(db).update_where(Author.name == "c", changes={"name": "three"})
            assert [one.name, two.name, three.name] == ["a", "two", "three"]
            Authors(db).delete(one.id)
            assert one not in session
            assert two in session
            found, made = Authors(db).get_or_create({"id": two.id})
            assert found is two
            assert not made
            Authors(db).upsert([{"id": 3, "name": "c"}], key=Author.id)
            assert three.name == "c"
            assert Authors(db).one(Author.name == "c") is three
        assert rows("SELECT id, name FROM author ORDER BY id") == [(2, "two"), (3, "c")]


class TestStatementsOfOnesOwn:
    """`session.execute(update(...))`: the server says which entities follow, and not Python."""

    @pytest.fixture
    def authors(self, db):
        with db.scope():
            Authors(db).add_all([Author(name="Ann", books=[]), Author(name="bob", books=[])])
            Marks(db).add_all([Mark(x=1, y=2), Mark(x=3, y=4)])
        return Authors(db)

    def test_an_update_by_a_text_that_the_server_calls_equal(self, db, authors):
        with db.scope() as session:
            ann, bob = authors.find(order_by=Author.id, limit=2)
            session.execute(sa.update(Author).where(Author.name == "ANN").values(name="Zoe"))
            assert [ann.name, bob.name] == ["Zoe", "bob"]
            session.query(Author).filter(Author.name == "BOB").update({"name": "Tom"})
            assert [ann.name, bob.name] == ["Zoe", "Tom"]

    def test_a_delete_by_a_text_that_the_server_calls_equal(self, db, authors, rows):
        with db.scope() as session:
            ann, bob = authors.find(order_by=Author.id, limit=2)
            session.execute(sa.delete(Author).where(Author.name == "ANN"))
            assert [ann in session, bob in session] == [False, True]
        assert rows("SELECT name FROM author") == [("bob",)]

    def test_an_update_whose_expressions_read_each_others_columns(self, db, authors, rows):
        with db.scope() as session:
            one, two = Marks(db).find(order_by=Mark.id, limit=2)
            session.execute(sa.update(Mark).values(x=Mark.x + 1, y=Mark.x))
            assert [(one.x, one.y), (two.x, two.y)] == [(2, 1), (4, 3)]
        assert rows("SELECT x, y FROM mark ORDER BY id") == [(2, 1), (4, 3)]

    def test_a_pending_entity_follows_and_nothing_is_asked_where_none_is_held(self, db, authors):
        sent = []
        event.listen(db.engine, "before_cursor_execute", lambda *given: sent.append(given[2][:6]))
        with db.scope() as session:
            session.execute(sa.update(Author).where(Author.name == "ANN").values(name="Zoe"))
            assert sent == ["UPDATE"]
            new = Author(name="Eve", books=[])
            session.add(new)
            session.execute(sa.update(Author).where(Author.name == "EVE").values(name="Una"))
            assert new.name == "Una"
        assert sent == ["UPDATE", "INSERT", "SELECT", "UPDATE"]
