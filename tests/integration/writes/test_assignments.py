"""An UPDATE's expressions read the values from before it, whatever the order of the columns."""

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import Database, InvalidArgument, Repository
from dal.engine import Settings, create_engine
from dal.model import Versioned


class Base(DeclarativeBase):
    """Of its own: other tests need not create these tables."""


class Box(Base):
    __tablename__ = "box"
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[int]
    b: Mapped[int]
    c: Mapped[int]
    doubled: Mapped[int] = mapped_column(sa.Computed("a * 2"))


class Step(Versioned, Base):
    """Its column `before` comes behind what it keeps, and its last one behind the version."""

    __tablename__ = "step"
    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(sa.String(10))
    before: Mapped[str | None] = mapped_column(sa.String(10), onupdate=sa.text("status"))
    seen: Mapped[int] = mapped_column(default=0, sort_order=9999)


class Boxes(Repository[Box]):
    pass


class Steps(Repository[Step]):
    pass


@pytest.fixture
def db(environment, admin):
    Base.metadata.create_all(create_engine(Settings.from_env(environment).for_migrations()))
    with admin.cursor() as cursor:
        cursor.execute("INSERT INTO box (id, a, b, c) VALUES (1, 10, 20, 30), (2, 0, 0, 0)")
        cursor.execute("INSERT INTO step (id, status, seen) VALUES (1, 'new', 0)")
    return Database.from_env(environment)


@pytest.fixture
def stored(admin):
    def select(sql="SELECT a, b, c FROM box WHERE id = 1"):
        with admin.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()

    return select


def _by_update(db, changes):
    Boxes(db).update(1, changes)


def _by_update_where(db, changes):
    Boxes(db).update_where(Box.id == 1, changes=changes)


def _by_flush(db, changes):
    box = db.session.get(Box, 1)
    for name, value in changes.items():
        setattr(box, name, value)
    db.session.flush()


def _by_statement(db, changes):
    db.session.execute(sa.update(Box).where(Box.id == 1).values(changes))


def _by_core(db, changes):
    db.session.execute(sa.update(Box.__table__).where(Box.id == 1).values(changes))


def _by_upsert_of_ones_own(db, changes):
    row = insert(Box).values(id=1, a=0, b=0, c=0)
    db.session.execute(row.on_duplicate_key_update(changes))


VERBS = [
    _by_update,
    _by_update_where,
    _by_flush,
    _by_statement,
    _by_core,
    _by_upsert_of_ones_own,
]


@pytest.mark.parametrize("write", VERBS)
@pytest.mark.parametrize(
    ("changes", "after"),
    [
        ({"a": Box.a + 1, "b": Box.a}, (11, 10, 30)),
        ({"a": 5, "c": Box.a}, (5, 20, 10)),
        ({"c": Box.b, "b": Box.a, "a": Box.a - 1}, (9, 10, 20)),
        ({"a": Box.c, "b": sa.literal_column("box.a")}, (30, 10, 30)),
        ({"a": 5, "b": sa.literal_column("`box`.`A`")}, (5, 10, 30)),
        ({"a": 5, "b": sa.column("a")}, (5, 10, 30)),
        ({"a": 5, "b": sa.case((Box.a > 7, 1), else_=0)}, (5, 1, 30)),
        ({"a": 5, "b": Box.doubled}, (5, 20, 30)),
        ({"a": Box.a + Box.b, "c": 1}, (30, 20, 1)),
    ],
)
def test_expressions_read_the_values_from_before(db, stored, write, changes, after):
    if write is _by_upsert_of_ones_own and any(
        isinstance(v, sa.ColumnClause) for v in changes.values()
    ):
        pytest.skip("a column without its table is ambiguous beside the new row")
    with db.scope():
        write(db, changes)
    assert stored() == after


@pytest.mark.parametrize("write", VERBS)
@pytest.mark.parametrize(
    "changes",
    [
        {"a": Box.b, "b": Box.a},
        {"a": Box.b, "b": Box.c, "c": Box.a},
        {"a": sa.literal_column("box.b"), "b": Box.a + 1},
        {"a": Box.a + Box.b, "b": Box.b + Box.a},
    ],
)
def test_what_no_order_can_do_is_refused_before_it_is_sent(db, stored, write, changes):
    with pytest.raises(InvalidArgument, match="read each other's columns"), db.scope():
        write(db, changes)
    assert stored() == (10, 20, 30)


def test_a_correlated_subquery_reads_the_values_from_before(db, stored):
    lesser = sa.select(sa.func.count()).select_from(Step).where(Step.id < Box.a).scalar_subquery()
    with db.scope():
        Boxes(db).update(1, {"a": 0, "b": lesser})
    assert stored() == (0, 1, 30)


def test_an_update_of_two_tables_whose_order_nobody_knows_is_refused(db, stored):
    statement = sa.update(Box).where(Box.id == Step.id).values({Box.a: 5, Box.b: Box.a})
    with pytest.raises(InvalidArgument, match="several tables"), db.scope() as session:
        session.execute(statement)
    assert stored() == (10, 20, 30)


def test_an_order_of_ones_own_stays_as_it_is(db, stored):
    with db.scope() as session:
        session.execute(
            sa.update(Box).where(Box.id == 1).ordered_values((Box.a, 5), (Box.b, Box.a))
        )
        row = insert(Box).values(id=2, a=0, b=0, c=0)
        session.execute(row.on_duplicate_key_update([("a", Box.a + 1), ("b", Box.a)]))
    assert stored() == (5, 5, 30)
    assert stored("SELECT a, b, c FROM box WHERE id = 2") == (1, 1, 0)


def test_many_rows_of_one_statement_read_their_values_from_before(db, stored):
    by_key = sa.update(Box.__table__).where(Box.id == sa.bindparam("key")).values(b=Box.a)
    with db.scope() as session:
        session.connection().execute(by_key, [{"key": 1, "a": 7}, {"key": 2, "a": 8}])
    assert stored() == (7, 10, 30)
    assert stored("SELECT a, b, c FROM box WHERE id = 2") == (8, 0, 0)


@pytest.mark.parametrize("how", ["update", "update_where", "flush"])
def test_onupdate_expressions_and_the_version_are_read_as_they_were(db, stored, how):
    with db.scope() as session:
        if how == "flush":
            step = session.get(Step, 1)
            step.status, step.seen = "done", Step.version
            session.flush()
            assert (step.before, step.seen, step.version) == ("new", 1, 2)
        elif how == "update":
            Steps(db).update(1, {"status": "done", "seen": Step.version})
        else:
            changes = {"status": "done", "seen": Step.version}
            Steps(db).update_where(Step.id == 1, changes=changes)
    assert stored("SELECT status, `before`, seen, version FROM step") == ("done", "new", 1, 2)
