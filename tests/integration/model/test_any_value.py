"""Any value into any column by any way: it comes back and is found the same, or is refused.

`DAL_TEST_VALUES` is how many are tried, `DAL_TEST_SEED` the seed, which is printed.
"""

import datetime as dt
import math
import os
import random
import secrets
import types
import uuid
from decimal import Decimal

import pytest
import sqlalchemy as sa
from columns import COLUMNS, PLUS_TWO, Colour, Level, Lower
from hypothesis import HealthCheck, event, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, mapped_column

from dal import Database, DataTooLong, InvalidArgument, OutOfRange, Repository, everything
from dal.engine import Settings, create_engine

NUMBER = int(os.environ.get("DAL_TEST_VALUES", "150"))
SEED = int(os.environ.get("DAL_TEST_SEED", random.randrange(2**32)))

pytestmark = pytest.mark.filterwarnings("ignore:Type object")


class Base(DeclarativeBase):
    pass


def repository_of(number):
    attributes = {
        "__tablename__": f"any_{number}",
        "id": mapped_column(sa.Integer, primary_key=True, autoincrement=False),
        "value": mapped_column(COLUMNS[number].type),
    }
    model = type(f"Any{number}", (Base,), attributes)
    return types.new_class(f"Anys{number}", (Repository[model],)), model


REPOSITORIES = [repository_of(number) for number in range(len(COLUMNS))]


def whole_seconds(times):
    return times | times.map(lambda at: at.replace(microsecond=0))


naive = st.datetimes(dt.datetime(1000, 1, 2), dt.datetime(9999, 12, 30)) | st.datetimes(
    dt.datetime(1970, 1, 2), dt.datetime(2038, 1, 1)
)
#: By the types of what columns.py says that a column keeps.
VALUES = {
    int: st.integers(-300, 300) | st.integers(1895, 2160) | st.integers(-(2**70), 2**70),
    bool: st.booleans(),
    float: st.floats(width=64)
    | st.floats(width=32)
    | st.floats(-1000, 1000).map(lambda number: round(number, 2))
    | st.integers(-(10**7), 10**7).map(float),
    Decimal: st.decimals(-(10**9), 10**9, places=2)
    | st.decimals(-10, 10, places=30)
    | st.decimals(allow_nan=True),
    str: st.text("aA1 äß\x00\u0301\ud800\U0001f600'\\", max_size=6)
    | st.text(max_size=25)
    | st.sampled_from(["a", "b", "A", "a,b", "RED", "1", "", " ", "0000-00-00"])
    | st.uuids().map(str),
    bytes: st.binary(max_size=25) | st.binary(min_size=4, max_size=4),
    dt.datetime: whole_seconds(naive)
    | st.datetimes(dt.datetime(1000, 1, 2), dt.datetime(9999, 12, 30), timezones=st.just(PLUS_TWO)),
    dt.date: st.dates(),
    dt.time: whole_seconds(st.times()),
    dt.timedelta: st.integers(-(839 * 3600), 839 * 3600).map(lambda s: dt.timedelta(seconds=s))
    | st.timedeltas(dt.timedelta(days=-40), dt.timedelta(days=40)),
    uuid.UUID: st.uuids(),
    set: st.sets(st.sampled_from("abc")),
    Colour: st.sampled_from(Colour),
    object: st.sampled_from([Level.LOW, ["a"], {"a": 1}, object(), ("a",), None]),
}
ANY = st.one_of(*VALUES.values())


@st.composite
def cases(draw):
    number = draw(st.integers(0, len(COLUMNS) - 1))
    kinds = [kind for kind in map(type, COLUMNS[number].kept) if kind in VALUES]
    likely = st.one_of(*(VALUES[kind] for kind in dict.fromkeys(kinds)))
    value = draw(likely if draw(st.integers(0, 3)) else ANY)
    return number, value, draw(st.sampled_from(sorted(WAYS)))


def _changed(things, model, value):
    things.get_one(0).value = value
    things.session.flush()


#: Each writes the row 1, or changes the row 0 that is there.
WAYS = {
    "add": lambda things, model, value: things.add(model(id=1, value=value)),
    "add_all": lambda things, model, value: things.add_all(
        [model(id=n, value=value) for n in (1, 2, 3)]
    ),
    "insert_many": lambda things, model, value: things.insert_many([{"id": 1, "value": value}]),
    "upsert": lambda things, model, value: things.upsert([{"id": 0, "value": value}], key=model.id),
    "update": lambda things, model, value: things.update(0, {"value": value}),
    "update_where": lambda things, model, value: things.update_where(
        model.id == 0, changes={"value": value}
    ),
    "flush": _changed,
    "execute": lambda things, model, value: things.session.execute(
        sa.insert(model), [{"id": 1, "value": value}]
    ),
    "values": lambda things, model, value: things.session.execute(
        sa.update(model).where(model.id == 0).values(value=value)
    ),
}


@pytest.fixture(scope="module")
def db(server):
    name = f"dal_{secrets.token_hex(6)}"
    server.create_database(name)
    environment = server.environment(name)
    Base.metadata.create_all(create_engine(Settings.from_env(environment).for_migrations()))
    yield Database.from_env(environment, pool="warm")
    server.drop_database(name)


def same(found, value, column, *, keeps_sign_of_zero=True):
    if isinstance(column.type, Lower):
        return found == value.lower()
    if value is None or found is None:
        return found is value
    if isinstance(value, float) or isinstance(found, float):
        is_signed = isinstance(found, float) and isinstance(column.type, sa.Float)  # -0.0
        is_signed &= keeps_sign_of_zero
        signs = {math.copysign(1, found), math.copysign(1, value)}
        return float(found) == float(value) and (len(signs) == 1 or not is_signed)
    return found == value


@settings(
    max_examples=NUMBER,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@seed(SEED)
@given(cases())
def test_any_value_comes_back_and_is_found_or_is_refused(db, case):
    number, value, way = case
    column, (kind, model) = COLUMNS[number], REPOSITORIES[number]
    things = kind(db)
    note = f"{way} of {value!r} into {column.type!r}; DAL_TEST_SEED={SEED}"
    with db.scope() as session:
        things.insert_many([{"id": 0, "value": None}])
        try:
            with db.savepoint():
                WAYS[way](things, model, value)
        except InvalidArgument:
            assert things.count(model.value.is_not(None)) == 0, note
            event("refused")
            db.rollback_only()
            return
        except (DataTooLong, OutOfRange, sa.exc.DataError, sa.exc.OperationalError):
            event("refused by the server")
            db.rollback_only()
            return
        event("stored")
        session.expire_all()
        found = things.find(model.id == (0 if things.count() == 1 else 1))[0].value
        is_mysql = not session.connection().dialect.is_mariadb  # which makes 0 of -0.0
        is_same = same(found, value, column, keeps_sign_of_zero=is_mysql)
        assert is_same, f"{found!r} comes of {note}"
        assert [row["value"] for row in things.rows(model.value, where=everything())][-1] == found
        wrote = 3 if way == "add_all" else 1
        if column.found and value is not None:
            assert things.count(model.value == value) == wrote, note
            assert things.count(model.value.in_([value])) == wrote, note
            assert things.count(model.value.between(found, found)) == wrote, note
        last = things.find(everything())[-1]
        again = things.upsert([{"id": last.id, "value": found}], key=model.id)
        assert again.changed == 0, note
        if column.ordered:
            walked, token = [], None
            for _ in range(4):
                page = things.page(limit=1, order_by=model.value.desc(), after=token)
                walked += [each.id for each in page.items]
                token = page.next_token
                if token is None:
                    break
            assert sorted(walked) == sorted(each.id for each in things.find(everything())), note
        db.rollback_only()


def test_says_its_seed(tell):
    tell(f"values: DAL_TEST_SEED={SEED}")
