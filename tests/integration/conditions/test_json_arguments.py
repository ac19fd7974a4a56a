"""Whatever JSON a caller sends, in whichever argument: a right answer, or an error of dal."""

import datetime as dt
import inspect
import math

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import dal
from dal import Database, InvalidArgument, Repository, everything
from dal.engine import Settings, create_engine


class Base(DeclarativeBase):
    """Of its own: other tests need not create these tables."""


class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(sa.String(20), unique=True)
    size: Mapped[int] = mapped_column(default=0)
    weight: Mapped[float] = mapped_column(default=0.5)
    active: Mapped[bool] = mapped_column(default=True)
    made_at: Mapped[dt.datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    __mapper_args__ = {"version_id_col": version}


class Things(Repository[Thing]):
    pass


TOKENS = ["a", "b", "0", "1", "1x", ""]
COLUMNS = ["id", "token", "size", "weight", "active", "made_at"]

JSON = [
    None,
    True,
    False,
    *(0, 1, -1, 10**30),
    *(0.0, 1.5, math.nan, math.inf),
    *("", "0", "1", "1x", "a", "update", "x" * 300),
    *([], [0], [[0]], ["a"], [None], [1, "a"], [{"id": 1}]),
    *(
        {},
        {"id": 1},
        {"token": "a"},
        {"token": 0},
        {"token": ["a"]},
        {"": {"$ne": None}},
        {"id": {}},
    ),
]

# Every argument of every public method, one call for each; `value` is what the caller sends.
CALLS = {
    "get identity": lambda things, value: things.get(value),
    "get options": lambda things, value: things.get(1, options=value),
    "get lock": lambda things, value: things.get(1, lock=value),
    "get_one identity": lambda things, value: things.get_one(value),
    "get_one options": lambda things, value: things.get_one(1, options=value),
    "get_one lock": lambda things, value: things.get_one(1, lock=value),
    "get_many identities": lambda things, value: things.get_many(value),
    "get_many one": lambda things, value: things.get_many([value]),
    "get_many options": lambda things, value: things.get_many([1], options=value),
    "get_many lock": lambda things, value: things.get_many([1], lock=value),
    "one where": lambda things, value: things.one(value),
    "one options": lambda things, value: things.one(Thing.id == 1, options=value),
    "one lock": lambda things, value: things.one(Thing.id == 1, lock=value),
    "one_or_none where": lambda things, value: things.one_or_none(value),
    "one_or_none options": lambda things, value: things.one_or_none(Thing.id == 1, options=value),
    "one_or_none lock": lambda things, value: things.one_or_none(Thing.id == 1, lock=value),
    "first where": lambda things, value: things.first(value, order_by=Thing.id),
    "first order_by": lambda things, value: things.first(order_by=value),
    "first options": lambda things, value: things.first(order_by=Thing.id, options=value),
    "first lock": lambda things, value: things.first(order_by=Thing.id, lock=value),
    "find where": lambda things, value: things.find(value),
    "find order_by": lambda things, value: things.find(limit=1, order_by=value),
    "find limit": lambda things, value: things.find(everything(), limit=value),
    "find options": lambda things, value: things.find(limit=1, options=value),
    "find lock": lambda things, value: things.find(limit=1, lock=value),
    "exists where": lambda things, value: things.exists(value),
    "count where": lambda things, value: things.count(value),
    "rows columns": lambda things, value: things.rows(value, limit=1),
    "rows where": lambda things, value: things.rows(Thing.id, where=value),
    "rows order_by": lambda things, value: things.rows(Thing.id, limit=1, order_by=value),
    "rows limit": lambda things, value: things.rows(Thing.id, where=everything(), limit=value),
    "page where": lambda things, value: things.page(value, limit=1),
    "page limit": lambda things, value: things.page(limit=value),
    "page order_by": lambda things, value: things.page(limit=1, order_by=value),
    "page after": lambda things, value: things.page(limit=1, after=value),
    "page before": lambda things, value: things.page(limit=1, before=value),
    "page options": lambda things, value: things.page(limit=1, options=value),
    "stream where": lambda things, value: list(things.stream(value)),
    "stream chunk": lambda things, value: list(things.stream(chunk=value)),
    "stream options": lambda things, value: list(things.stream(options=value)),
    "claim where": lambda things, value: things.claim(value, limit=1),
    "claim limit": lambda things, value: things.claim(limit=value),
    "claim order_by": lambda things, value: things.claim(limit=1, order_by=value),
    "add row": lambda things, value: things.add(value),
    "add_all rows": lambda things, value: things.add_all(value),
    "add_all one": lambda things, value: things.add_all([value]),
    "insert_many rows": lambda things, value: things.insert_many(value),
    "insert_many one": lambda things, value: things.insert_many([value]),
    "update identity": lambda things, value: things.update(value, {"size": 7}),
    "update changes": lambda things, value: things.update(1, value),
    "update expected_version": lambda things, value: things.update(
        1, {"size": 7}, expected_version=value
    ),
    "update_where where": lambda things, value: things.update_where(value, changes={"size": 7}),
    "update_where changes": lambda things, value: things.update_where(Thing.id == 1, changes=value),
    "delete identity": lambda things, value: things.delete(value),
    "delete expected_version": lambda things, value: things.delete(1, expected_version=value),
    "delete_where where": lambda things, value: things.delete_where(value),
    "upsert rows": lambda things, value: things.upsert(value, key=Thing.token),
    "upsert one": lambda things, value: things.upsert([value], key=Thing.token),
    "upsert key": lambda things, value: things.upsert([{"token": "n"}], key=value),
    "upsert update": lambda things, value: things.upsert(
        [{"token": "n"}], key=Thing.token, update=value
    ),
    "get_or_create key": lambda things, value: things.get_or_create(value),
    "get_or_create defaults": lambda things, value: things.get_or_create(
        {"token": "n"}, defaults=value
    ),
    **{
        f"{verb} {column}": call
        for column in COLUMNS
        for verb, call in {
            "insert": lambda things, value, column=column: things.insert_many(
                [{"token": "n", column: value}]
            ),
            "change": lambda things, value, column=column: things.update(1, {column: value}),
            "upsert": lambda things, value, column=column: things.upsert(
                [{"token": "n", column: value}], key=Thing.token
            ),
            "create": lambda things, value, column=column: things.get_or_create(
                {"token": "n"} | {column: value}
            ),
            "default": lambda things, value, column=column: things.get_or_create(
                {"token": "n"}, defaults={column: value}
            ),
        }.items()
    },
}
OUTSIDE = {
    "purge_where where": lambda things, value: things.purge_where(value),
    "purge_where chunk": lambda things, value: things.purge_where(Thing.id > 99, chunk=value),
    "source": lambda things, value: Things(value),
}


@pytest.fixture
def db(environment):
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add_all(Thing(id=n, token=token, size=n) for n, token in enumerate(TOKENS, 1))
        session.commit()
    return Database.from_env(environment)


def outcome(call, things, value):
    """What is wrong about a call, or None."""
    try:
        call(things, value)
    except dal.errors.Error as error:
        named = isinstance(value, str) and len(value) > 9 and value in str(error)
        return f"shows the value: {error}" if named else None
    except Exception as error:  # noqa: BLE001  # what is looked for
        return f"{type(error).__name__}: {error}"
    return None


def test_every_argument_of_every_method_is_called():
    methods = {
        name: inspect.signature(method)
        for name, method in inspect.getmembers(Repository, inspect.isfunction)
        if not name.startswith("_")
    }
    arguments = {
        f"{name} {argument}"
        for name, signature in methods.items()
        for argument in signature.parameters
        if argument != "self"
    }
    assert arguments <= CALLS.keys() | OUTSIDE.keys()


@pytest.mark.parametrize("call", CALLS)
def test_an_argument_of_any_json_is_answered_or_refused_by_name(db, call):
    wrong = {}
    for value in JSON:
        try:
            with db.scope():
                db.rollback_only()
                found = outcome(CALLS[call], Things(db), value)
        except dal.errors.Error:
            found = None
        if found:
            wrong[repr(value)] = found
    assert wrong == {}


def test_so_it_is_outside_a_scope(db, admin):
    wrong = {
        (call, repr(value)): found
        for call, make in OUTSIDE.items()
        for value in JSON
        if (found := outcome(make, Things(db), value))
    }
    assert wrong == {}
    with admin.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM thing")
        assert cursor.fetchone() == (len(TOKENS),)


FORMS = {
    "=": lambda column, value: column == value,
    "IN": lambda column, value: column.in_([value]),
    "IN two": lambda column, value: column.in_([value, value]),
    "coalesce": lambda column, value: sa.func.coalesce(column, column) == value,
    "case": lambda column, value: sa.case((column == value, 1), else_=0) == 1,
    "not <>": lambda column, value: ~(column != value),
    "BETWEEN": lambda column, value: column.between(value, value),
    "tuple": lambda column, value: sa.tuple_(column, Thing.id).in_([(value, n) for n in range(9)]),
    "subquery": lambda column, value: Thing.id.in_(sa.select(Thing.id).where(column == value)),
    "EXISTS": lambda column, value: sa.exists(
        sa.select(sa.literal(1)).where(column == value).correlate(Thing.__table__)
    ),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_equals_json_where_python_says_so_or_it_is_refused(db, name):
    things = Things(db)
    column = getattr(Thing, name)
    with db.scope():
        stored = things.rows(column.label("value"), where=everything())
    for value in JSON:
        wanted = sum(row["value"] == value for row in stored if row["value"] is not None)
        for form, make in FORMS.items():
            with db.scope():
                try:
                    condition = make(column, value)
                except sa.exc.ArgumentError:  # SQLAlchemy's own, before dal sees it
                    continue
                is_null = value is None and form not in {"IN", "IN two", "BETWEEN", "tuple"}
                try:
                    found = things.count(condition)
                except InvalidArgument:
                    continue
                expected = len(stored) - sum(r["value"] is not None for r in stored)
                assert found == (expected if is_null else wanted), (form, value)
