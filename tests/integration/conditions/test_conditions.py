"""Conditions, orders and columns reach the model's own rows only, and compare like with like."""

import datetime as dt
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dal import Database, InvalidArgument, Repository, everything
from dal.engine import Settings, create_engine


class Base(DeclarativeBase):
    """Of its own: other tests need not create these tables."""


marks = sa.Table(
    "mark",
    Base.metadata,
    sa.Column("line_id", sa.ForeignKey("line.id"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tag.id"), primary_key=True),
)


class Tag(Base):
    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(20))


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(50))
    lines: Mapped[list["Line"]] = relationship(back_populates="customer")


class Line(Base):
    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey(Customer.id))
    token: Mapped[str | None] = mapped_column(sa.String(50))
    __table_args__ = (sa.Index("words", token, mysql_prefix="FULLTEXT"),)
    paid: Mapped[bool] = mapped_column(default=False)
    size: Mapped[int] = mapped_column(default=0)
    made_at: Mapped[dt.datetime | None]
    document: Mapped[dict | None] = mapped_column(sa.JSON)
    flags: Mapped[set | None] = mapped_column(mysql.SET("x", "y"))
    customer: Mapped[Customer] = relationship(back_populates="lines")
    tags: Mapped[list[Tag]] = relationship(secondary=marks)
    code = orm.synonym("token")

    @hybrid_property
    def is_large(self):
        return self.size > 3

    @is_large.inplace.expression
    @classmethod
    def _is_large(cls):
        return cls.size > 3


Line.tag_count = orm.column_property(
    sa.select(sa.func.count()).where(marks.c.line_id == Line.id).scalar_subquery()
)


class Fussy(sa.TypeDecorator):
    """A type that takes nothing, and says so in an error of its own."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value, dialect):
        raise TypeError(value)


class Lines(Repository[Line]):
    pass


@pytest.fixture
def db(environment):
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add_all(Customer(id=key, email=f"{key}@example.org") for key in (1, 2))
        session.add_all(Tag(id=key, name=f"tag {key}") for key in (1, 2))
        session.flush()
        session.add_all(
            Line(id=key, customer_id=key % 2 + 1, token=token, size=key, paid=key > 4)
            for key, token in enumerate(["a", "b", "c", "1x", "0", None], start=1)
        )
        session.flush()
        session.execute(
            sa.insert(marks), [{"line_id": 1, "tag_id": 1}, {"line_id": 1, "tag_id": 2}]
        )
        session.commit()
    return Database.from_env(environment)


@pytest.fixture
def stored(admin):
    def read():
        with admin.cursor() as cursor:
            cursor.execute("SELECT id, token, size, paid FROM line ORDER BY id")
            return cursor.fetchall()

    return read


BY_CONDITION = {
    "find": lambda lines, condition: lines.find(condition),
    "first": lambda lines, condition: lines.first(condition, order_by=Line.id),
    "one": lambda lines, condition: lines.one(condition),
    "one_or_none": lambda lines, condition: lines.one_or_none(condition),
    "exists": lambda lines, condition: lines.exists(condition),
    "count": lambda lines, condition: lines.count(condition),
    "rows": lambda lines, condition: lines.rows(Line.id, where=condition),
    "page": lambda lines, condition: lines.page(condition, limit=10),
    "stream": lambda lines, condition: list(lines.stream(condition)),
    "claim": lambda lines, condition: lines.claim(condition, limit=10),
    "update_where": lambda lines, condition: lines.update_where(condition, changes={"size": 9}),
    "delete_where": lambda lines, condition: lines.delete_where(condition),
    "purge_where": lambda lines, condition: lines.purge_where(condition),
}


@pytest.fixture(params=BY_CONDITION)
def ask(request, db):
    """Ask by a condition, with one of the verbs that take one, in a scope that is rolled back."""

    def ask(condition):
        if request.param == "purge_where":
            return BY_CONDITION["purge_where"](Lines(db), condition)
        with db.scope():
            db.rollback_only()
            return BY_CONDITION[request.param](Lines(db), condition)

    return ask


Other = orm.aliased(Line)
picked = sa.select(Line.id).where(Line.size > 1).subquery()

BEYOND = {
    "another model": lambda: Customer.email == "1@example.org",
    "another table": lambda: Customer.__table__.c.email == "1@example.org",
    "joined by hand": lambda: Line.customer_id == Customer.id,
    "beside an own column": lambda: sa.or_(Line.id == 1, Customer.id == 1),
    "negated": lambda: ~(Customer.id == 1),
    "in a function": lambda: sa.func.coalesce(Customer.email, Line.token) == "a",
    "in a case": lambda: sa.case((Customer.id == 1, 1), else_=0) == 1,
    "an alias": lambda: Other.id == 1,
    "a subquery in FROM": lambda: picked.c.id == Line.id,
    "a column of an association": lambda: marks.c.tag_id == 1,
    "a relationship of another model": lambda: Customer.lines.contains(Line(id=1)),
}


def test_a_condition_on_another_table_is_refused(ask, stored):
    before = stored()
    for beyond in BEYOND.values():
        with pytest.raises(InvalidArgument, match="also reads from"):
            ask(beyond())
    assert stored() == before


def test_so_it_is_on_a_plain_session(db, stored):
    before = stored()
    with orm.Session(db.engine) as session:
        for beyond in BEYOND.values():
            with pytest.raises(InvalidArgument, match="also reads from"):
                Lines(session).delete_where(beyond())
        session.commit()
    assert stored() == before


WITHIN = {
    "the model": (lambda: Line.token == "a", [1]),
    "its table": (lambda: Line.__table__.c.token == "a", [1]),
    "a relationship": (lambda: Line.customer == Customer(id=1), [2, 4, 6]),
    "has": (lambda: Line.customer.has(Customer.email == "1@example.org"), [2, 4, 6]),
    "any": (lambda: Line.tags.any(Tag.name == "tag 2"), [1]),
    "contains": (lambda: Line.tags.contains(Tag(id=1)), [1]),
    "not contains": (lambda: ~Line.tags.contains(Tag(id=1)), [2, 3, 4, 5, 6]),
    "contains or": (lambda: sa.or_(Line.tags.contains(Tag(id=1)), Line.id == 3), [1, 3]),
    "exists": (
        lambda: sa.exists().where(Customer.id == Line.customer_id, Customer.id == 2),
        [1, 3, 5],
    ),
    "in": (lambda: Line.customer_id.in_(sa.select(Customer.id).where(Customer.id > 1)), [1, 3, 5]),
    "scalar": (
        lambda: (
            sa.select(Customer.email).where(Customer.id == Line.customer_id).scalar_subquery()
            == "2@example.org"
        ),
        [1, 3, 5],
    ),
    "a flag": (lambda: Line.paid, [5, 6]),
    "no flag": (lambda: ~Line.paid, [1, 2, 3, 4]),
    "sa.not_": (lambda: sa.not_(Line.paid), [1, 2, 3, 4]),
    "a hybrid": (lambda: Line.is_large, [4, 5, 6]),
    "a synonym": (lambda: Line.code == "a", [1]),
    "a column_property": (lambda: Line.tag_count == 2, [1]),
    "REGEXP": (lambda: Line.token.op("REGEXP")("^[ab]$"), [1, 2]),
    "regexp_match": (lambda: Line.token.regexp_match("^[ab]$"), [1, 2]),
    "a function": (lambda: sa.func.find_in_set(Line.token, "a,c"), [1, 3]),
    "a typed function": (lambda: sa.func.coalesce(Line.paid, False), [5, 6]),
    "a case": (lambda: sa.case((Line.id == 2, True), else_=Line.paid), [2, 5, 6]),
    "IS NULL": (lambda: Line.token.is_(None), [6]),
    "LIKE": (lambda: Line.token.like("1%"), [4]),
    "a cast": (lambda: sa.cast(Line.id, sa.String(5)) == "2", [2]),
    "a length": (lambda: sa.func.length(Line.token) == 2, [4]),
    "tuples": (lambda: sa.tuple_(Line.id, Line.token).in_([(1, "a"), (2, "z")]), [1]),
    "a match": (lambda: mysql.match(Line.token, against="a") > 0, []),
    "raw SQL": (lambda: sa.literal_column("token = 'a'"), [1]),
}


def test_what_stays_within_the_model_is_found_and_deleted(db, stored):
    lines = Lines(db)
    for condition, keys in WITHIN.values():
        with db.scope():
            db.rollback_only()
            assert [line.id for line in lines.find(condition(), order_by=Line.id)] == keys
            assert lines.count(condition()) == len(keys)
            found = lines.rows(Line.id, where=condition(), order_by=Line.id)
            assert [row["id"] for row in found] == keys
            db.session.execute(sa.text("SET SESSION foreign_key_checks = 0"))
            assert lines.delete_where(condition()) == len(keys)
            left = lines.rows(Line.id, where=everything())
            assert {row["id"] for row in left} == set(range(1, 7)) - set(keys)
    assert len(stored()) == 6


ORDERS = {
    "another model": Customer.email,
    "descending": Customer.email.desc(),
    "in a function": sa.func.lower(Customer.email),
    "beside an own": [Line.id, Customer.id],
    "an alias": Other.id,
}
BY_ORDER = {
    "find": lambda lines, order: lines.find(everything(), order_by=order),
    "first": lambda lines, order: lines.first(order_by=order),
    "rows": lambda lines, order: lines.rows(Line.id, where=everything(), order_by=order),
    "page": lambda lines, order: lines.page(order_by=order, limit=3),
    "claim": lambda lines, order: lines.claim(limit=3, order_by=order),
}


@pytest.mark.parametrize("verb", BY_ORDER)
def test_an_order_by_another_table_is_refused(db, verb):
    with db.scope():
        for order in ORDERS.values():
            with pytest.raises(InvalidArgument, match="order_by also reads from"):
                BY_ORDER[verb](Lines(db), order)


def test_a_column_of_another_table_is_refused(db):
    lines = Lines(db)
    with db.scope():
        for column in (Customer.email, Customer.__table__.c.email, Other.id):
            with pytest.raises(InvalidArgument, match=r"is no column of Line|a column also reads"):
                lines.rows(column, where=everything())
            with pytest.raises(InvalidArgument, match="a column also reads from"):
                lines.rows(sa.func.max(column).label("most"), where=everything())


OWN_ORDERS = [
    (lambda: [Line.paid.desc(), Line.id], [5, 6, 1, 2, 3, 4]),
    (lambda: [sa.func.length(Line.token).desc(), Line.id], [4, 1, 2, 3, 5, 6]),
    (lambda: [sa.case((Line.id == 3, 0), else_=1), Line.id], [3, 1, 2, 4, 5, 6]),
    (lambda: [Line.tag_count.desc(), Line.id.desc()], [1, 6, 5, 4, 3, 2]),
    (lambda: [Line.is_large, Line.id], [1, 2, 3, 4, 5, 6]),
    (lambda: [Line.code.is_(None), Line.code.desc()], [3, 2, 1, 4, 5, 6]),
    (lambda: [Line.size.desc()], [6, 5, 4, 3, 2, 1]),
]


def test_an_order_is_any_expression_of_the_model(db):
    lines = Lines(db)
    for order, keys in OWN_ORDERS:
        with db.scope():
            assert [line.id for line in lines.find(everything(), order_by=order())] == keys
            assert lines.first(order_by=order()).id == keys[0]
            found = lines.rows(Line.id, where=everything(), order_by=order())
            assert [row["id"] for row in found] == keys


@pytest.mark.parametrize("by_key", [True, False])
def test_a_change_to_the_value_of_another_table_is_refused(db, stored, by_key):
    before = stored()
    lines = Lines(db)
    with db.scope():
        for changes in ({"token": Customer.email}, {"size": Line.size + Customer.id}):
            with pytest.raises(InvalidArgument, match="also reads from customer"):
                if by_key:
                    lines.update(1, changes)
                else:
                    lines.update_where(everything(), changes=changes)
    assert stored() == before


def test_an_order_of_null_by_words_that_mysql_has_not_is_refused(db):
    with db.scope():
        for order in (Line.token.nulls_last(), Line.token.desc().nulls_first()):
            for verb in BY_ORDER.values():
                with pytest.raises(InvalidArgument, match="NULL"):
                    verb(Lines(db), order)


def test_a_change_may_be_raw_sql(db, stored):
    with db.scope():
        Lines(db).update(1, {"size": sa.text("size + 5")})
    assert stored()[0][2] == 6


def test_a_change_may_be_a_subquery(db, stored):
    email = sa.select(Customer.email).where(Customer.id == Line.customer_id).scalar_subquery()
    with db.scope():
        Lines(db).update_where(Line.id < 3, changes={"token": email, "size": Line.size + 1})
    assert stored()[:2] == ((1, "2@example.org", 2, 0), (2, "1@example.org", 3, 0))


UNLIKE = {
    "a list": lambda: Line.token == [0],
    "a list in IN": lambda: Line.token.in_([[0]]),
    "a list for a number": lambda: Line.id == ["1x"],
    "a tuple": lambda: Line.token == (0,),
    "a set": lambda: Line.token == {0},
    "a dictionary": lambda: Line.token == {"token": 0},
    "a list for a time": lambda: Line.made_at != [0],
    "a number for a time": lambda: Line.made_at >= 0,
    "a text for a flag": lambda: Line.paid == "no",
    "lower": lambda: sa.func.lower(Line.token) == 0,
    "lower in IN": lambda: sa.func.lower(Line.token).in_([[0]]),
    "coalesce": lambda: sa.func.coalesce(Line.token, "") == 0,
    "nested": lambda: sa.func.trim(sa.func.coalesce(Line.token, "")) == 0,
    "nullif": lambda: sa.func.nullif(Line.token, 0).is_(None),
    "cast": lambda: sa.cast(Line.token, sa.String) == 0,
    "concatenation": lambda: Line.token + "" == 0,
    "arithmetic with text": lambda: Line.size + "0x" == 1,
    "text in arithmetic": lambda: Line.token + 0 == 0,
    "case": lambda: sa.case((Line.paid, Line.token), else_="x") == 0,
    "simple case": lambda: sa.case({0: 1}, value=Line.token, else_=0) == 1,
    "not": lambda: sa.not_(sa.or_(Line.token != 0, Line.id == 1)),
    "between": lambda: Line.token.between(0, 9),
    "like": lambda: Line.token.like(0),
    "true for text": lambda: Line.token == True,  # noqa: E712
    "null-safe": lambda: Line.token.op("<=>")(0),
    "distinct from": lambda: Line.token.is_not_distinct_from(0),
    "collated": lambda: Line.token.collate("utf8mb4_bin") == 0,
    "a member of a tuple": lambda: sa.tuple_(Line.id, Line.token).in_([("1x", "a")]),
    "in EXISTS": lambda: sa.exists().where(Other.id == Line.id, Other.token == [0]),
    "in a subquery": lambda: Line.id.in_(sa.select(Other.id).where(Other.token == 0)),
    "of a subquery": lambda: sa.select(sa.func.max(Other.token)).scalar_subquery() == 0,
    "infinite": lambda: Line.size < float("inf"),
    "text for a length": lambda: sa.func.length(Line.token) == "1x",
    "text that is no time": lambda: Line.made_at > "yesterday",
    "half a character": lambda: Line.token == "\ud800",
    "a number that says it is none": lambda: Line.size == Decimal("sNaN"),
    "a fraction in a tuple": lambda: sa.tuple_(Line.id, Line.size).in_([(1.5, 2)]),
    "the truth of text": lambda: sa.and_(Line.token, Line.id > 0),
    "an object": lambda: Line.token == object(),
}


def test_a_value_of_another_type_is_refused_and_not_shown(ask, stored):
    before = stored()
    for unlike in UNLIKE.values():
        with pytest.raises(InvalidArgument) as refused:
            ask(unlike())
        assert not any(value in str(refused.value) for value in ("0x", "1x", "[", "{"))
    assert stored() == before


@pytest.mark.parametrize("several", [[0], (0,), {0}, {"token": 0}, [[0]], []], ids=repr)
def test_several_values_are_no_parameter_of_any_statement(db, stored, several):
    before = stored()
    statements = [
        lambda s: s.execute(sa.delete(Line).where(Line.token == several)),
        lambda s: s.execute(sa.select(Line).where(sa.func.lower(Line.token) == several)),
        lambda s: s.execute(sa.text("SELECT * FROM line WHERE token = :t"), {"t": several}),
        lambda s: s.execute(sa.update(Line).values(token=several)),
        lambda s: s.execute(sa.insert(Line), [{"customer_id": 1, "token": several}]),
        lambda s: s.query(Line).filter_by(token=several).all(),
        lambda s: s.scalar(sa.select(Line.id).where(Line.token.in_([several]))),
        lambda s: s.connection().exec_driver_sql("DELETE FROM line WHERE token = %s", (several,)),
    ]
    for execute in statements:
        with pytest.raises(InvalidArgument), db.scope() as session:
            execute(session)
    assert stored() == before


def test_types_whose_values_are_several_keep_them(db):
    lines = Lines(db)
    with db.scope():
        lines.insert_many(
            [{"customer_id": 1, "document": {"a": [1]}, "flags": {"x"}, "token": "several"}]
        )
    with db.scope():
        assert lines.one(Line.flags == {"x"}).document == {"a": [1]}
        assert lines.one(Line.document["a"][0] == 1).flags == {"x"}
        assert lines.exists(sa.tuple_(Line.token, Line.customer_id).in_([("several", 1)]))


def test_a_value_that_its_columns_type_refuses_is_named_and_not_shown(db):
    with db.scope(), pytest.raises(InvalidArgument, match="TypeError") as refused:
        db.session.execute(sa.select(sa.literal("a secret", Fussy())))
    assert "secret" not in str(refused.value)
