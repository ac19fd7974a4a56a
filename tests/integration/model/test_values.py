"""A value that goes in comes out the same, is found and paged the same, or is refused."""

import dataclasses
import datetime as dt
import enum
import functools
import json
import math
import re
import secrets
import types
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from columns import AWARE, COLUMNS, NOON, Level, Lower, Name, Plain
from sqlalchemy import orm
from sqlalchemy.orm import DeclarativeBase, mapped_column

from dal import Database, InvalidArgument, InvalidCursor, Repository, UnreadableValue, everything
from dal.engine import Settings, create_engine
from dal.model import UTCDateTime

# SQLAlchemy has forgotten to say which operators BIT and YEAR have.
pytestmark = pytest.mark.filterwarnings("ignore:Type object")


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "document"
    id = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    data = mapped_column(sa.JSON)


class Documents(Repository[Document]):
    pass


@functools.cache
def repository_of(number):
    attributes = {
        "__tablename__": f"thing_{number}",
        "__annotations__": {},
        "id": mapped_column(sa.Integer, primary_key=True, autoincrement=False),
        "value": mapped_column(COLUMNS[number].type),
    }
    model = type(f"Thing{number}", (Base,), attributes)
    return types.new_class(f"Things{number}", (Repository[model],)), model


for _number in range(len(COLUMNS)):
    repository_of(_number)


@pytest.fixture(scope="module")
def place(server):
    """A database of this module's own with a table for each column, and a second witness."""
    name = f"dal_{secrets.token_hex(6)}"
    server.create_database(name)
    environment = server.environment(name)
    Base.metadata.create_all(create_engine(Settings.from_env(environment).for_migrations()))
    with server.connect(name) as witness:
        yield Database.from_env(environment), witness
    server.drop_database(name)


@pytest.fixture(params=range(len(COLUMNS)), ids=lambda number: repr(COLUMNS[number].type))
def column(request, place):
    db, witness = place
    kind, model = repository_of(request.param)
    yield COLUMNS[request.param], db, kind(db), model, witness
    with witness.cursor() as cursor:
        cursor.execute(f"DELETE FROM {model.__tablename__}")


def writes(things, model, value, *, ids=range(1, 100)):
    """Every way in; each writes one row."""
    ids = iter(ids)
    session = things.session

    def first(write):
        number = next(ids)
        session.execute(sa.text(f"INSERT INTO {model.__tablename__} (id) VALUES ({number})"))
        return write(number)

    def changed(number):
        things.get_one(number).value = value
        session.flush()

    table = model.__table__
    return {
        "add": lambda: things.add(model(id=next(ids), value=value)),
        "add_all": lambda: things.add_all([model(id=next(ids), value=value) for _ in range(3)]),
        "insert_many": lambda: things.insert_many([{"id": next(ids), "value": value}]),
        "upsert": lambda: things.upsert([{"id": next(ids), "value": value}], key=model.id),
        "get_or_create": lambda: things.get_or_create({"id": next(ids)}, defaults={"value": value}),
        "update": lambda: first(lambda number: things.update(number, {"value": value})),
        "update_where": lambda: first(
            lambda number: things.update_where(model.id == number, changes={"value": value})
        ),
        "flush": lambda: first(changed),
        "ORM insert": lambda: session.execute(
            sa.insert(model), [{"id": next(ids), "value": value}]
        ),
        "ORM update": lambda: first(
            lambda number: session.execute(
                sa.update(model).where(model.id == number).values(value=value)
            )
        ),
        "Core insert": lambda: session.execute(table.insert().values(id=next(ids), value=value)),
        "Core insert of many": lambda: session.execute(
            table.insert(), [{"id": next(ids), "value": value}, {"id": next(ids), "value": value}]
        ),
    }


WAYS = tuple(writes(type("", (), {"session": None}), type("", (), {"__table__": None}), None))


def same(found, value):
    if isinstance(value, enum.Enum) and not isinstance(found, enum.Enum):
        value = value.value
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    if isinstance(value, float) or isinstance(found, float):  # as it is written, in digits
        return float(found) == float(value)
    return found == value


def test_what_is_kept_comes_back_and_is_found_whoever_wrote_it(column):
    case, db, things, model, _ = column
    for value in case.kept:
        with db.scope() as session:
            things.delete_where(everything())
            for write in writes(things, model, value).values():
                write()
            session.expire_all()
            found = {
                "find": [each.value for each in things.find(everything())],
                "get": [things.get(1).value],
                "rows": [row["value"] for row in things.rows(model.value, where=everything())],
                "stream": [each.value for each in things.stream(chunk=5)],
                "execute": list(session.scalars(sa.select(model.value))),
            }
            for way, values in found.items():
                assert values, way
                assert all(same(each, value) for each in values), way
            number = len(found["rows"])
            if case.found:
                assert things.count(model.value == value) == number
                assert things.count(model.value.in_([value])) == number
                assert things.count(model.value.between(value, value)) == number
                assert things.count(model.value == found["find"][0]) == number


def test_what_is_refused_is_refused_whoever_writes_it_and_nothing_is_stored(column):
    case, db, things, model, witness = column
    with db.scope():
        for value in case.refused:
            for way in WAYS:
                with pytest.raises(InvalidArgument) as refused, db.savepoint():
                    writes(things, model, value)[way]()
                    pytest.fail(f"{way} takes {value!r}")
                assert len(repr(value)) < 5 or repr(value) not in str(refused.value)
        assert things.count() == 0
    with witness.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {model.__tablename__} WHERE value IS NOT NULL")
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (sa.DateTime(), "0000-00-00 00:00:00"),
        (sa.DateTime(), "2026-00-00 00:00:00"),
        (sa.TIMESTAMP(), "0000-00-00 00:00:00"),
        (sa.Date(), "0000-00-00"),
        (sa.Date(), "2026-02-00"),
        (UTCDateTime(), "0000-00-00 00:00:00"),
        (sa.Enum("a", "b"), ""),
        (sa.Enum("a", "b", native_enum=False), "c"),
        (sa.Uuid(), "x"),
    ],
    ids=str,
)
def test_what_python_has_no_value_for_is_an_error_that_names_the_column(place, kind, stored):
    db, witness = place
    table = sa.Table("strange", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    table.append_column(sa.Column("value", kind))
    model = type("Strange", (), {})
    orm.registry().map_imperatively(model, table)
    things = types.new_class("Stranges", (Repository[model],))(db)
    table.create(create_engine(db.settings.for_migrations()))
    try:
        with witness.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = ''")
            cursor.execute("INSERT INTO strange VALUES (1, %s), (2, NULL)", (stored,))
        for read in (
            lambda: things.get(1),
            lambda: things.find(everything()),
            lambda: things.rows(model.value, where=everything()),
            lambda: list(things.stream()),
            lambda: things.page(limit=1, order_by=model.value.desc()),
            lambda: db.session.execute(sa.select(table)).all(),
        ):
            with db.scope(read_only=True):
                with pytest.raises(UnreadableValue, match="value") as error:
                    read()
                assert len(stored) < 5 or stored == "0000-00-00" or stored not in str(error.value)
                assert "value" in error.value.columns[0]
        with db.scope():
            assert things.get(2).value is None
            things.delete_where(model.id == 1)
    finally:
        with witness.cursor() as cursor:
            cursor.execute("DROP TABLE strange")


@pytest.mark.parametrize(
    "value", [AWARE, AWARE.timetz(), math.nan, Decimal("NaN"), object(), {"a": 1}], ids=repr
)
def test_a_parameter_of_plain_sql_is_sent_as_it_is_or_refused(place, value):
    db, _ = place
    with db.scope() as session, pytest.raises(InvalidArgument):
        session.execute(sa.text("SELECT :value"), {"value": value})


def test_a_timedelta_is_added_by_python_since_mysql_makes_a_number_of_it(place):
    db, _ = place
    number = next(n for n, each in enumerate(COLUMNS) if isinstance(each.type, sa.DateTime))
    kind, model = repository_of(number)
    with db.scope():
        for condition in (
            model.value > sa.func.now() - dt.timedelta(days=1),
            model.value + dt.timedelta(days=1) > NOON,
        ):
            with pytest.raises(InvalidArgument, match="timestampadd"):
                kind(db).count(condition)
        kind(db).count(model.value > NOON - dt.timedelta(days=1))


def test_members_of_enumerations_are_sent_as_what_they_are(place):
    db, _ = place
    with db.scope() as session:
        sent = session.execute(
            sa.text("SELECT :level + 1, :name"), {"level": Level.LOW, "name": Name.ADA}
        ).one()
    assert sent == (2, "ada")


def test_a_type_that_only_decorates_another_is_looked_through(place):
    db, _ = place
    decorated = [n for n, each in enumerate(COLUMNS) if isinstance(each.type, Plain | Lower)]
    for number in decorated:
        kind, model = repository_of(number)
        with db.scope():
            kind(db).insert_many([{"id": 1, "value": "7up"}])
        for find in (
            lambda kind=kind, model=model: kind(db).count(model.value == 7),
            lambda kind=kind, model=model: kind(db).count(model.value.in_([7])),
            lambda model=model: db.session.scalars(sa.select(model).where(model.value == 7)).all(),
        ):
            with db.scope(), pytest.raises(InvalidArgument):
                find()
        with db.scope():
            assert kind(db).count(model.value == "7up") == 1
            kind(db).delete_where(everything())


def test_pages_walk_each_row_once_in_both_directions(column):
    case, db, things, model, witness = column
    if "MariaDB" in witness.server_version and isinstance(case.type, sa.CHAR):
        pytest.skip("MariaDB sorts CHAR otherwise than it compares it, where a collation pads not")
    values = [*case.kept, None] * 2
    with db.scope():
        things.insert_many([{"id": n, "value": value} for n, value in enumerate(values)])
    with db.scope(read_only=True):
        if not case.ordered:
            with pytest.raises(InvalidArgument):
                things.page(limit=1, order_by=model.value)
            return
        for order in (model.value, model.value.desc()):
            expected = [each.id for each in things.find(everything(), order_by=(order, model.id))]
            if order is not model.value:
                expected = [
                    each.id for each in things.find(everything(), order_by=(order, model.id.desc()))
                ]
            walked, token = [], None
            for _ in values:
                page = things.page(limit=1, order_by=order, after=token)
                walked += [each.id for each in page.items]
                token = page.next_token
            assert walked == expected
            assert token is None
            back, token = [], page.previous_token
            while token is not None:
                page = things.page(limit=1, order_by=order, before=token)
                back += [each.id for each in page.items]
                token = page.previous_token
            assert back == expected[-2::-1]


@pytest.mark.parametrize(
    ("document", "back"),
    [
        (
            {"price": Decimal("12.34"), "n": [Decimal(3), (1, 2)]},
            {"price": 12.34, "n": [3, [1, 2]]},
        ),
        ([5e-324, -0.0, 1e22, 0.1 + 0.2, 1e300, 2**64 - 1, -(2**63)], None),
        ({"level": Level.LOW, "name": Name.ADA, "": "\u202e\x00"}, {"level": 1, "name": "ada"}),
    ],
    ids=["decimals", "numbers", "enumerations"],
)
def test_a_document_comes_back_with_decimals_as_floats(place, document, back):
    db, _ = place
    with db.scope():
        Documents(db).insert_many([{"id": 1, "data": document}])
        Documents(db).add(Document(id=2, data=document))
        db.session.expire_all()
        found = Documents(db).find(everything())
        assert [each.data for each in found] == 2 * [
            {**document, **back} if isinstance(back, dict) else document
        ]
        db.rollback_only()


def nested(levels):
    return [nested(levels - 1)] if levels else 1


@pytest.mark.parametrize(
    "document",
    [
        {1: "a"},
        {None: 1},
        {"a": {True: 1}},
        [math.nan],
        {"a": math.inf},
        Decimal("NaN"),
        Decimal("0.12345678901234567890"),
        2**64,
        -(2**63) - 1,
        ["\ud800"],
        {"\udc80": 1},
        {"at": NOON},
        {1, 2},
        b"x",
        object(),
        nested(101),
    ],
    ids=lambda document: repr(document)[:20],
)
def test_a_document_that_would_not_come_back_is_refused(place, document):
    db, _ = place
    with db.scope():
        for write in (
            lambda: Documents(db).insert_many([{"id": 1, "data": document}]),
            lambda: Documents(db).add(Document(id=2, data=document)),
            lambda: db.session.execute(sa.insert(Document).values(id=3, data=document)),
        ):
            with pytest.raises(InvalidArgument), db.savepoint():
                write()
        assert Documents(db).count() == 0


def test_documents_pass_through_serializers_of_ones_own(place):
    db, _ = place
    own = Database(
        dataclasses.replace(
            db.settings,
            json_serializer=lambda document: json.dumps(document, default=str),
            json_deserializer=functools.partial(json.loads, parse_float=Decimal),
        )
    )
    with own.scope():
        Documents(own).insert_many([{"id": 1, "data": {"at": NOON, "price": 12.34}}])
        own.session.expire_all()
        found = Documents(own).get_one(1).data
        assert found == {"at": str(NOON), "price": Decimal("12.34")}
        own.rollback_only()


def test_a_page_of_another_key_is_refused_with_a_session_of_ones_own_too(place):
    db, _ = place
    signing = Database(dataclasses.replace(db.settings, page_token_key="k" * 32))
    with db.scope():
        Documents(db).insert_many([{"id": n, "data": {}} for n in range(3)])
    with signing.scope(read_only=True) as session, db.scope(read_only=True):
        signed = Documents(signing).page(limit=1).next_token
        plain = Documents(db).page(limit=1).next_token
        assert [each.id for each in Documents(signing).page(limit=1, after=signed).items] == [1]
        with orm.Session(signing.engine) as own:
            for source in (signing, session, own):
                assert Documents(source).page(limit=1).next_token == signed
                with pytest.raises(InvalidCursor, match="not signed"):
                    Documents(source).page(limit=1, after=plain)
        with pytest.raises(InvalidCursor):
            Documents(db).page(limit=1, after=signed)
    with db.scope():
        Documents(db).delete_where(everything())


def test_the_table_of_the_docs_has_these_columns():
    page = Path(__file__).parents[3] / "docs" / "values.md"
    named = re.findall(r"^\| (`.*?) \| ", page.read_text(), re.MULTILINE)
    assert named == list(dict.fromkeys(column.name for column in COLUMNS))
