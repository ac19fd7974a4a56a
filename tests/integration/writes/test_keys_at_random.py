"""Keys at random: the server is asked which are equal, and the session has to agree."""

import contextlib
import datetime as dt
import secrets
import types
import unicodedata

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, mapped_column

from dal import Database, Error, InvalidArgument, NotFound, Repository, StaleVersion, everything
from dal.engine import Settings, create_engine
from dal.model import Versioned

FEW = settings(
    max_examples=12,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Base(DeclarativeBase):
    """Of its own: other tests need not create these tables."""


TEXTS = {
    f"{kind.__name__} {collation}": kind(12, collation=collation)
    for kind in (sa.String, sa.CHAR)
    for collation in ("utf8mb4_general_ci", "utf8mb4_unicode_ci", "utf8mb4_bin")
}
POINTS = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2030, 1, 1))
NUMBERS = st.floats(-1e6, 1e6) | st.integers(-99, 99).map(float) | st.floats(width=32)
DECIMALS = st.decimals(-99, 99, places=1) | st.decimals(-99, 99, places=3)
OTHERS = {
    "decimal": (sa.Numeric(6, 2), DECIMALS | st.integers(-9, 9)),
    "decimal as float": (sa.Numeric(6, 2, asdecimal=False), NUMBERS | DECIMALS),
    "float": (sa.Float(), NUMBERS),
    "double": (sa.Double(), NUMBERS | DECIMALS),
    "double of MySQL": (mysql.DOUBLE(), DECIMALS),
    "integer": (sa.Integer(), st.integers(-99, 99) | DECIMALS | st.sampled_from(["7", "08"])),
    "datetime": (sa.DateTime(), POINTS | POINTS.map(lambda each: each.replace(microsecond=0))),
    "milliseconds": (
        mysql.DATETIME(fsp=3),
        POINTS | POINTS.map(lambda each: each.replace(microsecond=250_000)) | st.dates(),
    ),
    "date": (sa.Date(), st.dates(dt.date(1990, 1, 1)) | POINTS),
    "time": (sa.Time(), st.times() | st.times().map(lambda each: each.replace(microsecond=0))),
    "bytes": (sa.VARBINARY(6), st.binary(max_size=6)),
    "padded bytes": (sa.BINARY(4), st.binary(max_size=4)),
    "enum": (mysql.ENUM("red", "Blue"), st.sampled_from(["red", "RED", "blue", "Blue", "1", ""])),
}
COLUMNS = TEXTS | {name: kind for name, (kind, _) in OTHERS.items()}
MODELS = {
    name: type(
        f"At{place}",
        (Versioned, Base),
        {
            "__tablename__": f"at_{place}",
            "key": mapped_column("k", kind, primary_key=True, autoincrement=False),
            "n": mapped_column(sa.Integer, default=0),
        },
    )
    for place, (name, kind) in enumerate(COLUMNS.items())
}
REPOSITORIES = {
    name: types.new_class(f"{model.__name__}s", (Repository[model],))
    for name, model in MODELS.items()
}

PLAIN = st.text("aAäÄbBßsé ", min_size=1, max_size=6)
SPELLINGS = st.sampled_from(
    [
        str.upper,
        str.lower,
        str.swapcase,
        lambda text: text + "  ",
        str.rstrip,
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: text.replace("a", "á"),
        lambda text: text.replace("ß", "ss"),
        lambda text: text + "b",
    ]
)


@pytest.fixture(scope="module")
def place(server):
    """A database for all tests here, and an administrator's connection to it."""
    name = f"dal_{secrets.token_hex(6)}"
    server.create_database(name)
    environment = server.environment(name)
    Base.metadata.create_all(create_engine(Settings.from_env(environment).for_migrations()))
    with server.connect(name) as connection:
        yield Database.from_env(environment), connection
    server.drop_database(name)


def run(connection, sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall()


@pytest.mark.parametrize("name", TEXTS)
@FEW
@given(key=PLAIN, spell=SPELLINGS)
def test_an_entity_is_found_by_what_the_server_calls_equal(place, name, key, spell):
    (db, admin), model, other = place, MODELS[name], spell(key)
    things, table = REPOSITORIES[name](db), model.__tablename__
    run(admin, f"DELETE FROM {table}")
    with contextlib.suppress(Error), db.scope():
        things.add(model(key=key, n=1))
    if not run(admin, f"SELECT 1 FROM {table}"):
        assert isinstance(COLUMNS[name], sa.CHAR)
        assert key.endswith(" ")
        return
    is_equal = bool(run(admin, f"SELECT 1 FROM {table} WHERE k = %s", other))
    with db.scope() as session:
        entity = things.get_one(key)
        assert things.get(other) is (entity if is_equal else None)
        assert session.get(model, other) is (entity if is_equal else None)
        if not is_equal:
            with pytest.raises(NotFound):
                things.update(other, {"n": 2})
            with pytest.raises(NotFound):
                things.get_many([key, other])
            assert (entity.n, entity.version) == (1, 1)
            return
        assert things.get_many([other, key]) == [entity, entity]
        with contextlib.suppress(InvalidArgument):  # a spelling that the column would not keep
            assert things.get_or_create({"key": other}) == (entity, False)
        things.update(other, {"n": 2})
        assert (entity.n, entity.version) == (2, 2)
        assert things.update_where(model.key == other, changes={"n": 3}) == 1
        assert (entity.n, entity.version) == (3, 3)
        assert [each for each in session.identity_map.values()] == [entity]  # noqa: C416
    assert run(admin, f"SELECT n, version FROM {table}") == ((3, 3),)
    for verb in (lambda: things.update(other, {"n": 9}), lambda: things.delete(other)):
        with pytest.raises(StaleVersion), db.scope():
            entity = things.get_one(key)
            run(admin, f"UPDATE {table} SET version = version + 1")
            verb()
    with db.scope() as session:
        entity = things.get_one(key)
        things.delete(other)
        assert entity not in session
    assert run(admin, f"SELECT n FROM {table}") == ()


@pytest.mark.parametrize("name", OTHERS)
@FEW
@given(data=st.data())
def test_a_key_is_what_is_read_back_or_it_is_refused(place, name, data):
    (db, admin), model = place, MODELS[name]
    things, table = REPOSITORIES[name](db), model.__tablename__
    key = data.draw(OTHERS[name][1], label="key")
    verb = data.draw(
        st.sampled_from(
            [
                lambda: things.add(model(key=key, n=1)),
                lambda: things.insert_many([{"key": key, "n": 1}]),
                lambda: things.upsert([{"key": key, "n": 1}], key=model.key),
                lambda: things.get_or_create({"key": key}, defaults={"n": 1}),
                lambda: db.session.merge(model(key=key, n=1)),
                lambda: db.session.execute(sa.insert(model).values(key=key, n=1)),
            ]
        ),
        label="verb",
    )
    run(admin, f"DELETE FROM {table}")
    with contextlib.suppress(Error, sa.exc.StatementError), db.scope():
        verb()
    if not run(admin, f"SELECT 1 FROM {table}"):
        return
    with db.scope() as session:
        entity = things.one(everything())
        assert entity.key == key
        assert things.get(key) is entity
        assert things.get_many([key]) == [entity]
        assert things.get_or_create({"key": key}) == (entity, False)
        things.update(key, {"n": 2})
        assert (entity.n, entity.version) == (2, 2)
        entity.n = 3
        session.flush()
        assert things.upsert([{"key": key, "n": 4}], key=model.key).rows == 1
        assert entity.n == 4
        assert [each for each in session.identity_map.values()] == [entity]  # noqa: C416
        session.expunge(entity)
    assert [row[0] for row in run(admin, f"SELECT n FROM {table}")] == [4]
    assert things.purge_where(model.n == 4, chunk=1) == 1
