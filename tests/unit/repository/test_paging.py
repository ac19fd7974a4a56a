"""Keyset orders and page tokens: what they are made of, and what they refuse. No server."""

import base64
import datetime
import decimal
import enum
import json
import uuid

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import orm
from sqlalchemy.dialects import mysql

from dal import Database, InvalidArgument, InvalidCursor, NoActiveScope, Page, Repository
from dal.repository.reading.cursor import Cursor
from dal.repository.reading.keyset import Keyset

bounded = settings(derandomize=True, database=None, deadline=None, max_examples=100)


class Base(orm.DeclarativeBase):
    """Of its own: these tables stand nowhere, and no other test shall find them."""


class Size(enum.Enum):
    small = "S"
    large = "L"


class Cents(sa.types.TypeDecorator):
    """Stored as whole cents; a token that holds something else cannot be bound."""

    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else int(value * 100)

    def process_result_value(self, value, dialect):
        return None if value is None else decimal.Decimal(value) / 100


class Point(tuple):
    """No token holds it by itself."""

    def __new__(cls, *parts):
        return super().__new__(cls, parts)


class Points(sa.types.TypeDecorator):
    impl = sa.String(20)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else ",".join(map(str, value))

    def process_result_value(self, value, dialect):
        return None if value is None else Point(*map(int, value.split(",")))


class Thing(Base):
    __tablename__ = "thing"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column("full_name", sa.String(50))
    note: orm.Mapped[str | None] = orm.mapped_column(sa.String(50))
    data: orm.Mapped[bytes] = orm.mapped_column(sa.VARBINARY(50))
    amount: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(30, 10))
    ratio: orm.Mapped[float] = orm.mapped_column(sa.Double)
    at: orm.Mapped[datetime.datetime] = orm.mapped_column(mysql.DATETIME(fsp=6))
    day: orm.Mapped[datetime.date]
    uid: orm.Mapped[uuid.UUID]
    ready: orm.Mapped[bool]
    size: orm.Mapped[Size]
    letter: orm.Mapped[str] = orm.mapped_column(sa.Enum("b", "a", native_enum=True))
    price: orm.Mapped[decimal.Decimal] = orm.mapped_column(Cents)
    part: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    point: orm.Mapped[Point] = orm.mapped_column(Points)
    exact: orm.Mapped[decimal.Decimal] = orm.mapped_column(mysql.DOUBLE)
    text: orm.Mapped[str] = orm.mapped_column(sa.Text)
    long: orm.Mapped[str] = orm.mapped_column(mysql.MEDIUMTEXT)
    blob: orm.Mapped[bytes] = orm.mapped_column(sa.LargeBinary)
    single: orm.Mapped[float] = orm.mapped_column(sa.Float)
    rough: orm.Mapped[float] = orm.mapped_column(sa.Numeric(8, 2, asdecimal=False))
    document: orm.Mapped[dict] = orm.mapped_column(sa.JSON)
    flags: orm.Mapped[set] = orm.mapped_column(mysql.SET("a", "b"))
    parts: orm.Mapped[list["Part"]] = orm.relationship(back_populates="thing")


class Part(Base):
    __tablename__ = "part"

    thing_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey(Thing.id), primary_key=True)
    number: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(50))
    thing: orm.Mapped[Thing] = orm.relationship(back_populates="parts")


class Things(Repository[Thing]):
    pass


def sql(expression):
    return " ".join(
        str(
            expression.compile(dialect=mysql.dialect(), compile_kwargs={"literal_binds": True})
        ).split()
    )


def order(keyset, **kwargs):
    return [sql(element) for element in keyset.order(**kwargs)]


class TestAnOrder:
    def test_alone_is_the_key(self):
        assert order(Keyset(Thing)) == ["thing.id ASC"]
        assert order(Keyset(Part)) == ["part.thing_id ASC", "part.number ASC"]

    def test_gets_the_key_appended_in_its_last_direction_so_that_one_index_serves_both(self):
        assert order(Keyset(Thing, Thing.name)) == ["thing.full_name ASC", "thing.id ASC"]
        assert order(Keyset(Thing, [Thing.name, Thing.day.desc()])) == [
            "thing.full_name ASC",
            "thing.day DESC",
            "thing.id DESC",
        ]

    def test_gets_just_the_part_of_the_key_that_it_lacks(self):
        assert order(Keyset(Part, [Part.number.desc(), Part.name])) == [
            "part.number DESC",
            "part.name ASC",
            "part.thing_id ASC",
        ]

    def test_ends_with_the_key_behind_which_no_column_matters(self):
        assert order(Keyset(Thing, [Thing.id.desc(), Thing.name])) == ["thing.id DESC"]

    def test_backward_is_each_direction_turned(self):
        keyset = Keyset(Thing, [Thing.name, Thing.day.desc()])
        assert order(keyset, backward=True) == [
            "thing.full_name DESC",
            "thing.day ASC",
            "thing.id ASC",
        ]

    def test_may_name_columns_of_the_table(self):
        assert str(Keyset(Thing, Thing.__table__.c.full_name.desc())) == str(
            Keyset(Thing, Thing.name.desc())
        )

    @pytest.mark.parametrize(
        "order_by",
        [
            "name",
            sa.text("name"),
            None,
            5,
            Thing,
            ["name"],
            {Thing.name},
            [Thing.name, None],
            Part.name,
            Thing.parts,
            orm.aliased(Thing).name,
            sa.func.lower(Thing.name),
            Thing.name + "x",
            Thing.id + 1,
            Thing.name.label("n"),
            Thing.name.collate("utf8mb4_bin"),
            sa.literal_column("1; DROP TABLE thing"),
            Thing.note.desc().nulls_first(),
            Thing.note.nulls_last(),
            [Thing.name, Thing.name.desc()],
            Thing.text,
            Thing.long,
            Thing.blob,
            Thing.single,
            Thing.rough,
            Thing.exact,
            Thing.document,
            Thing.flags,
        ],
        ids=str,
    )
    def test_is_of_columns_that_the_server_compares_as_it_sorts_them(self, order_by):
        with pytest.raises(InvalidArgument, match=r"order_by|keyset order"):
            Keyset(Thing, order_by)

    @pytest.mark.parametrize("name", ["__eq__", "__lt__", "__gt__"])
    @pytest.mark.parametrize("way", [sa.asc, sa.desc, lambda column: column])
    def test_is_not_of_a_type_that_compares_in_a_way_of_its_own(self, name, way):
        def compared(self, other):
            return sa.func.lower(self.expr).op("=")(sa.func.lower(other))

        class Folded(sa.types.TypeDecorator):
            impl = sa.String(20)
            cache_ok = True

            class comparator_factory(sa.String.Comparator):  # noqa: N801
                __hash__ = sa.String.Comparator.__hash__

        setattr(Folded.comparator_factory, name, compared)

        class Own(orm.DeclarativeBase):
            pass

        class Name(Own):
            __tablename__ = "names"
            id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
            name: orm.Mapped[str] = orm.mapped_column(Folded)

        with pytest.raises(InvalidArgument, match=r"names\.name has no keyset order.*comparator"):
            Keyset(Name, way(Name.name))


class TestTheRowsBeyondAPosition:
    def test_are_written_out_for_the_range_optimizer(self):
        assert sql(Keyset(Part, Part.name).beyond(["x", 1, 2])) == (
            "part.name > 'x' OR part.name = 'x' AND part.thing_id > 1 "
            "OR part.name = 'x' AND part.thing_id = 1 AND part.number > 2"
        )

    def test_follow_each_direction(self):
        keyset = Keyset(Thing, [Thing.name.desc(), Thing.id.asc()])
        assert sql(keyset.beyond(["x", 1])) == (
            "thing.full_name < 'x' OR thing.full_name = 'x' AND thing.id > 1"
        )
        assert sql(keyset.beyond(["x", 1], backward=True, inclusive=True)) == (
            "thing.full_name > 'x' OR thing.full_name = 'x' AND thing.id <= 1"
        )

    def test_are_those_with_a_value_after_null_and_null_after_them_descending(self):
        ascending, descending = Keyset(Thing, Thing.note), Keyset(Thing, Thing.note.desc())
        assert sql(ascending.beyond([None, 1])) == (
            "thing.note IS NOT NULL OR thing.note IS NULL AND thing.id > 1"
        )
        assert sql(ascending.beyond(["x", 1])) == (
            "thing.note > 'x' OR thing.note = 'x' AND thing.id > 1"
        )
        assert sql(descending.beyond([None, 1])) == "thing.note IS NULL AND thing.id < 1"
        assert sql(descending.beyond(["x", 1])) == (
            "thing.note < 'x' OR thing.note IS NULL OR thing.note = 'x' AND thing.id < 1"
        )

    def test_of_an_enum_are_named_since_the_server_compares_their_text_but_sorts_their_place(self):
        keyset = Keyset(Thing, Thing.letter)
        assert sql(keyset.beyond(["b", 1])) == (
            "thing.letter IN ('a') OR thing.letter = 'b' AND thing.id > 1"
        )


VALUES = {
    Thing.id: st.integers(-(2**63), 2**64 - 1),
    Thing.name: st.text(),
    Thing.note: st.none() | st.text(),
    Thing.data: st.binary(),
    Thing.amount: st.decimals(allow_nan=False, allow_infinity=False),
    Thing.ratio: st.floats(allow_nan=False, allow_infinity=False),
    Thing.at: st.datetimes(),
    Thing.day: st.dates(),
    Thing.uid: st.uuids(),
    Thing.ready: st.booleans(),
    Thing.size: st.sampled_from(Size),
    Thing.letter: st.sampled_from(["a", "b"]),
    Thing.price: st.decimals(allow_nan=False, allow_infinity=False),
}
COLUMNS = list(VALUES)

positions = st.lists(st.sampled_from(COLUMNS), min_size=1, unique_by=str).flatmap(
    lambda columns: st.tuples(
        st.just(Keyset(Thing, columns)),
        st.tuples(*(VALUES[attribute] for attribute in Keyset(Thing, columns).attributes)),
        st.booleans(),
    )
)

NAME = Keyset(Thing, Thing.name)


def forged(keyset, packed):
    from dal.repository.reading.cursor import _digest, _text

    head, body = b"\x01" + _digest(str(keyset).encode()), json.dumps(packed).encode()
    return _text(head + _digest(head + body) + body)


class TestAToken:
    @bounded
    @given(positions)
    @example((NAME, ("\0", 1), True))
    @example((NAME, ("🙂‍↔️ שלום 'x' \\ %s", 1), False))
    def test_gives_back_the_very_values(self, position):
        keyset, values, inclusive = position
        token = Cursor(values, inclusive).token(keyset)
        found = Cursor.of(token, keyset)
        assert found == Cursor(list(values), inclusive)
        assert list(map(type, found.position)) == list(map(type, values))

    @bounded
    @given(st.binary(max_size=40))
    def test_is_of_letters_that_urls_leave_alone(self, data):
        token = Cursor([data, 1]).token(Keyset(Thing, Thing.data))
        assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

    def test_keeps_an_aware_datetime(self):
        at = datetime.datetime(2026, 3, 29, 1, 2, 3, 4, tzinfo=datetime.UTC)
        keyset = Keyset(Thing, Thing.at)
        (found, _) = Cursor.of(Cursor([at, 1]).token(keyset), keyset).position
        assert found == at
        assert found.tzinfo is datetime.UTC

    def test_cannot_hold_what_it_could_not_give_back(self):
        with pytest.raises(InvalidArgument, match="cannot hold object"):
            Cursor([object(), 1]).token(NAME)

    def test_of_another_order_is_refused_and_says_which_was_wanted(self):
        token = Cursor(["x", 1]).token(NAME)
        for keyset in (
            Keyset(Thing),
            Keyset(Thing, Thing.note),
            Keyset(Thing, Thing.name.desc()),
            Keyset(Thing, [Thing.name, Thing.id.desc()]),
            Keyset(Part, Part.name),
        ):
            with pytest.raises(InvalidCursor, match=r"of another order, not of (thing|part): "):
                Cursor.of(token, keyset)

    @pytest.mark.parametrize(
        "token",
        ["", " ", "x", "null", "🙂", "====", "A" * 100, "../../etc/passwd", "1 OR 1=1", "[" * 5000],
    )
    def test_that_is_none_is_refused(self, token):
        with pytest.raises(InvalidCursor, match="cut off or altered"):
            Cursor.of(token, NAME)

    @pytest.mark.parametrize("token", [None, 5, b"abc", ["x"], {}])
    def test_that_is_no_text_is_refused(self, token):
        with pytest.raises(InvalidCursor, match="is text"):
            Cursor.of(token, NAME)

    @bounded
    @given(st.data())
    def test_cut_off_or_changed_in_any_place_is_refused(self, data):
        token = Cursor(["some name", 12345]).token(NAME)
        place = data.draw(st.integers(0, len(token) - 1))
        letter = data.draw(st.characters(exclude_characters=token[place]))
        for other in (
            token[:place],
            token[place + 1 :],
            token[:place] + letter + token[place + 1 :],
            token[:place] + letter + token[place:],
            token + letter,
        ):
            with pytest.raises(InvalidCursor):
                Cursor.of(other, NAME)

    @pytest.mark.parametrize(
        ("keyset", "body"),
        [
            (NAME, body)
            for body in (
                b"",
                b"x",
                b"5",
                b"{}",
                b"[]",
                b"[false]",
                b'[false,"x"]',
                b'[false,"x",1,2]',
                b'[5,"x",1]',
                b"[false,5,1]",
                b'[false,"x","1 OR 1=1"]',
                b'[false,"x",true]',
                b'[false,"x",1.5]',
                b'[false,"x",null]',
                b"[false,null,1]",
                b'[false,"\\ud800",1]',
                b'[false,["bytes","00"],1]',
                b'[false,["enum","small"],1]',
                b'[false,["mystery","x"],1]',
                b'[false,["decimal"],1]',
                b'[false,{"a":1},1]',
                b'[false,"x",' + b"9" * 5000 + b"]",
                b"[" * 100_000,
                b"\xff\xff",
            )
        ]
        + [
            (Keyset(Thing, Thing.amount), b'[false,["decimal","NaN"],1]'),
            (Keyset(Thing, Thing.amount), b'[false,["decimal","x"],1]'),
            (Keyset(Thing, Thing.ratio), b'[false,["float","inf"],1]'),
            (Keyset(Thing, Thing.at), b'[false,["datetime","yesterday"],1]'),
            (Keyset(Thing, Thing.at), b'[false,["date","2026-01-01"],1]'),
            (Keyset(Thing, Thing.uid), b'[false,["uuid","1 OR 1=1"],1]'),
            (Keyset(Thing, Thing.size), b'[false,["enum","medium"],1]'),
            (Keyset(Thing, Thing.size), b'[false,"small",1]'),
            (Keyset(Thing, Thing.letter), b'[false,"c",1]'),
            (Keyset(Thing, Thing.price), b'[false,"x",1]'),
            (Keyset(Thing, Thing.ready), b"[false,1,1]"),
        ],
    )
    def test_forged_with_the_right_checksum_holds_values_of_the_columns_or_nothing(
        self, keyset, body
    ):
        from dal.repository.reading.cursor import _digest, _text

        head = b"\x01" + _digest(str(keyset).encode())
        with pytest.raises(InvalidCursor):
            Cursor.of(_text(head + _digest(head + body) + body), keyset)

    def test_of_another_version_of_its_format_says_so(self):
        from dal.repository.reading.cursor import _digest, _text

        head, body = b"\x02" + _digest(str(NAME).encode()), b'[false,"x",1]'
        with pytest.raises(InvalidCursor, match="another version"):
            Cursor.of(_text(head + _digest(head + body) + body), NAME)

    @pytest.mark.parametrize(
        ("column", "packed"),
        [
            (Thing.amount, ["decimal", "1e999999999"]),
            (Thing.amount, ["decimal", "1e-999999999"]),
            (Thing.amount, ["decimal", "-1e400"]),
            (Thing.amount, ["decimal", "9" * 5000]),
            (Thing.price, ["decimal", "1e999999999"]),
            (Thing.price, ["sent", ["decimal", "1e999999999"]]),
            (Thing.price, ["sent", "x"]),
            (Thing.name, ["sent", "x"]),
            (Thing.part, 2**64),
            (Thing.part, -(2**63) - 1),
            (Thing.name, "x" * 1_100_000),
            (Thing.ratio, ["float", "0x1p99999999999"]),
            (Thing.at, ["datetime", "2026-01-01T00:00:00" + "0" * 100_000]),
        ],
    )
    def test_forged_costs_no_memory_and_holds_what_the_server_could(self, column, packed):
        import tracemalloc

        keyset = Keyset(Thing, column)
        token = forged(keyset, [False, packed, 1])
        tracemalloc.start()
        try:
            with pytest.raises(InvalidCursor):
                Cursor.of(token, keyset)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()

    def test_holds_what_a_type_of_the_users_makes_of_its_values(self):
        keyset = Keyset(Thing, Thing.point)
        token = Cursor([Point(2, 3), 1]).token(keyset)
        assert Cursor.of(token, keyset).position == [Point(2, 3), 1]

    def test_of_a_column_without_a_time_zone_has_none_either(self):
        keyset = Keyset(Thing, Thing.at)
        at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        with pytest.raises(InvalidCursor, match="time zone"):
            keyset.beyond([at, 1])

    def test_that_is_signed_is_taken_by_its_key_alone(self):
        key, other = b"k" * 32, b"o" * 32
        signed, plain = Cursor(["x", 1]).token(NAME, key), Cursor(["x", 1]).token(NAME)
        assert Cursor.of(signed, NAME, key) == Cursor(["x", 1])
        for token, of in ((plain, key), (signed, other), (signed, None)):
            with pytest.raises(InvalidCursor):
                Cursor.of(token, NAME, of)
        with pytest.raises(InvalidCursor, match="of another order"):
            Cursor.of(signed, Keyset(Thing, Thing.note), key)
        for place in range(len(signed)):
            letter = "A" if signed[place] != "A" else "B"
            with pytest.raises(InvalidCursor):
                Cursor.of(signed[:place] + letter + signed[place + 1 :], NAME, key)

    def test_is_no_secret(self):
        token = Cursor(["some name", 1]).token(NAME)
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        assert json.loads(raw[9:]) == [False, "some name", 1]


class TestThePageMethod:
    @pytest.fixture
    def things(self):
        return Things(Database("mysql://user@127.0.0.1:1/none"))

    @pytest.mark.parametrize("limit", [0, -1, None, True, 1.5, "10", "1; DROP TABLE thing"])
    def test_wants_a_limit_from_1_up(self, things, limit):
        with pytest.raises(InvalidArgument, match="limit is a whole number"):
            things.page(limit=limit)

    @pytest.mark.parametrize(
        "where", ["id = 1", sa.text("id = 1"), True, None, Thing.id + 1, Thing]
    )
    def test_takes_conditions_alone(self, things, where):
        with pytest.raises(InvalidArgument, match="a condition is an expression"):
            things.page(where, limit=1)

    def test_goes_one_way(self, things):
        token = Cursor([1]).token(Keyset(Thing))
        with pytest.raises(InvalidArgument, match="not both"):
            things.page(limit=1, after=token, before=token)

    @pytest.mark.parametrize("side", ["after", "before"])
    def test_takes_an_empty_token_for_a_fault_of_the_client(self, things, side):
        with pytest.raises(InvalidCursor):
            things.page(limit=1, **{side: ""})

    def test_checks_its_arguments_before_it_asks_for_a_scope(self, things):
        with pytest.raises(NoActiveScope):
            things.page(limit=1)

    def test_gives_a_page_that_cannot_change(self):
        page = Page([], None, None)
        with pytest.raises(AttributeError):
            page.next_token = "x"
