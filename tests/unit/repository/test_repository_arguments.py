"""What a repository refuses before anything is sent: no scope is open, and none is asked for."""

import datetime
import decimal
import enum
import uuid
from typing import Generic, TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from dal import (
    ConnectError,
    Database,
    InvalidArgument,
    NoActiveScope,
    Repository,
    UsageError,
    everything,
)
from dal.repository.shared.identity import identity_condition
from dal.wire.backoff import Backoff

Row = TypeVar("Row")
Key = TypeVar("Key")


class Base(orm.DeclarativeBase):
    """Of its own: these tables stand nowhere, and no other test shall find them."""


class User(Base):
    __tablename__ = "users"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    email: orm.Mapped[str] = orm.mapped_column("e_mail", sa.String(100))
    active: orm.Mapped[bool]
    posts: orm.Mapped[list["Post"]] = orm.relationship(back_populates="author")
    shouted = orm.column_property(sa.func.upper(email))
    login = orm.synonym("email")

    @property
    def name(self):
        return self.email


class Admin(User):
    pass


class Post(Base):
    __tablename__ = "posts"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey(User.id))
    author: orm.Mapped[User] = orm.relationship(back_populates="posts")


class Country(Base):
    __tablename__ = "countries"
    code: orm.Mapped[str] = orm.mapped_column(sa.String(2), primary_key=True)


class Line(Base):
    __tablename__ = "lines"
    order: orm.Mapped[int] = orm.mapped_column("order_no", primary_key=True)
    position: orm.Mapped[str] = orm.mapped_column(sa.String(5), primary_key=True)


class Day(Base):
    __tablename__ = "days"
    day: orm.Mapped[datetime.date] = orm.mapped_column(primary_key=True)


class Price(Base):
    __tablename__ = "prices"
    amount: orm.Mapped[decimal.Decimal] = orm.mapped_column(sa.Numeric(8, 2), primary_key=True)


class Token(Base):
    __tablename__ = "tokens"
    digest: orm.Mapped[bytes] = orm.mapped_column(sa.BINARY(32), primary_key=True)


class UUIDText(sa.TypeDecorator):
    impl = sa.String(36)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else str(value)


class Thing(Base):
    __tablename__ = "things"
    id: orm.Mapped[uuid.UUID] = orm.mapped_column(UUIDText, primary_key=True)


class Colour(enum.IntEnum):
    RED = 1


class Plain:
    """Mapped without any base."""


orm.registry().map_imperatively(
    Plain, sa.Table("plain", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
)


class Users(Repository[User]):
    pass


class Countries(Repository[Country]):
    pass


class Lines(Repository[Line]):
    pass


class Days(Repository[Day]):
    pass


class Prices(Repository[Price]):
    pass


class Tokens(Repository[Token]):
    pass


class Things(Repository[Thing]):
    pass


@pytest.fixture(autouse=True)
def _connecting_is_tried_once(monkeypatch):
    monkeypatch.setattr(Backoff, "wait", lambda *_: False)


@pytest.fixture(scope="module")
def db():
    return Database("mysql://app@127.0.0.1:1/shop")


@pytest.fixture
def users(db):
    return Users(db)


BY_KEY = {
    "get": lambda repository, key: repository.get(key),
    "get_one": lambda repository, key: repository.get_one(key),
    "update": lambda repository, key: repository.update(key, {"active": True}),
    "delete": lambda repository, key: repository.delete(key),
}
BY_CONDITION = {
    "one": lambda repository, *where: repository.one(*where),
    "one_or_none": lambda repository, *where: repository.one_or_none(*where),
    "first": lambda repository, *where: repository.first(*where, order_by=User.id),
    "find": lambda repository, *where: repository.find(*where),
    "find with a limit": lambda repository, *where: repository.find(*where, limit=5),
    "exists": lambda repository, *where: repository.exists(*where),
    "count": lambda repository, *where: repository.count(*where),
}


def assert_passes(call):
    """What is accepted goes on to the scope, and there is none."""
    with pytest.raises(NoActiveScope):
        call()


@pytest.mark.parametrize("verb", BY_KEY)
class TestAKey:
    @pytest.mark.parametrize(
        "key",
        [
            None,
            True,
            False,
            "1",
            "1 OR 1=1",
            "",
            b"1",
            1.0,
            decimal.Decimal(1),
            sa.text("1"),
            sa.literal(1),
            sa.func.now(),
            sa.select(User.id),
            User.id,
            User.email,
            User(id=1),
            User,
            {1},
            object(),
            [None],
            (True,),
            ("1",),
            [[1]],
            {"id": None},
            {"id": "1"},
        ],
        ids=repr,
    )
    def test_that_is_no_whole_number_is_refused(self, users, verb, key):
        with pytest.raises(InvalidArgument, match=r"^id is int, not "):
            BY_KEY[verb](users, key)

    @pytest.mark.parametrize("key", [(), [], (1, 2), [1, 2, 3]], ids=repr)
    def test_of_too_few_or_too_many_values_is_refused(self, users, verb, key):
        with pytest.raises(InvalidArgument, match=rf"has 1 columns \(id\), not {len(key)}$"):
            BY_KEY[verb](users, key)

    @pytest.mark.parametrize(
        "key", [{}, {"ID": 1}, {"email": "x"}, {"id": 1, "email": "x"}, {1: 1}], ids=repr
    )
    def test_of_other_names_is_refused(self, users, verb, key):
        with pytest.raises(InvalidArgument, match=r"the key of User is \['id'\], not"):
            BY_KEY[verb](users, key)

    @pytest.mark.parametrize("key", [1, 0, -1, 10**20, Colour.RED, (1,), [1], {"id": 1}], ids=repr)
    def test_that_is_a_whole_number_passes(self, users, verb, key):
        assert_passes(lambda: BY_KEY[verb](users, key))


def by_key(repository, key):
    repository.get(key)


class TestAKeyOfAnotherType:
    @pytest.mark.parametrize("key", [0, 1, True, None, b"PL", Country.code, sa.text("'PL'")])
    def test_of_text_takes_only_text(self, db, key):
        with pytest.raises(InvalidArgument, match=r"^code is str, not "):
            Countries(db).get(key)
        assert_passes(lambda: Countries(db).get("PL"))

    @pytest.mark.parametrize(
        "key", [None, True, sa.text("NOW()"), sa.func.now(), sa.null()], ids=repr
    )
    @pytest.mark.parametrize("repository", [Days, Prices, Tokens, Things])
    def test_of_any_type_is_neither_nothing_nor_an_expression(self, db, repository, key):
        with pytest.raises(InvalidArgument):
            repository(db).get(key)

    @pytest.mark.parametrize(
        ("repository", "key"),
        [
            (Days, datetime.date(2026, 1, 1)),
            (Prices, decimal.Decimal("9.99")),
            (Tokens, b"\x00" * 32),
            (Things, uuid.UUID(int=1)),
        ],
    )
    def test_passes_as_its_own_type(self, db, repository, key):
        assert_passes(lambda: repository(db).get(key))

    @pytest.mark.parametrize(
        ("repository", "key"),
        [
            (Days, Day.day),
            (Days, orm.aliased(Day).day),
            (Prices, Price.amount),
            (Tokens, Token.digest),
            (Things, Thing.id),
        ],
    )
    def test_is_never_a_mapped_attribute_which_every_row_would_fit(self, db, repository, key):
        with pytest.raises(InvalidArgument):
            repository(db).delete(key)

    @pytest.mark.parametrize(
        ("repository", "key"),
        [
            (Prices, "1 OR 1=1"),
            (Tokens, 0),
            (Tokens, "text"),
            (Days, 0),
            (Days, "2026"),
        ],
    )
    def test_is_of_no_type_that_mysql_would_convert(self, db, repository, key):
        with pytest.raises(InvalidArgument):
            repository(db).get(key)


class TestAKeyOfSeveralColumns:
    @pytest.mark.parametrize("key", [(1, "a"), [1, "a"], {"order": 1, "position": "a"}])
    def test_is_a_sequence_in_the_keys_order_or_a_dictionary_of_attributes(self, db, key):
        assert_passes(lambda: Lines(db).get(key))

    def test_is_found_by_every_column(self):
        for key in ((1, "a"), {"position": "a", "order": 1}):
            condition = identity_condition(Line, key).compile()
            assert str(condition) == (
                "lines.order_no = :order_no_1 AND lines.position = :position_1"
            )
            assert condition.params == {"order_no_1": 1, "position_1": "a"}

    @pytest.mark.parametrize(
        ("key", "why"),
        [
            (1, "has 2 columns"),
            ((1,), "has 2 columns"),
            ((1, "a", 2), r"has 2 columns \(order, position\), not 3"),
            (("a", 1), "order is int"),
            ((1, 2), "position is str"),
            ((1, None), "position is str, not None"),
            ((None, None), "order is int, not None"),
            ({"order": 1}, "the key of Line is"),
            ({"order_no": 1, "position": "a"}, "the key of Line is"),
            ({"order": 1, "position": "a", "x": 1}, "the key of Line is"),
            ("1a", "has 2 columns"),
        ],
    )
    def test_is_refused_otherwise(self, db, key, why):
        with pytest.raises(InvalidArgument, match=why):
            Lines(db).get(key)


@pytest.mark.parametrize("verb", BY_CONDITION)
class TestACondition:
    @pytest.mark.parametrize(
        "condition",
        [
            "email = 'x'",
            "1=1",
            True,
            False,
            None,
            1,
            User.email is None,
            {"email": "x"},
            ("email", "x"),
            lambda: True,
            sa.text("1=1"),
            User,
            User(id=1),
        ],
        ids=repr,
    )
    def test_is_an_sql_expression(self, users, verb, condition):
        with pytest.raises(InvalidArgument, match="a condition is an expression such as"):
            BY_CONDITION[verb](users, condition)
        with pytest.raises(InvalidArgument, match="a condition is an expression such as"):
            BY_CONDITION[verb](users, User.id == 1, condition)

    def test_is_not_a_list_of_conditions(self, users, verb):
        with pytest.raises(InvalidArgument):
            BY_CONDITION[verb](users, [User.id == 1])

    @pytest.mark.parametrize(
        "condition",
        [
            User.email == "x",
            User.email.is_(None),
            User.active.is_(True),
            ~User.active,
            User.id.in_([1, 2]),
            (User.id == 1) | (User.id == 2),
            sa.and_(User.id > 1, User.id < 9),
            sa.exists().where(Post.author_id == User.id),
            User.posts.any(),
            everything(),
        ],
        ids=str,
    )
    def test_of_any_shape_passes(self, users, verb, condition):
        assert_passes(lambda: BY_CONDITION[verb](users, condition))
        assert_passes(lambda: BY_CONDITION[verb](users, condition, User.id > 0))


class TestNoCondition:
    @pytest.mark.parametrize("verb", ["one", "one_or_none", "find"])
    def test_is_refused_where_all_rows_would_be_meant(self, users, verb):
        with pytest.raises(InvalidArgument, match=r"at least one condition, or everything\(\)"):
            BY_CONDITION[verb](users)

    @pytest.mark.parametrize("verb", ["first", "find with a limit", "exists", "count"])
    def test_passes_where_the_answer_is_small_all_the_same(self, users, verb):
        assert_passes(lambda: BY_CONDITION[verb](users))


class TestALimit:
    @pytest.mark.parametrize("limit", [0, -1, True, False, "5", 5.0, decimal.Decimal(5), [5]])
    def test_is_a_whole_number_from_1_up(self, users, limit):
        with pytest.raises(InvalidArgument, match="limit is a whole number from 1 up"):
            users.find(limit=limit)
        with pytest.raises(InvalidArgument, match="limit is a whole number from 1 up"):
            users.find(User.id > 1, limit=limit)

    def test_passes(self, users):
        assert_passes(lambda: users.find(limit=1))
        assert_passes(lambda: users.find(User.id > 1, limit=None))


class TestAnOrder:
    VERBS = {
        "first": lambda repository, order: repository.first(order_by=order),
        "find": lambda repository, order: repository.find(everything(), order_by=order),
    }

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize(
        "order",
        [
            *("name", "id DESC", "", 1, None, True, sa.text("id"), User, User(), lambda: User.id),
            *(["id"], (User.id, "email"), {User.id}, {"id": "desc"}),
        ],
        ids=repr,
    )
    def test_is_of_columns(self, users, verb, order):
        with pytest.raises(InvalidArgument, match="order_by takes columns"):
            self.VERBS[verb](users, order)

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize(
        "order",
        [User.id, User.id.desc(), sa.desc(User.id), (User.email, User.id.desc()), [User.id]],
        ids=str,
    )
    def test_passes(self, users, verb, order):
        assert_passes(lambda: self.VERBS[verb](users, order))

    @pytest.mark.parametrize("nothing", [(), []])
    def test_is_needed_to_be_first(self, users, nothing):
        with pytest.raises(InvalidArgument, match=r"first\(\) wants an order_by"):
            users.first(User.id == 1, order_by=nothing)
        with pytest.raises(TypeError, match="order_by"):
            users.first(User.id == 1)

    def test_is_not_needed_to_find(self, users):
        assert_passes(lambda: users.find(everything(), order_by=()))


class TestARowToAdd:
    @pytest.mark.parametrize("row", [None, 1, {"email": "x"}, User, Post(), "user"], ids=repr)
    def test_is_an_instance_of_the_model(self, users, row):
        with pytest.raises(InvalidArgument, match=f"Users takes User, not {type(row).__name__}"):
            users.add(row)
        with pytest.raises(InvalidArgument, match=f"Users takes User, not {type(row).__name__}"):
            users.add_all([User(), row])

    def test_is_refused_with_all_that_came_with_it(self, db):
        with db.scope() as session:
            with pytest.raises(InvalidArgument):
                Users(db).add_all([User(), Post()])
            assert not session.new

    def test_may_be_of_a_subclass(self, users):
        assert_passes(lambda: users.add(Admin()))

    def test_may_come_from_a_generator(self, users):
        assert_passes(lambda: users.add_all(User() for _ in range(2)))


class TestChanges:
    @pytest.mark.parametrize("changes", [{}, None, [], [("email", "x")], "email", User()], ids=repr)
    def test_are_a_dictionary_with_something_in_it(self, users, changes):
        with pytest.raises(InvalidArgument, match="a dictionary of attribute names"):
            users.update(1, changes)

    @pytest.mark.parametrize(
        "name",
        ["emial", "e_mail", "", "EMAIL", "posts", "name", "login", "metadata", User.email, 1],
    )
    def test_are_of_attributes_that_stand_for_columns(self, users, name):
        with pytest.raises(InvalidArgument, match=r"has no column attribute .* it has .*id, email"):
            users.update(1, {name: "x"})
        with pytest.raises(InvalidArgument, match="has no column attribute"):
            users.update(1, {"email": "x", name: "x"})

    def test_are_not_of_an_attribute_that_is_computed(self, users):
        with pytest.raises(InvalidArgument, match="has no column attribute"):
            users.update(1, {"shouted": "X"})

    def test_are_not_of_the_key(self, users, db):
        with pytest.raises(InvalidArgument, match="'id' is part of the key, which never changes"):
            users.update(1, {"email": "x", "id": 2})
        with pytest.raises(InvalidArgument, match="'position' is part of the key"):
            Lines(db).update((1, "a"), {"position": "b"})

    @pytest.mark.parametrize(
        "changes", [{"email": "x"}, {"active": True, "email": User.email + "x"}], ids=str
    )
    def test_pass(self, users, changes):
        assert_passes(lambda: users.update(1, changes))


class TestARepositoryClass:
    def test_has_the_model_of_its_type_argument(self):
        assert Users.model is User

    def test_needs_a_type_argument_to_be_of_use(self, db):
        class Nobody(Repository):
            pass

        for cls in (Nobody, Repository):
            with pytest.raises(InvalidArgument, match=r"names no model: write class Users\(Rep"):
                cls(db)

    def test_is_needed_for_a_repository(self, db):
        with pytest.raises(InvalidArgument, match="names no model"):
            Repository[User](db)

    @pytest.mark.parametrize(
        "argument",
        [
            *(int, str, object, None, "User", Base, orm.DeclarativeBase, Database),
            *(User.__table__, list[User], User | None),
        ],
        ids=repr,
    )
    def test_wants_a_mapped_class(self, argument):
        with pytest.raises(InvalidArgument, match=r"Wrong: Repository\[...\] wants a mapped class"):

            class Wrong(Repository[argument]):
                pass

    def test_takes_any_mapped_class(self, db):
        class Plains(Repository[Plain]):
            pass

        assert_passes(lambda: Plains(db).get(1))

    def test_hands_its_model_to_subclasses(self, db):
        class Special(Users):
            pass

        class MoreSpecial(Special):
            pass

        assert MoreSpecial.model is User
        assert repr(MoreSpecial(db)) == "MoreSpecial(User)"

    def test_may_have_a_generic_base_between(self, db):
        class Audited(Repository[Row]):
            pass

        class AuditedTwice(Audited[Row]):
            pass

        class Audits(AuditedTwice[User]):
            pass

        class Others(AuditedTwice[Post]):
            pass

        assert (Audits.model, Others.model) == (User, Post)
        assert_passes(lambda: Audits(db).get(1))
        with pytest.raises(InvalidArgument, match="names no model"):
            Audited(db)
        with pytest.raises(InvalidArgument, match="wants a mapped class"):

            class Wrong(AuditedTwice[int]):
                pass

    def test_may_have_other_bases_beside(self):
        class Mixin(Generic[Key]):
            pass

        class Mixed(Mixin[int], Repository[User]):
            pass

        assert Mixed.model is User

    def test_may_have_a_generic_base_with_more_parameters(self):
        class Keyed(Repository[Row], Generic[Row, Key]):
            pass

        class KeyedUsers(Keyed[User, int]):
            pass

        assert KeyedUsers.model is User

    def test_passes_on_what_a_base_beside_it_asks_for(self):
        seen = []

        class Registered:
            def __init_subclass__(cls, *, name, **kwargs):
                super().__init_subclass__(**kwargs)
                seen.append(name)

        class Named(Repository[User], Registered, name="users"):
            pass

        assert seen == ["users"]
        assert Named.model is User


class TestASource:
    @pytest.mark.parametrize("source", [None, "mysql://app@127.0.0.1/shop", User, object()])
    def test_is_a_database_or_a_session(self, source):
        with pytest.raises(InvalidArgument, match="wants a Database or a Session"):
            Users(source)

    def test_that_is_an_engine_or_a_connection_is_none(self, db):
        with pytest.raises(InvalidArgument, match="wants a Database or a Session"):
            Users(db.engine)

    def test_that_is_a_database_is_asked_for_its_session_at_each_call(self, db):
        users = Users(db)
        with db.scope() as first:
            assert users.session is first
        with db.scope() as second:
            assert users.session is second
        with pytest.raises(NoActiveScope):
            _ = users.session

    def test_that_is_a_session_needs_no_scope(self, db):
        with orm.Session(db.engine) as session:
            assert Users(session).session is session
            with pytest.raises(ConnectError):
                Users(session).get(1)

    def test_that_is_the_session_of_a_scope_works(self, db):
        with db.scope() as session:
            assert Users(session).session is session


class TestTheErrors:
    def test_are_mistakes_of_the_code_and_value_errors(self, users):
        with pytest.raises(UsageError):
            users.get(None)
        with pytest.raises(ValueError, match="id is int"):
            users.get(None)

    def test_doom_no_scope(self, db):
        ran = []
        with db.scope():
            db.after_commit(lambda: ran.append(1))
            for wrong in (
                lambda: Users(db).get("1"),
                lambda: Users(db).find(),
                lambda: Users(db).update(1, {}),
                lambda: Users(db).add(Post()),
            ):
                with pytest.raises(InvalidArgument):
                    wrong()
        assert ran == [1]


class Vehicle(Base):
    __tablename__ = "vehicle"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    kind: orm.Mapped[str] = orm.mapped_column(sa.String(10))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}


class Truck(Vehicle):
    __tablename__ = "truck"

    id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("vehicle.id"), primary_key=True)
    load: orm.Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "truck"}


class Trucks(Repository[Truck]):
    pass


@pytest.mark.parametrize(
    "write",
    [
        lambda trucks: trucks.delete(1),
        lambda trucks: trucks.update(1, {"load": 2}),
        lambda trucks: trucks.update_where(Truck.id == 1, changes={"load": 2}),
        lambda trucks: trucks.delete_where(Truck.id == 1),
    ],
)
def test_one_statement_never_leaves_half_of_a_row_that_lies_in_several_tables(write):
    db = Database("mysql://u:p@127.0.0.1:1/d")
    with db.scope(), pytest.raises(InvalidArgument, match="several tables"):
        write(Trucks(db))
