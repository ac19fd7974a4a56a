"""Column types and mixins: what goes in comes out, to the limits; what would be bent is refused."""

import datetime as dt
import enum
import math
import uuid
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import Database, InvalidArgument, OutOfRange, Repository, everything
from dal.engine import Settings, create_engine
from dal.model import (
    BinaryUUID,
    ExactNumeric,
    Timestamps,
    UTCDateTime,
    UUIDKey,
    Versioned,
    uuid7,
)


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Thing(Base):
    __tablename__ = "thing"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[dt.datetime | None] = mapped_column(UTCDateTime)
    exact: Mapped[Decimal | None] = mapped_column(ExactNumeric(10, 2))
    widest: Mapped[Decimal | None] = mapped_column(sa.Numeric(65, 30))
    document: Mapped[dict | list | str | float | None] = mapped_column(sa.JSON(none_as_null=True))
    colour: Mapped[Colour | None] = mapped_column(sa.Enum(Colour))
    letter: Mapped[str | None] = mapped_column(sa.Enum("a", "b"))
    other: Mapped[uuid.UUID | None] = mapped_column(BinaryUUID, index=True)


class Note(UUIDKey, Timestamps, Versioned, Base):
    __tablename__ = "note"
    text: Mapped[str] = mapped_column(sa.String(50), default="")


class Things(Repository[Thing]):
    pass


class Notes(Repository[Note]):
    pass


@pytest.fixture
def db(environment):
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine)
    return Database.from_env(environment)


@pytest.fixture
def stored(admin):
    def one(column, table="thing"):
        with admin.cursor() as cursor:
            cursor.execute(f"SELECT {column} FROM {table}")
            return cursor.fetchone()[0]

    return one


def round_trip(db, **values):
    """Store by each of the ways in and return what the entity, read anew, has."""
    ((name, value),) = values.items()
    with db.scope():
        Things(db).delete_where(everything())
        Things(db).add(Thing(id=1, **values))
        Things(db).insert_many([{"id": 2, **values}])
        Things(db).insert_many([{"id": 3, name: None}])
        Things(db).update(3, values)
        Things(db).upsert([{"id": 4, **values}], key=Thing.id)
    with db.scope(read_only=True):
        things = Things(db).find(everything())
        assert len(things) == 4
        found = [getattr(thing, name) for thing in things]
    assert all(each == found[0] for each in found)
    assert all(type(each) is type(found[0]) for each in found)
    assert value is None or found[0] is not None
    return found[0]


PLUS_TWO = dt.timezone(dt.timedelta(hours=2))


class TestUTCDateTime:
    @pytest.mark.parametrize(
        "at",
        [
            dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC),
            dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=PLUS_TWO),
            dt.datetime(1000, 1, 1, tzinfo=dt.UTC),
            dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
            dt.datetime(2038, 1, 19, 3, 14, 8, tzinfo=dt.UTC),
            dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
        ],
        ids=str,
    )
    def test_keeps_the_point_in_time_to_the_microsecond(self, db, stored, at):
        found = round_trip(db, at=at)
        assert found == at
        assert found.tzinfo is dt.UTC
        assert stored("at") == at.astimezone(dt.UTC).replace(tzinfo=None)

    @pytest.mark.parametrize(
        "at",
        [
            dt.datetime(2026, 1, 2),
            dt.date(2026, 1, 2),
            "2026-01-02 03:04:05",
            1767225600,
            dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-1))),
            dt.datetime.min.replace(tzinfo=PLUS_TWO),
        ],
        ids=str,
    )
    def test_refuses_what_is_no_point_in_time(self, db, at):
        with db.scope():
            for write in (
                lambda: Things(db).insert_many([{"at": at}]),
                lambda: Things(db).update_where(everything(), changes={"at": at}),
                lambda: Things(db).find(Thing.at > at),
            ):
                with pytest.raises(InvalidArgument, match=r"point in time|beyond the years"):
                    write()
        with pytest.raises(InvalidArgument), db.scope():
            Things(db).add(Thing(at=at))
        with db.scope():
            assert Things(db).count() == 0

    def test_compares_as_points_in_time(self, db):
        at = dt.datetime(2026, 1, 2, 12, tzinfo=PLUS_TWO)
        with db.scope():
            Things(db).add(Thing(at=at))
            assert Things(db).exists(Thing.at == at.astimezone(dt.UTC))
            assert Things(db).exists(Thing.at <= at)
            assert not Things(db).exists(Thing.at < at)
            assert not Things(db).exists(Thing.at > dt.datetime(2026, 1, 2, 11, tzinfo=dt.UTC))


class TestTimestamps:
    def test_are_the_servers(self, db, stored):
        with db.scope():
            note = Notes(db).add(Note())
            assert note.created_at == note.updated_at
            assert note.created_at.tzinfo is dt.UTC
            assert abs(note.created_at - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
            made = note.created_at
        with db.scope():
            note = Notes(db).get_one(note.id)
            note.text = "x"
        with db.scope():
            note = Notes(db).get_one(note.id)
            assert note.created_at == made
            assert note.updated_at > made
        assert stored("created_at", "note") == made.replace(tzinfo=None)

    def test_move_for_writes_of_other_clients(self, db, admin, stored):
        with admin.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute("INSERT INTO note (id, text) VALUES (UNHEX(REPEAT('0', 32)), '')")
            cursor.execute("UPDATE note SET text = 'x'")
        assert stored("updated_at > created_at AND version = 1", "note") == 1


class TestUUIDKeys:
    def test_are_there_before_the_insert_and_sort_by_time(self, db):
        notes = [Note(text=str(number)) for number in range(100)]
        assert all(note.id.version == 7 for note in notes)
        with db.scope():
            Notes(db).add_all(reversed(notes))
        with db.scope(read_only=True):
            found = Notes(db).find(everything(), order_by=Note.id)
            assert [note.text for note in found] == [str(number) for number in range(100)]
            assert Notes(db).get(notes[7].id).text == "7"

    def test_are_sixteen_bytes_that_sql_can_show(self, db, admin):
        with db.scope():
            note = Notes(db).add(Note())
        with admin.cursor() as cursor:
            cursor.execute("SELECT id, LENGTH(id), LOWER(HEX(id)) FROM note")
            assert cursor.fetchone() == (note.id.bytes, 16, note.id.hex)

    @pytest.mark.parametrize("number", [0, 1, 2**128 - 1, 0x5C * (2**128 - 1) // 255, 0x20 << 120])
    def test_keep_any_uuid(self, db, number):
        assert round_trip(db, other=uuid.UUID(int=number)) == uuid.UUID(int=number)

    @pytest.mark.parametrize("other", ["0" * 32, b"\0" * 16, 0, str(uuid7())], ids=type)
    def test_refuse_what_is_no_uuid(self, db, other):
        with db.scope():
            with pytest.raises(InvalidArgument, match=r"uuid\.UUID"):
                Things(db).insert_many([{"other": other}])
            with pytest.raises(InvalidArgument, match=r"uuid\.UUID"):
                Notes(db).get(other)


class TestDecimals:
    @pytest.mark.parametrize(
        "number", ["0", "0.01", "-0.01", "99999999.99", "-99999999.99", "1.500000", "1E+3", "-0"]
    )
    def test_are_exact(self, db, number):
        found = round_trip(db, exact=Decimal(number))
        assert found == Decimal(number)
        assert type(found) is Decimal

    @pytest.mark.parametrize("number", ["1", "-1"])
    def test_of_65_digits_are_exact(self, db, number):
        widest = Decimal(number + "2345678901234567890123456789012345." + "123456789" * 3 + "123")
        assert round_trip(db, widest=widest) == widest

    def test_are_rounded_in_silence_by_mysql_and_refused_here(self, db, admin, stored):
        with admin.cursor() as cursor:
            cursor.execute("INSERT INTO thing (widest) VALUES (0." + "0" * 30 + "6)")
        assert stored("widest") == Decimal("1E-30")
        with pytest.raises(InvalidArgument), db.scope():
            Things(db).add(Thing(widest=Decimal("0." + "0" * 30 + "6")))
        for number in (
            Decimal("1.005"),
            Decimal("1E-40"),
            0.1,
            math.nan,
            Decimal("NaN"),
            "1",
            True,
        ):
            with db.scope(), pytest.raises(InvalidArgument):
                Things(db).insert_many([{"exact": number}])

    def test_beyond_the_column_are_out_of_range(self, db):
        with db.scope():
            for number in (Decimal("100000000.00"), Decimal("1E+60")):
                with pytest.raises(OutOfRange):
                    Things(db).insert_many([{"exact": number}])


class TestJSON:
    @pytest.mark.parametrize(
        "document",
        [
            {},
            [],
            "",
            0,
            False,
            {"a": [1, 2.5, None, True, {"b": "ä\U0001f600\u202e\x00'\"\\"}]},
            {"": {"%s": "%(x)s"}},
            [2**53, -(2**63), 2**64 - 1],
            1e300,
            "x" * 100_000,
        ],
        ids=lambda document: repr(document)[:30],
    )
    def test_comes_back_equal(self, db, document):
        assert round_trip(db, document=document) == document

    def test_none_is_null_where_the_column_says_so(self, db, stored):
        assert round_trip(db, document=None) is None
        assert stored("document IS NULL") == 1

    @pytest.mark.mysql("MySQL checks JSON, MariaDB keeps any text")
    def test_is_refused_where_it_is_none(self, db):
        with db.scope(), pytest.raises(Exception, match="Invalid JSON"):
            Things(db).insert_many([{"document": [math.nan]}])


class TestEnums:
    @pytest.mark.parametrize("colour", [*Colour, None])
    def test_come_back_as_members_and_are_stored_by_name(self, db, stored, colour):
        assert round_trip(db, colour=colour) is colour
        assert stored("colour") == (colour and colour.name)

    def test_of_texts_come_back(self, db):
        assert round_trip(db, letter="b") == "b"

    @pytest.mark.parametrize("values", [{"letter": "c"}, {"letter": ""}, {"colour": "r"}], ids=str)
    def test_refuse_what_is_no_member(self, db, values):
        with db.scope(), pytest.raises(InvalidArgument, match="of its Enum"):
            Things(db).insert_many([values])


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    at=st.datetimes(
        min_value=dt.datetime(1000, 1, 2),
        max_value=dt.datetime(9999, 12, 30),
        timezones=st.timezones(),
    ),
    exact=st.decimals(min_value=-99_999_999, max_value=99_999_999, places=2),
    other=st.uuids(),
    document=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=9),
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(st.text(max_size=5), children, max_size=3)
        ),
        max_leaves=8,
    ),
)
def test_any_values_come_back(db, at, exact, other, document):
    with db.scope():
        Things(db).delete_where(everything())
        Things(db).insert_many([{"at": at, "exact": exact, "other": other, "document": document}])
        (thing,) = Things(db).find(everything())
        # In UTC: Python takes a time that a zone leaves out or has twice for equal to nothing.
        assert thing.at == at.astimezone(dt.UTC)
        assert (thing.exact, thing.other) == (exact, other)
        assert thing.document == document
