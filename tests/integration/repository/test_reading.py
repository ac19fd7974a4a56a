"""Reading by keys, in columns and with locks: what comes back, its cost, what is refused."""

import datetime
import decimal
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy import event, orm

from dal import (
    Database,
    InvalidArgument,
    LockNotAvailable,
    LockWaitTimeout,
    NotFound,
    ReadOnlyScope,
    Repository,
    everything,
)
from dal.engine import Settings, create_engine


class Base(orm.DeclarativeBase):
    """Of its own, so that no other test has these tables."""


class Book(Base):
    __tablename__ = "book"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    title: orm.Mapped[str] = orm.mapped_column("book_title", sa.String(50))
    price: orm.Mapped[decimal.Decimal | None] = orm.mapped_column(sa.Numeric(8, 2))
    sold: orm.Mapped[datetime.date | None]
    chapters: orm.Mapped[list["Chapter"]] = orm.relationship(order_by="Chapter.number")


class Chapter(Base):
    __tablename__ = "chapter"

    book_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey(Book.id), primary_key=True)
    number: orm.Mapped[int] = orm.mapped_column(primary_key=True)


class Tag(Base):
    __tablename__ = "tag"
    __table_args__ = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_unicode_ci"}

    name: orm.Mapped[str] = orm.mapped_column(sa.String(50), primary_key=True)


class Token(Base):
    __tablename__ = "token"

    id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True)


class Books(Repository[Book]):
    pass


class Chapters(Repository[Chapter]):
    pass


class Tags(Repository[Tag]):
    pass


class Tokens(Repository[Token]):
    pass


TOKENS = [uuid.UUID(int=n) for n in (7, 2**100, 1)]


@pytest.fixture
def db(environment, admin):
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine)
    with admin.cursor() as cursor:
        cursor.execute(
            "INSERT INTO book VALUES (1, 'Emma', 9.50, '2026-01-31'), (2, 'Dune', NULL, NULL), "
            "(3, 'Ulysses', 20.00, NULL), (4, 'שלום 🙂', 20.00, NULL)"
        )
        cursor.execute("INSERT INTO chapter VALUES (1, 1), (1, 2), (3, 1)")
        cursor.execute("INSERT INTO tag VALUES ('ada'), ('élan'), ('zoë')")
        for token in TOKENS:
            cursor.execute("INSERT INTO token VALUES (%s)", (token.hex,))
    return Database.from_env(environment)


@pytest.fixture
def statements(db):
    """The statements sent since the last `clear()`, in a list."""
    sent = []

    event.listen(
        db.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: sent.append(statement),
    )
    return sent


@pytest.fixture
def free(admin):
    """The ids of books that another transaction could lock now."""

    def ids(mode="FOR UPDATE"):
        with admin.cursor() as cursor:
            cursor.execute(f"SELECT id FROM book ORDER BY id {mode} SKIP LOCKED")
            return [row[0] for row in cursor.fetchall()]

    return ids


class TestManyKeys:
    def test_give_their_rows_in_the_order_of_the_keys(self, db):
        with db.scope(read_only=True):
            assert [book.id for book in Books(db).get_many([3, 1, 2])] == [3, 1, 2]
            assert [token.id for token in Tokens(db).get_many(TOKENS)] == TOKENS
            assert [book.id for book in Books(db).get_many(n for n in (2, 1))] == [2, 1]

    def test_of_several_columns_are_tuples_or_dictionaries(self, db):
        with db.scope(read_only=True):
            first, second, third = Chapters(db).get_many(
                [(3, 1), {"number": 2, "book_id": 1}, [1, 1]]
            )
        assert [(row.book_id, row.number) for row in (first, second, third)] == [
            (3, 1),
            (1, 2),
            (1, 1),
        ]

    def test_named_twice_give_their_row_twice(self, db, statements):
        with db.scope(read_only=True):
            one, other, same = Books(db).get_many([2, 1, 2])
        assert one is same
        assert other.id == 1
        assert len(statements) == 1

    def test_that_have_no_row_are_named(self, db):
        with db.scope(read_only=True):
            with pytest.raises(NotFound, match=r"^2 of 4 keys have no Book: 9, 8$") as caught:
                Books(db).get_many([1, 9, 2, 8, 9])
            assert caught.value.keys == (9, 8)
            with pytest.raises(
                NotFound, match=r"^1 of 2 keys have no Chapter: \(2, 1\)$"
            ) as caught:
                Chapters(db).get_many([(1, 1), (2, 1)])
            assert caught.value.keys == ((2, 1),)
            with pytest.raises(NotFound, match=r"50 of 50 .*: 100, .*, 109, \.\.\.$") as caught:
                Books(db).get_many(range(100, 150))
            assert caught.value.keys == tuple(range(100, 150))

    def test_none_at_all_send_nothing(self, db, statements, connections):
        with db.scope(read_only=True):
            assert Books(db).get_many([]) == []
            assert connections() == 0
        assert statements == []

    def test_100_000_of_them_are_a_hundred_statements(self, db, statements, admin):
        with admin.cursor() as cursor:
            cursor.execute(
                "INSERT INTO book (id, book_title) WITH RECURSIVE n (n) AS "
                "(SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 316) "
                "SELECT 1000 + x.n * 317 + y.n, 'x' FROM n x JOIN n y"
            )
        keys = list(range(101_000, 1_000, -1))
        with db.scope(read_only=True):
            assert [book.id for book in Books(db).get_many(keys)] == keys
        assert len(statements) == 100

    def test_are_split_by_bytes_as_the_setting_asks(self, environment, db):
        small = Database.from_env(environment, max_statement_bytes=2_000)
        sizes = []
        event.listen(
            small.engine,
            "before_cursor_execute",
            lambda _c, cursor, statement, parameters, *_: sizes.append(
                len(cursor.mogrify(statement, parameters))
            ),
        )
        with small.scope(read_only=True), pytest.raises(NotFound):
            Tokens(small).get_many([uuid.uuid4() for _ in range(200)])
        assert len(sizes) > 1
        assert max(sizes) <= 2_000

    def test_of_text_find_the_rows_that_get_finds_for_them(self, db, statements):
        """The collation takes ADA for ada; both spellings may be asked for at once."""
        with db.scope(read_only=True):
            keys = ["ADA", "zoë", "ada", "Ada", "elan"]
            expected = [Tags(db).get_one(key) for key in keys]
            statements.clear()
            assert Tags(db).get_many(keys) == expected
            assert [tag.name for tag in expected] == ["ada", "zoë", "ada", "ada", "élan"]
            with pytest.raises(NotFound, match="1 of 2 keys have no Tag: 'nobody'"):
                Tags(db).get_many(["ADA", "nobody"])
            statements.clear()
            Tags(db).get_many(["ada", "zoë"])
            assert len(statements) == 1

    def test_take_loader_options_and_locks(self, db, free):
        with db.scope():
            first, _ = Books(db).get_many(
                [1, 3], options=[orm.selectinload(Book.chapters)], lock="update"
            )
            assert free() == [2, 4]
        assert [chapter.number for chapter in first.chapters] == [1, 2]

    @pytest.mark.parametrize("keys", ["12", b"12", 5, None, {"id": 1}, Book, Book.id == 1])
    def test_come_in_a_list(self, db, keys):
        with db.scope(), pytest.raises(InvalidArgument, match="list of keys"):
            Books(db).get_many(keys)

    @pytest.mark.parametrize(
        "key", [None, True, "1", "1 OR 1=1", 1.0, (1, 2), (), {"no": 1}, sa.text("1"), [[1]]]
    )
    def test_are_each_what_get_takes(self, db, statements, key):
        with db.scope(), pytest.raises(InvalidArgument):
            Books(db).get_many([1, key])
        assert statements == []

    @pytest.mark.parametrize("key", [1, (1,), (1, None), (1, 2, 3), {"book_id": 1}])
    def test_have_all_their_columns(self, db, key):
        with db.scope(), pytest.raises(InvalidArgument):
            Chapters(db).get_many([key])

    def test_work_in_a_session_of_ones_own(self, db):
        with orm.Session(db.engine) as session:
            assert [book.id for book in Books(session).get_many([2, 1])] == [2, 1]


class TestRows:
    def test_are_plain_dictionaries_by_attribute_name_or_label(self, db, statements):
        with db.scope(read_only=True) as session:
            found = Books(db).rows(
                Book.id,
                Book.title,
                Book.price,
                (Book.price * 2).label("double"),
                Book.__table__.c.sold,
                where=Book.id <= 2,
                order_by=Book.id.desc(),
            )
            assert not session.identity_map.keys()
        assert found == [
            {"id": 2, "title": "Dune", "price": None, "double": None, "sold": None},
            {
                "id": 1,
                "title": "Emma",
                "price": decimal.Decimal("9.50"),
                "double": decimal.Decimal("19.00"),
                "sold": datetime.date(2026, 1, 31),
            },
        ]
        assert {type(row) for row in found} == {dict}
        assert len(statements) == 1

    def test_fit_all_conditions_up_to_the_limit(self, db):
        books = Books(db)
        with db.scope(read_only=True):
            assert books.rows(Book.id, where=[Book.price == 20, Book.id > 3]) == [{"id": 4}]
            assert books.rows(Book.id, where=Book.id == 99) == []
            assert books.rows(Book.id, order_by=[Book.price.desc(), Book.id], limit=2) == [
                {"id": 3},
                {"id": 4},
            ]
            assert len(books.rows(Book.id, where=everything())) == 4
            assert books.rows(sa.func.count().label("n"), where=Book.price == 20) == [{"n": 2}]

    @pytest.mark.parametrize(
        ("columns", "says"),
        [
            ((), "wants columns"),
            ((Book,), "entities come from find"),
            (("title",), "takes columns"),
            (("1; DROP TABLE book",), "takes columns"),
            ((sa.text("title"),), "takes columns"),
            ((None,), "takes columns"),
            ((1,), "takes columns"),
            (([Book.id],), "takes columns"),
            ((Book.chapters,), "takes columns"),
            ((sa.func.count(),), "a name with .label"),
            ((Book.id + 1,), "a name with .label"),
            ((Book.id, Book.id), "two columns are named 'id'"),
            ((Book.id, Book.title.label("id")), "two columns are named 'id'"),
            ((Chapter.number,), "Chapter.number is no column of Book"),
            ((orm.aliased(Book).title,), "is no column of Book"),
        ],
        ids=str,
    )
    def test_are_of_columns_that_have_names_of_their_own(self, db, columns, says):
        with db.scope(), pytest.raises(InvalidArgument, match=says):
            Books(db).rows(*columns, where=everything())

    @pytest.mark.parametrize(
        "limits",
        [
            {},
            {"where": []},
            {"where": "id = 1"},
            {"where": sa.text("id = 1")},
            {"where": [Book.id == 1, True]},
            {"where": Book.id + 1},
            {"where": Book.id == 1, "order_by": "id"},
            {"where": Book.id == 1, "order_by": Book.chapters},
            {"limit": 0},
            {"limit": -1},
            {"limit": "5"},
        ],
        ids=str,
    )
    def test_want_a_condition_or_a_limit(self, db, statements, limits):
        with db.scope(), pytest.raises(InvalidArgument):
            Books(db).rows(Book.id, **limits)
        assert statements == []


READS = {
    "get": lambda books, **lock: books.get(3, **lock),
    "get_one": lambda books, **lock: books.get_one(3, **lock),
    "one": lambda books, **lock: books.one(Book.id == 3, **lock),
    "one_or_none": lambda books, **lock: books.one_or_none(Book.id == 3, **lock),
    "first": lambda books, **lock: books.first(Book.id == 3, order_by=Book.id, **lock),
    "find": lambda books, **lock: books.find(Book.id == 3, **lock)[0],
    "get_many": lambda books, **lock: books.get_many([3], **lock)[0],
}
each_read = pytest.mark.parametrize("read", READS.values(), ids=READS)


class TestALock:
    @each_read
    def test_keeps_the_row_until_the_scope_ends(self, db, free, statements, read):
        with db.scope():
            assert read(Books(db), lock="update").id == 3
            assert free() == [1, 2, 4]
        assert free() == [1, 2, 3, 4]
        assert len(statements) == 1

    def test_for_share_keeps_just_the_writers_out(self, db, free):
        with db.scope():
            Books(db).get(3, lock="share")
            assert free() == [1, 2, 4]
            assert free("LOCK IN SHARE MODE" if db_is_mariadb(db) else "FOR SHARE") == [1, 2, 3, 4]

    def test_without_one_nothing_is_kept(self, db, free):
        with db.scope():
            Books(db).get(3)
            assert free() == [1, 2, 3, 4]

    @pytest.mark.mysql("NOWAIT has an error number of its own there")
    @pytest.mark.parametrize("lock", ["update nowait", "share nowait"])
    def test_of_another_is_an_error_at_once_with_nowait_and_the_scope_goes_on(
        self, db, admin, lock
    ):
        books = Books(db)
        with held(admin, 3), db.scope():
            with pytest.raises(LockNotAvailable):
                books.get(3, lock=lock)
            assert books.get(2, lock=lock).id == 2

    @pytest.mark.parametrize("lock", ["update skip locked", "share skip locked"])
    def test_of_another_leaves_the_row_out_with_skip_locked(self, db, admin, lock):
        if lock.startswith("share") and db_is_mariadb(db):
            pytest.skip("the stand-in waits all the same")
        books = Books(db)
        with held(admin, 3), db.scope():
            assert [book.id for book in books.find(everything(), lock=lock)] == [1, 2, 4]
            assert books.get(3, lock=lock) is None
            with pytest.raises(NotFound):
                books.get_one(3, lock=lock)
            with pytest.raises(NotFound):
                books.get_many([1, 3], lock=lock)

    def test_of_another_is_waited_for_without(self, db, environment, admin):
        hasty = Database.from_env(environment, lock_wait_timeout=1)
        with held(admin, 3), pytest.raises(LockWaitTimeout), hasty.scope():
            Books(hasty).get(3, lock="update")

    def test_reaches_rows_that_joined_loading_puts_into_a_subquery(self, db, free):
        with db.scope():
            Books(db).first(
                order_by=Book.id, options=[orm.joinedload(Book.chapters)], lock="update"
            )
            assert free() == [2, 3, 4]

    @each_read
    def test_is_refused_in_a_read_only_scope(self, db, free, read):
        with db.scope(read_only=True):
            with pytest.raises(ReadOnlyScope, match=r"read-only scope takes no locks.*read_only"):
                read(Books(db), lock="update")
            assert read(Books(db)).id == 3

    @each_read
    def test_is_one_of_six(self, db, statements, read):
        for lock in ("UPDATE", "for update", "", True, "update; DROP TABLE book"):
            with db.scope(), pytest.raises(InvalidArgument, match="lock is one of update, "):
                read(Books(db), lock=lock)
        assert statements == []

    def test_refreshes_the_entity_in_a_session_of_ones_own_too(self, db, admin):
        """What is written next depends on what is read now, under the lock."""
        with orm.Session(db.engine) as session:
            book = Books(session).get_one(1)
            with admin.cursor() as cursor:
                cursor.execute("UPDATE book SET book_title = 'Persuasion' WHERE id = 1")
            assert Books(session).get_one(1).title == "Emma"
            Books(session).get_one(1, lock="update")
            assert book.title == "Persuasion"


class TestExists:
    def test_asks_for_one_row_and_counts_none(self, db, statements):
        with db.scope(read_only=True):
            assert Books(db).exists(Book.price == 20)
            assert not Books(db).exists(Book.price == 21)
            assert Books(db).exists()
        assert len(statements) == 3
        for statement in statements:
            assert "LIMIT" in statement
            assert "count" not in statement.lower()


@pytest.mark.parametrize(
    "verb", ["one", "one_or_none", "find", "exists", "count", "stream", "claim", "page", "first"]
)
def test_a_condition_is_an_expression_that_is_true_or_false(db, statements, verb):
    more = {"claim": {"limit": 1}, "page": {"limit": 1}, "first": {"order_by": Book.id}}
    wrong = ["id = 1", sa.text("id = 1"), True, None, 1, Book, Book.id + 1, [Book.id == 1]]
    for where in wrong:
        with db.scope(), pytest.raises(InvalidArgument, match="a condition is an expression"):
            getattr(Books(db), verb)(where, **more.get(verb, {}))
    assert statements == []


class held:  # noqa: N801
    """A block in which the administrator holds the lock of one book."""

    def __init__(self, admin, number):
        self.admin, self.number = admin, number

    def __enter__(self):
        self.admin.begin()
        with self.admin.cursor() as cursor:
            cursor.execute("SELECT id FROM book WHERE id = %s FOR UPDATE", (self.number,))

    def __exit__(self, *_):
        self.admin.rollback()


def db_is_mariadb(db):
    with db.engine.connect() as connection:
        return connection.dialect.is_mariadb
