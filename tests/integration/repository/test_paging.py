"""Pages on a real server: the rows of any order, each once, by ranges of the index."""

import datetime
import decimal
import enum
import uuid

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, orm
from sqlalchemy.dialects import mysql

from dal import Database, InvalidCursor, Page, Repository
from dal.engine import Settings, create_engine


class Base(orm.DeclarativeBase):
    """Of its own, so that no other test has these tables."""


class Size(enum.Enum):
    """Neither its names nor its values are in the order of the list, which MySQL sorts by."""

    medium = "M"
    large = "L"
    small = "S"


class Thing(Base):
    __tablename__ = "thing"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    number: orm.Mapped[int | None]
    name: orm.Mapped[str | None] = orm.mapped_column(sa.String(20))
    data: orm.Mapped[bytes] = orm.mapped_column(sa.VARBINARY(20))
    amount: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(20, 5))
    at: orm.Mapped[datetime.datetime | None] = orm.mapped_column(mysql.DATETIME(fsp=6))
    day: orm.Mapped[datetime.date]
    uid: orm.Mapped[uuid.UUID] = orm.mapped_column(sa.Uuid(native_uuid=False))
    ready: orm.Mapped[bool]
    size: orm.Mapped[Size | None]


class Word(Base):
    __tablename__ = "word"
    __table_args__ = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_unicode_ci"}

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    text: orm.Mapped[str] = orm.mapped_column(sa.String(20), index=True)


class Event(Base):
    __tablename__ = "event"
    __table_args__ = (
        sa.Index("by_day", "day"),
        sa.Index("by_kind", "kind", "day", sa.desc("weight"), sa.desc("id")),
    )

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    kind: orm.Mapped[str] = orm.mapped_column(sa.String(10))
    day: orm.Mapped[int]
    weight: orm.Mapped[int | None]
    note: orm.Mapped[str] = orm.mapped_column(sa.String(50))
    memo: orm.Mapped[str] = orm.mapped_column(sa.String(50), deferred=True)
    marks: orm.Mapped[list["Mark"]] = orm.relationship()


class Mark(Base):
    __tablename__ = "mark"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    event_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey(Event.id))


class Things(Repository[Thing]):
    pass


class Words(Repository[Word]):
    pass


class Events(Repository[Event]):
    pass


@pytest.fixture
def db(server, environment, admin):
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine)
    exact = "utf8mb4_nopad_bin" if server.is_mariadb else "utf8mb4_0900_bin"
    with admin.cursor() as cursor:
        # As Python compares: by code points, and trailing spaces count.
        cursor.execute(f"ALTER TABLE thing CONVERT TO CHARACTER SET utf8mb4 COLLATE {exact}")
    return Database.from_env(environment)


@pytest.fixture
def events(db, admin):
    """10,000 of them on 100 days; every fourth has no weight."""
    with admin.cursor() as cursor:
        cursor.execute(
            "INSERT INTO event (kind, day, weight, note, memo) WITH RECURSIVE n (n) AS "
            "(SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 99) "
            "SELECT IF(x.n % 2, 'odd', 'even'), y.n, IF(x.n % 4, x.n, NULL), 'x', 'x' "
            "FROM n x JOIN n y"
        )
        cursor.execute("INSERT INTO mark (event_id) VALUES (1), (1), (2)")
        cursor.execute("ANALYZE TABLE event")
    return Events(db)


@pytest.fixture
def sent(db):
    """The statements sent since the last `clear()`, with their parameters."""
    found = []
    event.listen(
        db.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, parameters, *_: found.append((statement, parameters)),
    )
    return found


def walk(repository, *where, order_by, limit):
    """Return the pages forward from the beginning, then backward from the last to the first."""
    forward = [repository.page(*where, order_by=order_by, limit=limit)]
    while token := forward[-1].next_token:
        forward.append(repository.page(*where, order_by=order_by, limit=limit, after=token))
    backward = [forward[-1]]
    while token := backward[-1].previous_token:
        backward.append(repository.page(*where, order_by=order_by, limit=limit, before=token))
    return ids(forward), ids(reversed(backward))


def ids(pages):
    return [[row.id for row in page.items] for page in pages]


def in_pages(found, limit):
    return [found[n : n + limit] for n in range(0, len(found), limit)] or [[]]


rows = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.none() | st.integers(-1, 1) | st.integers(-(2**31), 2**31 - 1),
            "name": st.none() | st.sampled_from(["", "a", "A", "a "]) | st.text(max_size=20),
            "data": st.sampled_from([b"", b"\0", b"a"]) | st.binary(max_size=20),
            "amount": st.sampled_from([decimal.Decimal(0), decimal.Decimal("-0.1")])
            | st.decimals(-(10**14), 10**14, places=5),
            "at": st.none()
            | st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(9999, 12, 31)),
            "day": st.sampled_from([datetime.date(2024, 2, 29), datetime.date(2026, 1, 1)]),
            "uid": st.sampled_from([uuid.UUID(int=1), uuid.UUID(int=2**127)]) | st.uuids(),
            "ready": st.booleans(),
            "size": st.none() | st.sampled_from(Size),
        }
    ),
    max_size=12,
)
COLUMNS = ["id", "number", "name", "data", "amount", "at", "day", "uid", "ready", "size"]
orders = st.lists(
    st.tuples(st.sampled_from(COLUMNS), st.booleans()), max_size=4, unique_by=lambda term: term[0]
)


def sorted_by(order, table):
    """Return the ids as the server is to sort them: NULL before everything else."""

    def key(name):
        def of(row):
            value = row[name]
            if name == "size" and value is not None:
                value = list(Size).index(value)
            return (value is not None, value)

        return of

    table = sorted(table, key=key("id"), reverse=bool(order) and order[-1][1])
    for name, descending in reversed(order):
        table.sort(key=key(name), reverse=descending)
    return [row["id"] for row in table]


class TestAnyOrderOfAnyRows:
    def test_is_the_order_of_a_list_in_python_forward_and_backward(self, server, db):
        things = Things(db)

        @settings(derandomize=True, database=None, deadline=None, max_examples=120)
        @given(rows, orders, st.integers(1, 5))
        @example(
            [
                {
                    "number": None,
                    "name": name,
                    "data": b"",
                    "amount": decimal.Decimal(0),
                    "at": None,
                    "day": datetime.date(2026, 1, 1),
                    "uid": uuid.UUID(int=0),
                    "ready": True,
                    "size": None,
                }
                for name in ("🙂", "🙂\u200d↔️", "שלום", "\0", "\0\0", None, "'; DROP", "%s", "￿")
            ],
            [("name", True), ("number", False)],
            2,
        )
        def hold(table, order, limit):
            table = [{"id": number, **row} for number, row in enumerate(table, 1)]
            if server.is_mariadb:  # which sorts these as it does not compare them
                for row in table:
                    row["name"] = row["name"] and row["name"].rstrip("\0")
            session.execute(sa.delete(Thing))
            if table:
                session.execute(sa.insert(Thing), table)
            order_by = [
                getattr(Thing, name).desc() if descending else getattr(Thing, name)
                for name, descending in order
            ]
            expected = in_pages(sorted_by(order, table), limit)
            forward, backward = walk(things, order_by=order_by, limit=limit)
            assert forward == expected
            assert backward == expected

        with db.scope() as session:
            hold()

    @pytest.mark.parametrize("descending", [False, True])
    def test_of_twins_of_a_collation_is_the_servers_own(self, db, admin, descending):
        """Under this one a, A, á and 'a ' are equal, and so are ß and ss, æ and ae."""
        words = ["a", "A", "á", "a ", "b", "B", "ß", "ss", "SS", "æ", "ae", "", " ", "Z", "z", "ж"]
        direction = "DESC" if descending else "ASC"
        with admin.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO word (text) VALUES (%s)", [[word] for word in words * 3]
            )
            cursor.execute(f"SELECT id FROM word ORDER BY text {direction}, id {direction}")
            expected = [row[0] for row in cursor.fetchall()]
        order_by = Word.text.desc() if descending else Word.text
        with db.scope(read_only=True):
            for limit in (1, 2, 5, 48):
                forward, backward = walk(Words(db), order_by=order_by, limit=limit)
                assert forward == backward == in_pages(expected, limit)


class TestAPage:
    def test_is_one_statement_that_reads_one_row_more(self, db, events, sent):
        with db.scope(read_only=True):
            page = events.page(order_by=Event.day, limit=10)
            assert len(page.items) == 10
            events.page(order_by=Event.day, limit=10, after=page.next_token)
        assert len(sent) == 2
        for statement, parameters in sent:
            assert 11 in list(parameters.values() if isinstance(parameters, dict) else parameters)
            assert "count" not in statement.lower()

    def test_of_nothing_is_empty_and_leads_nowhere(self, db):
        with db.scope(read_only=True):
            assert Things(db).page(limit=5) == Page([], None, None)

    def test_that_is_the_only_one_leads_nowhere(self, db, events):
        with db.scope(read_only=True):
            page = events.page(Event.id <= 3, limit=3)
        assert [row.id for row in page.items] == [1, 2, 3]
        assert (page.next_token, page.previous_token) == (None, None)

    def test_takes_loader_options_and_keeps_rows_single(self, db, events):
        with db.scope(read_only=True):
            page = events.page(limit=2, options=[orm.joinedload(Event.marks)])
        assert [len(row.marks) for row in page.items] == [2, 1]
        assert page.next_token is not None

    def test_orders_by_a_deferred_column_without_loading_it(self, db, events, sent):
        with db.scope(read_only=True):
            page = events.page(order_by=Event.memo, limit=3)
        assert len(sent) == 1
        assert page.next_token is not None
        assert all("memo" in sa.inspect(row).unloaded for row in page.items)

    def test_goes_on_under_other_conditions(self, db, events):
        """A token is a place in an order, whatever the page was limited to."""
        with db.scope(read_only=True):
            token = events.page(Event.kind == "odd", limit=5).next_token
            last = events.page(Event.kind == "odd", limit=5).items[-1].id
            page = events.page(Event.kind == "even", limit=1, after=token)
        assert page.items[0].id > last

    def test_of_another_order_is_not_gone_on_from(self, db, events, sent):
        with db.scope(read_only=True):
            token = events.page(order_by=Event.day, limit=5).next_token
            sent.clear()
            with pytest.raises(InvalidCursor, match="of another order"):
                events.page(order_by=Event.day.desc(), limit=5, after=token)
            with pytest.raises(InvalidCursor, match="cut off"):
                events.page(order_by=Event.day, limit=5, after=token[:-1])
        assert sent == []

    def test_goes_on_from_the_row_and_not_from_what_a_session_remembers_of_it(
        self, db, events, admin
    ):
        with orm.Session(db.engine) as session:
            events = Events(session)
            kept = events.page(order_by=Event.day, limit=1).items
            with admin.cursor() as cursor:
                cursor.execute("UPDATE event SET day = 98 WHERE id = %s", (kept[0].id,))
                cursor.execute("UPDATE event SET day = 0 WHERE day = 99 AND id < 150")
            page = events.page(Event.id == kept[0].id, order_by=Event.day, limit=1)
            token = events.page(order_by=Event.day.desc(), limit=101).next_token
            assert page.items == kept
            assert events.page(order_by=Event.day.desc(), limit=1, after=token).items[0].day in {
                0,
                98,
            }


class TestBetweenTwoPages:
    def test_rows_that_come_and_go_move_no_other(self, db, events, admin):
        with db.scope(read_only=True):
            first = events.page(order_by=Event.day, limit=10)
            keys = [row.id for row in first.items]
            with admin.cursor() as cursor:
                cursor.execute("DELETE FROM mark")
                cursor.execute("DELETE FROM event WHERE id IN %s", (keys,))
                cursor.execute(
                    "INSERT INTO event (kind, day, note, memo) VALUES ('new', -1, '', '')"
                )
                cursor.execute("SELECT id FROM event WHERE day = 0 ORDER BY id LIMIT 10")
                expected = [row[0] for row in cursor.fetchall()]
            page = events.page(order_by=Event.day, limit=10, after=first.next_token)
        assert [row.id for row in page.items] == expected

    @pytest.mark.parametrize(("forth", "back"), [("after", "before"), ("before", "after")])
    def test_all_rows_ahead_may_go_and_the_way_back_leads_to_those_that_stay(
        self, db, events, admin, forth, back
    ):
        """To the very last of them, the row that the token was made of."""

        def token(page, side):
            return page.next_token if side == "after" else page.previous_token

        order_by = Event.id if forth == "after" else Event.id.desc()
        with db.scope(read_only=True):
            page = events.page(order_by=order_by, limit=3)
            if forth == "before":
                page = events.page(
                    order_by=Event.id, limit=3, after=events.page(limit=9997).next_token
                )
                order_by = Event.id
            kept = [row.id for row in page.items]
            with admin.cursor() as cursor:
                cursor.execute("DELETE FROM mark")
                cursor.execute("DELETE FROM event WHERE id NOT IN %s", (kept,))
            empty = events.page(order_by=order_by, limit=3, **{forth: token(page, forth)})
            assert empty.items == []
            assert token(empty, forth) is None
            again = events.page(order_by=order_by, limit=3, **{back: token(empty, back)})
        assert [row.id for row in again.items] == kept


class TestThePlan:
    @pytest.fixture
    def plan(self, server, db, events, admin, sent):
        def of(*where, order_by, side):
            with db.scope(read_only=True):
                page = events.page(*where, order_by=order_by, limit=2500)
                page = events.page(*where, order_by=order_by, limit=20, after=page.next_token)
                tokens = {"after": page.next_token, "before": page.previous_token}
                events.page(*where, order_by=order_by, limit=20, **{side: tokens[side]})
            return explain(server, admin, *sent[-1])

        return of

    @pytest.mark.parametrize("side", ["after", "before"])
    @pytest.mark.parametrize(
        ("order_by", "index"),
        [
            ([], "PRIMARY"),
            ([Event.id.desc()], "PRIMARY"),
            ([Event.day], "by_day"),
            ([Event.day.desc()], "by_day"),
        ],
        ids=["key", "key descending", "column", "column descending"],
    )
    def test_of_a_page_is_a_range_of_the_index_and_sorts_nothing(self, plan, order_by, index, side):
        found = plan(order_by=order_by, side=side)
        assert (found["type"], found["key"]) == ("range", index)
        assert "filesort" not in (found["Extra"] or "")

    @pytest.mark.mysql("MariaDB reads by `kind` alone here")
    def test_in_mixed_directions_is_one_where_an_index_has_them(self, plan):
        """Behind a column that the condition fixes; on the way back MySQL sorts."""
        found = plan(Event.kind == "odd", order_by=[Event.day, Event.weight.desc()], side="after")
        assert (found["type"], found["key"]) == ("range", "by_kind")
        assert "filesort" not in (found["Extra"] or "")


def explain(server, admin, statement, parameters):
    """Return the plan's one line as a dictionary."""
    with admin.cursor() as cursor:
        if not server.is_mariadb:
            statement = f"FORMAT=TRADITIONAL {statement}"
        cursor.execute(f"EXPLAIN {statement}", parameters)
        (line,) = cursor.fetchall()
        return dict(zip([column[0] for column in cursor.description], line, strict=True))
