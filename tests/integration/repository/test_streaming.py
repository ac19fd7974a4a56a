"""Streams: any number of rows by chunks of the key, with the session free in between."""

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, orm

from dal import Database, InvalidArgument, NoActiveScope, ReadOnlyScope, Repository, ScopeEnded
from dal.engine import Settings, create_engine


class Base(orm.DeclarativeBase):
    """Of its own, so that no other test has these tables."""


class Item(Base):
    __tablename__ = "item"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    state: orm.Mapped[str] = orm.mapped_column(sa.String(10), index=True)
    parts: orm.Mapped[list["Part"]] = orm.relationship()


class Part(Base):
    __tablename__ = "part"
    __table_args__ = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_unicode_ci"}

    code: orm.Mapped[str] = orm.mapped_column(sa.String(20), primary_key=True)
    item_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey(Item.id), primary_key=True)


class Items(Repository[Item]):
    pass


class Parts(Repository[Part]):
    pass


@pytest.fixture
def db(environment, admin):
    """Ten items, with the numbers 10 to 100."""
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine)
    with admin.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO item VALUES (%s, %s)",
            [(n * 10, "odd" if n % 2 else "even") for n in range(1, 11)],
        )
    return Database.from_env(environment)


@pytest.fixture
def items(db):
    return Items(db)


@pytest.fixture
def execute(admin):
    def run(statement, *parameters):
        with admin.cursor() as cursor:
            cursor.execute(statement, parameters)
            return [row[0] for row in cursor.fetchall()]

    return run


@pytest.fixture
def sent(db):
    found = []
    event.listen(
        db.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, parameters, *_: found.append((statement, parameters)),
    )
    return found


@pytest.fixture
def plan(server, admin, sent):
    """The plan of the last statement, its one line as a dictionary."""

    def explain():
        statement, parameters = sent[-1]
        form = "" if server.is_mariadb else "FORMAT=TRADITIONAL "
        with admin.cursor() as cursor:
            cursor.execute(f"EXPLAIN {form}{statement}", parameters)
            (line,) = cursor.fetchall()
            return dict(zip([column[0] for column in cursor.description], line, strict=True))

    return explain


ALL = list(range(10, 101, 10))


def test_every_row_comes_once_in_the_order_of_the_key(db, items):
    with db.scope(read_only=True):
        for chunk in (1, 3, 5, 10, 11, 1000):
            assert [item.id for item in items.stream(chunk=chunk)] == ALL
        assert [item.id for item in items.stream(Item.state == "odd", chunk=2)] == ALL[::2]
        assert list(items.stream(Item.id > 100)) == []


def test_each_chunk_is_one_statement_sent_when_its_first_row_is_wanted(db, items, sent):
    with db.scope(read_only=True):
        stream = items.stream(chunk=4)
        assert sent == []
        for number in range(1, 5):
            next(stream)
            assert len(sent) == 1, number
        assert len(list(stream)) == 6
        assert len(sent) == 3
        sent.clear()
        assert list(items.stream(Item.id < 0)) == []
        assert len(sent) == 1
        sent.clear()
        assert len(list(items.stream(chunk=5))) == 10
        assert len(sent) == 3, "the last chunk was full, so that there might have been more"


def test_other_statements_are_free_in_the_middle(db, items, execute):
    seen = []
    with db.scope() as session:
        for item in items.stream(chunk=2):
            assert items.get(10).id == 10
            assert session.scalar(sa.select(sa.func.count()).select_from(Item)) == 10
            seen.append((item.id, [other.id for other in items.stream(Item.id < 30, chunk=1)]))
    assert seen == [(number, [10, 20]) for number in ALL]


def test_rows_that_stay_come_once_while_others_come_and_go_around_them(db, items, execute):
    """Deleted behind, at and ahead of the place; inserted on both sides; all by another."""
    seen = []
    with db.scope(read_only=True):
        for item in items.stream(chunk=2):
            seen.append(item.id)
            if item.id == 40:  # the last of its chunk
                execute("DELETE FROM item WHERE id IN (10, 40, 50, 90)")
                execute("INSERT INTO item VALUES (5, 'new'), (45, 'new'), (75, 'new')")
    assert seen == [10, 20, 30, 40, 45, 60, 70, 75, 80, 100]


def test_what_the_loop_deletes_is_no_hindrance(db, items, execute):
    with db.scope() as session:
        for item in items.stream(chunk=3):
            session.delete(item)
    assert execute("SELECT COUNT(*) FROM item") == [0]


def test_what_the_loop_changes_is_written(db, items, execute):
    with db.scope() as session:
        for item in items.stream(Item.state == "odd", chunk=2):
            item.state = f"n{item.id}"
            del item
        assert not session.dirty or len(session.dirty) <= 2
    assert execute("SELECT state FROM item WHERE id IN (10, 30, 90) ORDER BY id") == [
        "n10",
        "n30",
        "n90",
    ]


def test_a_change_in_a_read_only_scope_is_refused_at_the_next_chunk(db, items, execute):
    with pytest.raises(ReadOnlyScope), db.scope(read_only=True):
        for item in items.stream(chunk=2):
            item.state = "x"
    assert execute("SELECT COUNT(*) FROM item WHERE state = 'x'") == [0]


def test_what_was_loaded_or_added_before_stays_in_the_session(db, items):
    with db.scope() as session:
        held = items.get_one(20)
        new = Item(id=7, state="new")
        session.add(new)
        stream = items.stream(chunk=2)
        assert next(stream) is new
        kept = [item for item in stream if item.id == 50]
        assert held in session
        assert new in session
        assert kept[0] in session


def test_what_the_loop_lets_go_is_not_kept(db, items):
    with db.scope(read_only=True) as session:
        for item in items.stream(chunk=2):
            del item
            assert len(session.identity_map.keys()) <= 3
        assert len(session.identity_map.keys()) <= 1


def test_it_may_end_early(db, items, connections):
    with db.scope(read_only=True):
        for item in items.stream(chunk=2):
            if item.id == 30:
                break
        assert items.count() == 10
    assert connections() == 0


def test_after_its_scope_it_says_so(db, items):
    with db.scope(read_only=True):
        stream = items.stream(chunk=1)
        next(stream)
    with pytest.raises(ScopeEnded), db.scope(read_only=True):
        next(stream)


def test_loader_options_hold_for_each_chunk(db, items, execute):
    execute("INSERT INTO part VALUES ('a', 10), ('b', 10), ('c', 50)")
    for loader in (orm.selectinload, orm.joinedload):
        with db.scope(read_only=True):
            found = {
                item.id: [part.code for part in item.parts]
                for item in items.stream(chunk=2, options=[loader(Item.parts)])
            }
        assert found == {key: [] for key in ALL} | {10: ["a", "b"], 50: ["c"]}


def test_keys_of_text_and_of_several_columns_follow_the_collation(db, execute):
    codes = ["a", "Á", "b", "B ", "ß", "ss", "é", "Z", "🙂", "ж", "", "x\0"]
    for place, code in enumerate(codes):
        for number in (ALL[place * 2 % 10], ALL[place * 2 % 10 + 1]):
            execute("INSERT INTO part VALUES (%s, %s)", code, number)
    expected = execute("SELECT CONCAT(code, '|', item_id) FROM part ORDER BY code, item_id")
    for chunk in (1, 2, 5, 100):
        with db.scope(read_only=True):
            found = [f"{part.code}|{part.item_id}" for part in Parts(db).stream(chunk=chunk)]
        assert found == expected


# 0 means "the next number" to an INSERT.
KEYS = st.integers(-(2**31), 2**31 - 1).filter(bool)


def test_any_rows_are_those_of_a_list_in_python(db):
    items = Items(db)

    @settings(derandomize=True, database=None, deadline=None, max_examples=40)
    @given(st.sets(KEYS, max_size=30), st.integers(1, 7))
    def hold(numbers, chunk):
        session.execute(sa.delete(Item))
        if numbers:
            session.execute(sa.insert(Item), [{"id": n, "state": "x"} for n in numbers])
        assert [item.id for item in items.stream(chunk=chunk)] == sorted(numbers)

    with db.scope() as session:
        hold()


@pytest.mark.parametrize("where", [[], [Item.state == "even"]], ids=["all", "some"])
def test_the_plan_of_a_chunk_is_a_range_of_the_index_and_sorts_nothing(
    db, items, execute, plan, where
):
    execute(
        "INSERT INTO item (state) WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n "
        "WHERE n < 99) SELECT IF(y.n < 10, 'even', 'odd') FROM n x JOIN n y"
    )
    execute("ANALYZE TABLE item")
    with db.scope(read_only=True):
        stream = items.stream(*where, chunk=100)
        for _ in range(301):
            next(stream)
    found = plan()
    assert (found["type"], found["key"]) == ("range", "ix_item_state" if where else "PRIMARY")
    assert "filesort" not in (found["Extra"] or "")


@pytest.mark.parametrize("chunk", [0, -1, None, True, 2.5, "10", "1; DROP TABLE item"])
def test_a_chunk_is_a_whole_number_from_1_up(db, items, sent, chunk):
    with db.scope(), pytest.raises(InvalidArgument, match="chunk is a whole number from 1 up"):
        items.stream(chunk=chunk)
    assert sent == []


def test_outside_a_scope_it_says_so_at_the_call(items):
    with pytest.raises(NoActiveScope):
        items.stream()
