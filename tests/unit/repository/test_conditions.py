"""Conditions that compare text with numbers are refused; every other comparison passes."""

import datetime
import decimal
import enum

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import mysql

from dal import InvalidArgument
from dal.repository.shared.conditions import checked_conditions
from dal.repository.shared.reach import reading


class Base(orm.DeclarativeBase):
    pass


class Level(enum.IntEnum):
    LOW = 1


class Cents(sa.TypeDecorator):
    impl = sa.String(20)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return str(value)


class Thing(Base):
    __tablename__ = "things"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(20))
    code: orm.Mapped[bytes] = orm.mapped_column(sa.BINARY(4))
    amount: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(8, 2))
    weight: orm.Mapped[float]
    active: orm.Mapped[bool]
    level: orm.Mapped[Level] = orm.mapped_column(sa.Enum(Level))
    size: orm.Mapped[str] = orm.mapped_column(mysql.ENUM("s", "m"))
    tags: orm.Mapped[set[str]] = orm.mapped_column(mysql.SET("a", "b"))
    cents: orm.Mapped[int] = orm.mapped_column(Cents)
    made_at: orm.Mapped[datetime.datetime]
    extra: orm.Mapped[dict[str, int]] = orm.mapped_column(sa.JSON)
    owner_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("things.id"))
    owner: orm.Mapped["Thing"] = orm.relationship(remote_side="Thing.id")


Other = orm.aliased(Thing)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Thing.name == 0, "things.name is str, not int"),
        (Thing.name != 0, "not int"),
        (Thing.name == True, "not bool"),  # noqa: E712
        (Thing.name > decimal.Decimal("1.5"), "not Decimal"),
        (Thing.name.in_(["a", 0]), "not int"),
        (Thing.name.not_in([0]), "not int"),
        (Thing.name.between("a", 5), "not int"),
        (Thing.code == 0, "things.code is bytes"),
        (Thing.id == "1x", "things.id is int, not str"),
        (Thing.id.in_(["1"]), "not str"),
        (Thing.amount < "10", "Decimal, not str"),
        (Thing.weight >= b"1", "float, not bytes"),
        (sa.literal(0) == Thing.name, "not int"),
        (Other.name == "a", "also reads from an alias"),
        (Thing.name == Other.name, "also reads from an alias"),
        (~(Thing.name == 0), "not int"),
        (sa.or_(Thing.id == 1, sa.and_(Thing.weight > 2, Thing.name == 0)), "not int"),
        (sa.exists().where(Other.id == Thing.id, Other.name == 0), "not int"),
    ],
    ids=str,
)
def test_text_and_numbers_are_not_compared(condition, words):
    with pytest.raises(InvalidArgument, match=words):
        checked_conditions([condition], reading(Thing))


@pytest.mark.parametrize(
    "condition",
    [
        Thing.name == "0",
        Thing.name.is_(None),
        Thing.name == b"raw",
        Thing.name.like("5%"),
        Thing.name.in_(["a", "b"]),
        Thing.name.in_([]),
        Thing.name.in_(sa.select(Other.name)),
        Thing.name.between("a", "b"),
        Thing.name == sa.cast(0, sa.String),
        Thing.name == sa.bindparam("later"),
        sa.func.length(Thing.name) == 5,
        Thing.id == 5,
        Thing.id == True,  # noqa: E712
        Thing.id > 1.5,
        Thing.amount == 5,
        Thing.amount == 0.1,
        Thing.weight == 5,
        Thing.weight < decimal.Decimal("1.5"),
        Thing.active == 1,
        Thing.active.is_(True),
        Thing.level == Level.LOW,
        Thing.level == "LOW",
        Thing.size == "s",
        Thing.size == 1,
        Thing.tags == {"a"},
        Thing.tags == 2,
        Thing.cents == 5,
        Thing.made_at > "2026-01-01",
        Thing.made_at > datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        Thing.extra["n"] == 1,
        Thing.owner == Thing(id=1),
        Thing.owner.has(Thing.id == 1),
        sa.tuple_(Thing.id, Thing.name).in_([(1, "a")]),
    ],
    ids=str,
)
def test_what_fits_passes(condition):
    assert checked_conditions([condition], reading(Thing)) == [condition]
