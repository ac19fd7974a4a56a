"""What loader options leave to Python: no row is lost for a spelling, and no version."""

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    defer,
    immediateload,
    joinedload,
    load_only,
    mapped_column,
    relationship,
    selectinload,
)

from dal import Database, InvalidArgument, Repository, StaleVersion, everything
from dal.engine import Settings, create_engine
from dal.model import Versioned

CODE = sa.String(20, collation="utf8mb4_general_ci")


class Base(DeclarativeBase):
    """Of its own: other tests need not create these tables."""


class Parent(Base):
    __tablename__ = "parent"
    code: Mapped[str] = mapped_column(CODE, primary_key=True)
    children: Mapped[list["Child"]] = relationship(back_populates="parent")


class Child(Base):
    __tablename__ = "child"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str | None] = mapped_column(CODE, sa.ForeignKey(Parent.code))
    parent: Mapped[Parent | None] = relationship(back_populates="children")


class Paper(Versioned, Base):
    __tablename__ = "paper"
    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(default=0)
    text: Mapped[str] = mapped_column(sa.String(20), default="")


class Parents(Repository[Parent]):
    pass


class Children(Repository[Child]):
    pass


class Papers(Repository[Paper]):
    pass


@pytest.fixture
def db(environment, admin):
    Base.metadata.create_all(create_engine(Settings.from_env(environment).for_migrations()))
    with admin.cursor() as cursor:
        cursor.execute("INSERT INTO parent VALUES ('Ada'), ('Bob'), ('Eve')")
        cursor.execute("INSERT INTO child VALUES (1, 'Ada'), (2, 'Bob'), (3, NULL)")
        cursor.execute("INSERT INTO paper VALUES (1, 0, '', 1)")
    return Database.from_env(environment)


@pytest.fixture
def spelled(db, admin):
    with admin.cursor() as cursor:
        cursor.execute("INSERT INTO child VALUES (4, 'ADA')")
    return db


def children(db, *options):
    with db.scope(read_only=True):
        found = Parents(db).find(everything(), order_by=Parent.code, options=options)
        return [sorted(child.id for child in parent.children) for parent in found]


def parents(db, *options):
    with db.scope(read_only=True):
        found = Children(db).find(everything(), order_by=Child.id, options=options)
        return [child.parent and child.parent.code for child in found]


@pytest.mark.parametrize("load", [selectinload, joinedload, immediateload])
def test_keys_of_one_spelling_are_joined_by_every_loader(db, load):
    assert children(db, load(Parent.children)) == [[1], [2], []]
    assert parents(db, load(Child.parent)) == ["Ada", "Bob", None]


@pytest.mark.parametrize("load", [None, joinedload, immediateload])
def test_other_spellings_are_joined_by_the_server(spelled, load):
    options = [] if load is None else [load(Parent.children)]
    assert children(spelled, *options) == [[1, 4], [2], []]
    options = [] if load is None else [load(Child.parent)]
    assert parents(spelled, *options) == ["Ada", "Bob", None, "Ada"]


def test_selectinload_raises_where_it_would_lose_a_row(spelled):
    with pytest.raises(InvalidArgument, match=r"Parent\.children .* joinedload"):
        children(spelled, selectinload(Parent.children))
    with pytest.raises(InvalidArgument, match=r"Child\.parent .* joinedload"):
        parents(spelled, selectinload(Child.parent))


def test_selectinload_finds_no_parent_where_there_is_none(db, admin):
    with admin.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute("INSERT INTO child VALUES (4, 'Zoe')")
    assert parents(db, selectinload(Child.parent)) == ["Ada", "Bob", None, None]


@pytest.mark.parametrize("option", [load_only(Paper.n), defer(Paper.version), defer("*")])
def test_the_version_is_loaded_and_checked_whatever_is_left_out(db, admin, option):
    with db.scope(read_only=True):
        assert Papers(db).find(everything(), options=[option])
    with pytest.raises(StaleVersion), db.scope():
        (paper,) = Papers(db).find(everything(), options=[option])
        with admin.cursor() as cursor:
            cursor.execute("UPDATE paper SET n = 9, version = 2")
        Papers(db).update(1, {"n": paper.id})
    with admin.cursor() as cursor:
        cursor.execute("SELECT n, version FROM paper")
        assert cursor.fetchall() == ((9, 2),)
