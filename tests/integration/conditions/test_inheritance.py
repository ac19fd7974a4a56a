"""Classes that share a table: a repository of one writes rows of that class and of no other."""

import enum
import warnings

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import Database, DuplicateKey, InvalidArgument, NotFound, Repository, everything
from dal.engine import Settings, create_engine


class Base(DeclarativeBase):
    """Of its own: other tests need not create these tables."""


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(50), unique=True)
    note: Mapped[str | None] = mapped_column(sa.String(50))
    kind: Mapped[str | None] = mapped_column("type", sa.String(20))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "user"}


with warnings.catch_warnings():
    warnings.simplefilter("ignore", sa.exc.SAWarning)  # that it has no polymorphic_identity

    class Staff(User):
        """Between two classes, and none to insert."""

        level: Mapped[int | None]


class Admin(Staff):
    __mapper_args__ = {"polymorphic_identity": "admin"}


class Owner(Admin):
    __mapper_args__ = {"polymorphic_identity": "owner"}


class Guest(User):
    __mapper_args__ = {"polymorphic_identity": "guest"}


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Card(Base):
    __tablename__ = "card"
    id: Mapped[int] = mapped_column(primary_key=True)
    colour: Mapped[Colour]
    __mapper_args__ = {"polymorphic_on": "colour", "polymorphic_abstract": True}


class Red(Card):
    __mapper_args__ = {"polymorphic_identity": Colour.RED}


class Blue(Card):
    __mapper_args__ = {"polymorphic_identity": Colour.BLUE}


class Users(Repository[User]):
    pass


class Staffs(Repository[Staff]):
    pass


class Admins(Repository[Admin]):
    pass


class Reds(Repository[Red]):
    pass


@pytest.fixture
def db(environment):
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add_all([User(id=1, email="u"), Admin(id=2, email="a"), Owner(id=3, email="o")])
        session.add(Guest(id=4, email="g"))
        session.commit()
    return Database.from_env(environment)


@pytest.fixture
def stored(admin):
    def read():
        with admin.cursor() as cursor:
            cursor.execute("SELECT email, type, note FROM user ORDER BY id")
            return cursor.fetchall()

    return read


BEFORE = (("u", "user", None), ("a", "admin", None), ("o", "owner", None), ("g", "guest", None))
HERS = {"a", "o"}


def test_reads_find_rows_of_the_class_and_its_subclasses(db):
    admins = Admins(db)
    with db.scope():
        assert {row.email for row in admins.find(everything())} == HERS
        assert {row.email for row in admins.stream(chunk=1)} == HERS
        assert {row.email for row in admins.page(limit=9).items} == HERS
        assert {row.email for row in admins.claim(limit=9)} == HERS
        for column in (Admin.email, User.email, User.__table__.c.email):
            assert {row["email"] for row in admins.rows(column, where=everything())} == HERS
        assert admins.count() == 2
        assert not admins.exists(User.email == "u")
        assert admins.get(1) is None
        with pytest.raises(NotFound):
            admins.get_many([2, 1])


@pytest.mark.parametrize("update", [None, (), [Admin.note]])
def test_an_upsert_that_meets_a_row_of_another_class_changes_nothing(db, stored, update):
    admins = Admins(db)
    for rows in (
        [{"email": "g", "note": "mine"}],
        [{"email": "new", "note": "mine"}, {"email": "G", "note": "mine"}],
        [{"email": "a", "note": "mine"}, {"email": "u", "note": "mine"}],
    ):
        with db.scope(), pytest.raises(DuplicateKey, match="another class than Admin"):
            admins.upsert(rows, key=Admin.email, update=update)
    assert stored() == BEFORE


def test_an_upsert_changes_rows_of_the_class_and_its_subclasses(db, stored):
    with db.scope():
        done = Admins(db).upsert(
            [{"email": "a", "note": "1"}, {"email": "o", "note": "2"}, {"email": "n", "note": "3"}],
            key=Admin.email,
        )
    assert (done.rows, done.changed) == (3, 2)
    assert stored()[1:] == (
        ("a", "admin", "1"),
        ("o", "owner", "2"),
        ("g", "guest", None),
        ("n", "admin", "3"),
    )


def test_an_upsert_by_the_base_class_changes_every_row(db, stored):
    with db.scope():
        Users(db).upsert([{"email": "g", "note": "1"}], key=User.email)
    assert stored()[3] == ("g", "guest", "1")


def test_get_or_create_does_not_take_a_row_of_another_class(db, stored):
    with db.scope(), pytest.raises(DuplicateKey):
        Admins(db).get_or_create({"email": "g"})
    with db.scope(), pytest.raises(InvalidArgument, match="says the class of a row"):
        Admins(db).get_or_create({"email": "new"}, defaults={"kind": "guest"})
    assert stored() == BEFORE


def test_updates_and_deletes_leave_rows_of_other_classes(db, stored):
    admins = Admins(db)
    with db.scope():
        guest = db.session.get(Guest, 4)
        for write in (
            lambda: admins.update(4, {"note": "mine"}),
            lambda: admins.delete(4),
        ):
            with pytest.raises(NotFound):
                write()
        assert admins.update_where(everything(), changes={"note": "mine"}) == 2
        assert admins.delete_where(User.email.in_(["g", "u", "o"])) == 1
        assert guest.note is None
    assert admins.purge_where(everything(), chunk=1) == 1
    assert stored() == (BEFORE[0], BEFORE[3])


@pytest.mark.parametrize("kind", ["guest", "user", "nobody", "ADMIN", None, 1, ["admin"]], ids=str)
def test_no_row_is_given_another_class(db, stored, kind):
    admins = Admins(db)
    writes = [
        lambda: admins.insert_many([{"email": "n", "kind": kind}]),
        lambda: admins.upsert([{"email": "a", "kind": kind}], key=Admin.email),
        lambda: admins.get_or_create({"email": "n"}, defaults={"kind": kind}),
        lambda: admins.update(2, {"kind": kind}),
        lambda: admins.update_where(everything(), changes={"kind": kind}),
        lambda: admins.add(Admin(email="n", kind=kind)),
        lambda: admins.add_all([Admin(email="n"), Admin(email="m", kind=kind)]),
    ]
    for write in writes:
        with db.scope(), pytest.raises(InvalidArgument):
            write()
    assert stored() == BEFORE


def test_nor_by_an_expression(db, stored):
    for changes in ({"kind": sa.literal("guest")}, {"kind": User.email}):
        with db.scope(), pytest.raises(InvalidArgument, match="says the class of a row"):
            Admins(db).update_where(everything(), changes=changes)
    assert stored() == BEFORE


def test_a_row_may_name_a_subclass(db, stored):
    admins, users = Admins(db), Users(db)
    with db.scope():
        admins.insert_many([{"email": "n", "kind": "owner"}])
        admins.update(2, {"kind": "owner"})
        users.update(4, {"kind": "admin"})
    kinds = {email: kind for email, kind, _ in stored()}
    assert kinds == {"u": "user", "a": "owner", "o": "owner", "g": "admin", "n": "owner"}


def test_a_class_without_an_identity_inserts_nothing(db, stored):
    staffs = Staffs(db)
    for write in (
        lambda: staffs.insert_many([{"email": "n"}]),
        lambda: staffs.upsert([{"email": "n"}], key=Staff.email),
        lambda: staffs.get_or_create({"email": "n"}),
        lambda: staffs.add(Staff(email="n")),
    ):
        with db.scope(), pytest.raises(InvalidArgument, match=r"_identity|the class of"):
            write()
    assert stored() == BEFORE
    with db.scope():
        staffs.insert_many([{"email": "n", "kind": "admin"}])
        assert {row.email for row in staffs.find(everything())} == {"a", "o", "n"}


def test_a_discriminator_may_be_an_enumeration(db):
    reds = Reds(db)
    with db.scope():
        reds.insert_many([{"id": 1}, {"id": 2}])
        reds.upsert([{"id": 2, "colour": Colour.RED}], key=Red.id, update=Red.colour)
        with pytest.raises(InvalidArgument, match="says the class of a row"):
            reds.insert_many([{"id": 3, "colour": Colour.BLUE}])
        db.session.add(Blue(id=9))
        with pytest.raises(DuplicateKey, match="another class"):
            reds.upsert([{"id": 9}], key=Red.id, update=())
        assert reds.count() == 2
