"""Keys that the server calls equal and Python does not: one row is one entity, however spelled."""

import contextlib
import datetime as dt
import enum
import secrets
import types
import uuid
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import Database, InvalidArgument, NotFound, Repository, StaleVersion, everything
from dal.engine import Settings, create_engine
from dal.model import BinaryUUID, ExactNumeric, UTCDateTime, Versioned


class Base(DeclarativeBase):
    """Of its own: other tests need not create these tables."""


class Colour(enum.Enum):
    red = 1
    blue = 2


class Lower(sa.TypeDecorator):
    impl = sa.String(20)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return value and value.lower()


# Of each type a key, and other spellings of it that the server takes for the same.
PAD = sa.String(20, collation="utf8mb4_general_ci")
TYPES = {
    "int": (sa.Integer(), 7, []),
    "varchar": (PAD, "Ada", ["ada", "ADA", "Ada  ", "adá"]),
    "char": (sa.CHAR(20, collation="utf8mb4_general_ci"), "Ada", ["ADA", "ada ", "Ãda"]),
    "binary text": (sa.String(20, collation="utf8mb4_bin"), "Ada", ["Ada "]),
    "lowered": (Lower(), "ada", ["ADA", "aDa"]),
    "varbinary": (sa.VARBINARY(5), b"Ada", []),
    "binary": (sa.BINARY(3), b"Ada", []),
    "decimal": (sa.Numeric(9, 2), Decimal("1.50"), [Decimal("1.5"), Decimal("1.5000")]),
    "as float": (sa.Numeric(9, 2, asdecimal=False), 1.25, [Decimal("1.25"), Decimal("1.250")]),
    "exact": (ExactNumeric(9, 2), Decimal("1.50"), [Decimal("1.5")]),
    "float": (sa.Float(), 1.5, [Decimal("1.5")]),
    "double": (sa.Double(), 0.1, [Decimal("0.1"), Decimal("0.10")]),
    "datetime": (sa.DateTime(), dt.datetime(2024, 1, 2, 3, 4, 5), []),
    "milliseconds": (mysql.DATETIME(fsp=3), dt.datetime(2024, 1, 2, 3, 4, 5, 6000), []),
    "utc": (
        UTCDateTime(),
        dt.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
        [dt.datetime(2024, 1, 2, 5, 4, 5, 6, tzinfo=dt.timezone(dt.timedelta(hours=2)))],
    ),
    "date": (sa.Date(), dt.date(2024, 1, 2), []),
    "time": (sa.Time(), dt.time(3, 4, 5), []),
    "enum": (sa.Enum(Colour), Colour.red, ["red"]),
    "text enum": (mysql.ENUM("red", "blue"), "red", ["RED", "Red"]),
    "uuid": (sa.Uuid(), uuid.UUID(int=7), []),
    "uuid text": (sa.Uuid(as_uuid=False), str(uuid.UUID(int=0xA7)), [uuid.UUID(int=0xA7).hex]),
    "binary uuid": (BinaryUUID(), uuid.UUID(int=7), []),
}

MODELS = {}
for _name, (_type, _, _) in TYPES.items():
    MODELS[_name] = type(
        f"Of{_name.title().replace(' ', '')}",
        (Versioned, Base),
        {
            "__tablename__": f"of_{_name.replace(' ', '_')}",
            "key": mapped_column("k", _type, primary_key=True, autoincrement=False),
            "n": mapped_column(sa.Integer, default=0),
        },
    )


class Pair(Versioned, Base):
    __tablename__ = "pair"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    code: Mapped[str] = mapped_column(PAD, primary_key=True)
    n: Mapped[int] = mapped_column(default=0)


class Plain(Base):
    """Without a version: the entity has to follow all the same."""

    __tablename__ = "plain"
    code: Mapped[str] = mapped_column(PAD, primary_key=True)
    n: Mapped[int] = mapped_column(default=0)


class Counted(Base):
    __tablename__ = "counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(default=0)


class Pairs(Repository[Pair]):
    pass


class Plains(Repository[Plain]):
    pass


class Counts(Repository[Counted]):
    pass


REPOSITORIES = {
    name: types.new_class(f"{model.__name__}s", (Repository[model],))
    for name, model in MODELS.items()
}
SPELLED = [(name, other) for name, (_, _, others) in TYPES.items() for other in others]


def tables(names):
    return [model.__table__ for model in (*map(MODELS.get, names), Pair, Plain, Counted)]


@pytest.fixture(scope="module")
def shared(server):
    """The name of one database for all tests here: they are many, and tables are slow to make."""
    name = f"dal_{secrets.token_hex(6)}"
    server.create_database(name)
    engine = create_engine(Settings.from_env(server.environment(name)).for_migrations())
    Base.metadata.create_all(engine)
    yield name
    server.drop_database(name)


@pytest.fixture
def admin(server, shared):
    """An administrator's connection, in autocommit: the second witness."""
    with server.connect(shared) as connection:
        yield connection


@pytest.fixture
def make(server, shared, admin):
    """Empty the tables of these types, and return a `Database` for them."""

    def make(*names):
        with admin.cursor() as cursor:
            for table in tables(names):
                cursor.execute(f"DELETE FROM {table.name}")
        return Database.from_env(server.environment(shared))

    return make


@pytest.fixture
def rows(admin):
    def select(sql):
        with admin.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    return select


def held(session, model):
    return [each for each in session.identity_map.values() if isinstance(each, model)]


class TestOneRowIsOneEntity:
    @pytest.fixture(params=SPELLED, ids=lambda pair: f"{pair[0]}: {pair[1]!r}")
    def case(self, request, make, rows):
        name, other = request.param
        db = make(name)
        model, things = MODELS[name], REPOSITORIES[name](db)
        with db.scope():
            things.add(model(key=TYPES[name][1], n=1))
        return db, model, things, TYPES[name][1], other

    def stored(self, rows, model):
        return rows(f"SELECT n, version FROM {model.__tablename__}")

    def test_for_every_verb_that_reads(self, case):
        db, model, things, key, other = case
        with db.scope() as session:
            entity = things.get_one(key)
            assert things.get(other) is entity
            assert session.get(model, other) is entity
            assert things.get_many([other]) == [entity]
            assert things.get_many([key, other]) == [entity, entity]
            with contextlib.suppress(InvalidArgument):  # a spelling that the column would not keep
                assert things.get_or_create({"key": other}) == (entity, False)
            assert held(session, model) == [entity]
            assert entity.key == key

    def test_for_an_update_which_checks_its_version_and_changes_it(self, case, rows):
        db, model, things, key, other = case
        with db.scope():
            entity = things.get_one(key)
            things.update(other, {"n": 2})
            assert (entity.n, entity.version) == (2, 2)
            entity.n = 3
        assert self.stored(rows, model) == [(3, 3)]

    def test_for_an_update_of_a_version_that_another_has_changed(self, case, rows, admin):
        db, model, things, key, other = case
        with pytest.raises(StaleVersion), db.scope():
            entity = things.get_one(key)
            with admin.cursor() as cursor:
                cursor.execute(f"UPDATE {model.__tablename__} SET n = 9, version = 2")
            things.update(other, {"n": entity.n + 1})
        assert self.stored(rows, model) == [(9, 2)]

    def test_for_a_delete_of_a_version_that_another_has_changed(self, case, rows, admin):
        db, model, things, key, other = case
        with pytest.raises(StaleVersion), db.scope():
            entity = things.get_one(key)
            with admin.cursor() as cursor:
                cursor.execute(f"UPDATE {model.__tablename__} SET n = 9, version = 2")
            assert entity.n == 1
            things.delete(other)
        assert self.stored(rows, model) == [(9, 2)]

    def test_for_a_delete_which_lets_the_entity_go(self, case, rows):
        db, model, things, key, other = case
        with db.scope() as session:
            entity = things.get_one(key)
            things.delete(other)
            assert entity not in session
            assert things.get(key) is None
        assert self.stored(rows, model) == []

    def test_for_conditions_and_upserts(self, case, rows):
        db, model, things, key, other = case
        with db.scope() as session:
            entity = things.get_one(key)
            assert things.update_where(model.key == other, changes={"n": 5}) == 1
            assert (entity.n, entity.version) == (5, 2)
            assert things.delete_where(model.key == other) == 1
            assert entity not in session
        assert self.stored(rows, model) == []

    def test_when_it_is_new_and_pending(self, make, rows):
        db = make()
        with db.scope() as session:
            plain = Plain(code="Ada", n=1)
            session.add(plain)
            Plains(db).update("ADA", {"n": 2})
            assert plain.n == 2
            assert Plains(db).get("ada") is plain
        assert rows("SELECT code, n FROM plain") == [("Ada", 2)]

    def test_when_only_a_part_of_its_key_is_spelled_otherwise(self, make, rows):
        db = make()
        with db.scope():
            pair = Pairs(db).add(Pair(number=1, code="Ada"))
            Pairs(db).update((1, "ADA"), {"n": 2})
            assert (pair.n, pair.version) == (2, 2)
            Pairs(db).update({"code": "ada ", "number": 1}, {"n": 3}, expected_version=2)
            assert (pair.n, pair.version) == (3, 3)
            with pytest.raises(NotFound):
                Pairs(db).update((2, "ADA"), {"n": 2})
            with pytest.raises(StaleVersion):
                Pairs(db).delete((1, "ada"), expected_version=2)
        assert rows("SELECT number, code, n, version FROM pair") == [(1, "Ada", 3, 3)]

    def test_after_an_upsert_by_another_spelling(self, make, rows):
        db = make()
        with db.scope():
            plain = Plains(db).add(Plain(code="Ada", n=1))
            Plains(db).upsert([{"code": "ADA", "n": 7}], key=Plain.code)
            assert plain.n == 7
        assert rows("SELECT code, n FROM plain") == [("Ada", 7)]

    def test_when_it_is_merged(self, make, rows):
        db = make()
        with db.scope() as session:
            plain = Plains(db).add(Plain(code="Ada", n=1))
            assert session.merge(Plain(code="ADA", n=5)) is plain
        assert [n for _, n in rows("SELECT code, n FROM plain")] == [5]


@pytest.mark.parametrize("name", TYPES)
def test_a_key_that_the_column_keeps_is_written_by_every_verb(make, rows, name):
    db, model, key = make(name), MODELS[name], TYPES[name][1]
    things = REPOSITORIES[name](db)
    writes = [
        lambda: things.add(model(key=key)),
        lambda: things.add_all([model(key=key)]),
        lambda: things.insert_many([{"key": key}]),
        lambda: things.upsert([{"key": key, "n": 4}], key=model.key),
        lambda: things.get_or_create({"key": key}),
        lambda: db.session.merge(model(key=key)),
        lambda: db.session.execute(sa.insert(model), [{"key": key}]),
        lambda: db.session.execute(sa.insert(model).values(key=key)),
        lambda: db.session.bulk_insert_mappings(model, [{"key": key}]),
    ]
    for write in writes:
        with db.scope():
            write()
        with db.scope() as session:
            entity = things.one(everything())
            assert entity.key == key
            assert type(entity.key) is type(key)
            assert things.get(key) is entity
            assert session.get(model, key) is entity
            assert things.get_many([key]) == [entity]
            things.update(key, {"n": 2})
            assert entity.n == 2
        assert rows(f"SELECT n FROM {model.__tablename__}") == [(2,)]
        assert things.purge_where(everything(), chunk=1) == 1


# Values that the column would round, cut, pad, or take for another one.
NOT_KEPT = [
    ("int", "7"),
    ("int", Decimal("7.4")),
    ("int", 7.5),
    ("varchar", "a" * 20 + "  "),
    ("varchar", 7),
    ("char", "Ada "),
    ("lowered", "ADA"),
    ("binary", b"A"),
    ("decimal", Decimal("1.005")),
    ("decimal", 0.1),
    ("decimal", "1.50"),
    ("as float", Decimal("1.005")),
    ("exact", "1.50"),
    ("float", 0.1234567),
    ("float", 16777217.0),
    ("float", 1234567.0),
    ("double", Decimal("0.1")),
    ("datetime", dt.datetime(2024, 1, 2, 3, 4, 5, 600000)),
    ("datetime", dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
    ("datetime", dt.date(2024, 1, 2)),
    ("milliseconds", dt.datetime(2024, 1, 2, 3, 4, 5, 600)),
    ("date", dt.datetime(2024, 1, 2, 3)),
    ("date", dt.datetime(2024, 1, 2)),
    ("date", "2024-01-02"),
    ("time", dt.time(3, 4, 5, 6)),
    ("text enum", "RED"),
    ("text enum", "1"),
    ("uuid text", uuid.UUID(int=0xA7).hex),
]


@pytest.mark.parametrize(("name", "key"), NOT_KEPT)
def test_a_key_that_the_column_would_change_is_refused_by_every_verb(make, rows, name, key):
    db, model = make(name), MODELS[name]
    things = REPOSITORIES[name](db)
    writes = [
        lambda: things.add(model(key=key)),
        lambda: things.add_all([model(key=key), model(key=TYPES[name][1])]),
        lambda: things.insert_many([{"key": key}]),
        lambda: things.upsert([{"key": key, "n": 4}], key=model.key),
        lambda: things.get_or_create({"key": key}),
        lambda: db.session.merge(model(key=key)),
        lambda: db.session.execute(sa.insert(model), [{"key": key}]),
        lambda: db.session.execute(sa.insert(model).values(key=key)),
        lambda: db.session.execute(sa.insert(model).values([{"key": key}, {"key": key}])),
        lambda: db.session.bulk_insert_mappings(model, [{"key": key}]),
    ]
    for write in writes:
        with pytest.raises(InvalidArgument), db.scope() as session:
            write()
            session.flush()
        assert rows(f"SELECT n FROM {model.__tablename__}") == []


def test_a_key_is_not_moved_to_one_that_the_column_would_change(make, rows):
    db = make("char")
    model = MODELS["char"]
    with db.scope() as session:
        session.add(model(key="Ada"))
    with pytest.raises(InvalidArgument, match="CHAR"), db.scope() as session:
        session.get(model, "Ada").key = "Bob "
    assert rows("SELECT k FROM of_char") == [("Ada",)]


@pytest.mark.parametrize(
    "zero", [0, False, "0", "0.0", Decimal(0), 0.0, Decimal("0.3"), 0.4, "0.4", sa.literal(0)]
)
def test_zero_is_refused_where_the_server_counts_up(make, rows, zero):
    db = make()
    writes = [
        lambda: Counts(db).add(Counted(id=zero)),
        lambda: Counts(db).add_all([Counted(id=zero), Counted(id=5), Counted(id=6)]),
        lambda: Counts(db).insert_many([{"id": zero}]),
        lambda: Counts(db).insert_many([{"id": 5}, {"id": zero}]),
        lambda: Counts(db).upsert([{"id": zero, "n": 1}], key=Counted.id),
        lambda: Counts(db).get_or_create({"id": zero}),
        lambda: db.session.add(Counted(id=zero)),
        lambda: db.session.merge(Counted(id=zero)),
        lambda: db.session.execute(sa.insert(Counted), [{"id": zero}]),
        lambda: db.session.execute(sa.insert(Counted).values(id=zero)),
        lambda: db.session.execute(sa.insert(Counted).values([{"id": 5}, {"id": zero}])),
        lambda: db.session.execute(sa.insert(Counted.__table__), [{"id": 5}, {"id": zero}]),
        lambda: db.session.bulk_insert_mappings(Counted, [{"id": zero}]),
        lambda: db.session.bulk_save_objects([Counted(id=zero)]),
        lambda: db.session.execute(mysql.insert(Counted).values(id=zero).prefix_with("IGNORE")),
    ]
    for write in writes:
        if isinstance(zero, sa.ClauseElement) and write in writes[7:]:
            continue  # not for merge, which looks for the key, nor for lists of rows
        with pytest.raises(InvalidArgument), db.scope() as session:
            write()
            session.flush()
        assert rows("SELECT id FROM counted") == []


def test_none_and_other_numbers_are_keys_where_the_server_counts_up(make, rows):
    db = make()
    with db.scope():
        counted = Counts(db).add(Counted(id=None)).id
        assert Counts(db).add(Counted(id=-3)).id == -3
        Counts(db).insert_many([{"id": counted + 7}, {"id": counted + 8}])
        db.session.execute(sa.update(Counted).where(Counted.id == -3).values(id=0))
    ids = [0, counted, counted + 7, counted + 8]
    assert rows("SELECT id FROM counted ORDER BY id") == [(each,) for each in ids]


class TestPurging:
    @pytest.mark.parametrize("chunk", [1, 2, 5])
    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("float", ["0.1", "0.2", "16777217", "1.5"]),
            ("double", ["0.1", "0.2", "1e300", "1.5"]),
            ("text enum", ["'blue'", "'red'"]),
            ("enum", ["'blue'", "'red'"]),
            ("as float", ["0.1", "0.2", "1.25"]),
            ("varchar", ["'Ada'", "'bob'", "'Zoe'", "'é'"]),
            ("char", ["'a'", "'B'", "'c'"]),
            ("binary", ["'a'", "'b'"]),
            ("decimal", ["1.5", "2.25"]),
            ("milliseconds", ["'2024-01-01 00:00:00.123'", "'2024-01-01'"]),
            ("time", ["'03:04:05'", "'01:00:00'"]),
        ],
    )
    def test_deletes_all_that_fit_and_nothing_else(self, make, admin, name, values, chunk):
        db = make(name)
        model, table = MODELS[name], MODELS[name].__tablename__
        with admin.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} (k, n) VALUES "
                + ", ".join(f"({value}, {n})" for n, value in enumerate(values))
            )
        things = REPOSITORIES[name](db)
        assert things.purge_where(model.n > 0, chunk=chunk) == len(values) - 1
        with admin.cursor() as cursor:
            cursor.execute(f"SELECT n FROM {table}")
            assert cursor.fetchall() == ((0,),)

    def test_follows_to_rows_that_a_float_does_not_find(self, make, admin, rows):
        """A FLOAT of 0.1 equals no 0.1, and its entity is told of a change all the same."""
        db = make("float")
        model = MODELS["float"]
        with admin.cursor() as cursor:
            cursor.execute("INSERT INTO of_float (k, n) VALUES (0.1, 1), (1.5, 1)")
        with db.scope():
            one, two = REPOSITORIES["float"](db).find(everything(), order_by=model.key)
            REPOSITORIES["float"](db).update_where(model.n == 1, changes={"n": 2})
            assert (one.n, two.n) == (2, 2)


class TestVersionsOfText:
    @pytest.fixture
    def model(self):
        class Versions(DeclarativeBase):
            pass

        class Letter(Versions):
            __tablename__ = "letter"
            id: Mapped[int] = mapped_column(primary_key=True)
            n: Mapped[int] = mapped_column(default=0)
            version: Mapped[str] = mapped_column(PAD)
            __mapper_args__ = {
                "version_id_col": version,
                "version_id_generator": lambda old: (old or "") + "a",
            }

        return Letter

    @pytest.fixture
    def letters(self, model, server, shared, rows):
        environment = server.environment(shared)
        model.metadata.create_all(create_engine(Settings.from_env(environment).for_migrations()))
        rows("DELETE FROM letter")
        db = Database.from_env(environment)
        things = types.new_class("Letters", (Repository[model],))(db)
        with db.scope():
            things.add(model(id=1))
        return db, things

    def test_of_another_spelling_are_others(self, letters, rows):
        db, things = letters
        for other in ("A", "á", "a "):
            with pytest.raises(StaleVersion), db.scope():
                things.update(1, {"n": 2}, expected_version=other)
            with pytest.raises(StaleVersion), db.scope():
                things.delete(1, expected_version=other)
        with db.scope():
            things.update(1, {"n": 2}, expected_version="a")
        assert rows("SELECT n, version FROM letter") == [(2, "aa")]

    @pytest.mark.parametrize("other", [0, 1, True, b"a", sa.text("version"), 0.0])
    def test_are_never_compared_with_anything_else(self, letters, rows, other):
        db, things = letters
        with pytest.raises(InvalidArgument, match="expected_version"), db.scope():
            things.update(1, {"n": 2}, expected_version=other)
        assert rows("SELECT n, version FROM letter") == [(0, "a")]
