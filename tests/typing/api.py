"""What users' type checkers see: only checked, by mypy and pyright, both strict; never run.

Where a line must be refused, its `type: ignore` is the assertion: both checkers report one that is
not needed.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, TypeVar, assert_type

from sqlalchemy import ColumnElement, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column

import dal
from dal import Base, Database, Page, Repository, Upserted, everything
from dal.doctor import Finding, Report, Verdict, examine
from dal.engine import Settings, create_engine
from dal.scope import Session as ScopeSession


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(100))
    name: Mapped[str | None] = mapped_column(String(100))
    active: Mapped[bool]


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)


class Users(Repository[User]):
    def by_email(self, email: str) -> User | None:
        return self.one_or_none(User.email == email)


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 3000


db = Database("mysql://app@localhost/shop")
users = Users(db)


# Reading

assert_type(users.get(1), User | None)
assert_type(users.get((1,)), User | None)
assert_type(users.get_one(1), User)
assert_type(users.one(User.id == 1), User)
assert_type(users.one_or_none(User.id == 1, User.active.is_(True)), User | None)
assert_type(users.first(order_by=User.id), User | None)
assert_type(users.first(User.id > 1, order_by=[User.name.desc(), User.id]), User | None)
assert_type(users.find(everything()), list[User])
assert_type(users.find(User.email == "x", order_by=User.id, limit=5), list[User])
assert_type(users.find(User.id.in_([1, 2]) | User.name.is_(None)), list[User])
assert_type(users.find(~User.active), list[User])
assert_type(users.exists(User.id == 1), bool)
assert_type(users.count(), int)
assert_type(users.by_email("x"), User | None)
assert_type(everything(), ColumnElement[bool])

users.get_one(1).email.upper()
users.get(1).email.upper()  # type: ignore[union-attr]
users.get_one(1).emial.upper()  # type: ignore[attr-defined]

users.find("email = 'x'")  # type: ignore[arg-type]
users.find(True)  # type: ignore[arg-type]
users.find(User.email is None)  # type: ignore[arg-type]
users.find({"email": "x"})  # type: ignore[arg-type]
users.find([User.id == 1])  # type: ignore[arg-type]
users.find(User.id + 1)  # type: ignore[arg-type]
users.find(User.email == "x", limit="5")  # type: ignore[arg-type]
users.find(User.email == "x", order_by="email")  # type: ignore[arg-type]
users.find(email="x")  # type: ignore[call-arg]
users.first(User.id == 1)  # type: ignore[call-arg]
users.count("1=1")  # type: ignore[arg-type]
users.exists(1)  # type: ignore[arg-type]


# Writing

assert_type(users.get_many([1, 2]), list[User])
assert_type(users.get(1, lock="update"), User | None)
users.get(1, lock="exclusive")  # type: ignore[arg-type]
assert_type(users.rows(User.id, User.name, where=[User.id > 1]), list[dict[str, Any]])
assert_type(users.page(User.id > 1, order_by=User.name, limit=10), Page[User])
assert_type(users.page(limit=10).items, list[User])
assert_type(users.page(limit=10).next_token, str | None)
assert_type(list(users.stream(User.id > 1, chunk=10)), list[User])
assert_type(users.claim(User.id > 1, limit=10), list[User])
users.stream("id > 1")  # type: ignore[arg-type]

assert_type(users.insert_many([{"email": "x"}]), int)
assert_type(users.update_where(User.id == 1, changes={"name": "x"}), int)
assert_type(users.delete_where(User.id == 1), int)
assert_type(users.purge_where(everything(), chunk=100), int)
assert_type(users.upsert([{"email": "x"}], key=[User.email], update=[User.name]), Upserted)
assert_type(users.get_or_create({"email": "x"}, defaults={"name": "y"}), tuple[User, bool])
users.delete_where("id = 1")  # type: ignore[arg-type]

assert_type(users.add(User(email="x")), User)
assert_type(users.add_all([User(), User()]), list[User])
assert_type(users.add_all(User() for _ in range(2)), list[User])
assert_type(users.update(1, {"email": "y"}), None)
assert_type(users.delete(1), None)

users.add(Post())  # type: ignore[arg-type]
users.add_all([Post()])  # type: ignore[list-item]
users.update(1, email="y")  # type: ignore[call-arg]


# Repositories of any mapped class, and generic ones

Row = TypeVar("Row")


class OtherBase(MappedAsDataclass, DeclarativeBase):
    pass


class Item(OtherBase):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)


class Items(Repository[Item]):
    pass


class Audited(Repository[Row]):
    def newest(self) -> Row | None:
        return self.first(order_by=Item.id.desc())


class AuditedPosts(Audited[Post]):
    pass


assert_type(Items(db).get_one(1), Item)
assert_type(AuditedPosts(db).newest(), Post | None)
assert_type(AuditedPosts(db).find(everything()), list[Post])

with Session() as own:
    assert_type(Users(own).get(1), User | None)

Users("mysql://app@localhost/shop")  # type: ignore[arg-type]


# Scopes

with db.scope() as session:
    assert_type(session, ScopeSession)
    plain: Session = session
    assert_type(session.scalars(select(User)).all()[0], User)

with db.scope(read_only=True, deadline=2.5):
    assert_type(db.session, ScopeSession)

with db.savepoint() as nothing:
    assert_type(nothing, None)

db.after_commit(users.count)
db.after_commit(print)
assert_type(db.rollback_only(), None)
db.scope(True)  # type: ignore[call-arg]
db.scope(deadline="5")  # type: ignore[arg-type]
db.after_commit(5)  # type: ignore[arg-type]


# Handlers keep their type, bare and with keywords


class Answer(TypedDict):
    id: int


class Event(TypedDict):
    email: str


@db.handler
def create(event: Event, context: Context) -> Answer:
    return {"id": users.add(User(email=event["email"])).id}


@db.handler(read_only=True, reserve=1.5)
def read(event: Event, context: Context) -> Answer:
    return {"id": users.one(User.email == event["email"]).id}


@db.handler()
def untyped(event: dict[str, Any], context: object) -> dict[str, Any]:
    return {"users": [user.id for user in users.find(everything())]}


def is_bad(answer: Answer) -> bool:
    return answer["id"] < 0


@db.handler(rollback_when=is_bad)
def judged(event: Event, context: Context) -> Answer:
    return {"id": 1}


class Service:
    @db.handler
    def handle(self, event: Event, context: Context) -> Answer:
        return {"id": 1}


assert_type(create({"email": "x"}, Context()), Answer)
assert_type(read({"email": "x"}, context=Context()), Answer)
assert_type(untyped({}, None), dict[str, Any])
assert_type(Service().handle({"email": "x"}, Context()), Answer)
function: Callable[[Event, Context], Answer] = create

create({"email": "x"})  # type: ignore[call-arg]
create({"mail": "x"}, Context())  # type: ignore[typeddict-item]
create("x", Context())  # type: ignore[arg-type]
read(event={"email": "x"})  # type: ignore[call-arg]
db.handler(5)  # type: ignore[call-overload]
db.handler(read_only="yes")  # type: ignore[call-overload]
db.handler(colour="red")  # type: ignore[call-overload]


# Settings and errors

assert_type(Database.from_env(), Database)
assert_type(Settings.from_env({}).for_migrations(), Settings)
assert_type(Settings.from_url("mysql://app@localhost/shop").tls_ca is None, bool)
Database(Settings(host="h", user="u", database="d", password=lambda: b"token"))
create_engine("mysql://app@localhost/shop", statement_timeout=2.5)
Database(5)  # type: ignore[arg-type]
Settings(host="h", user="u", database="d", tls="off")  # type: ignore[arg-type]
Settings("h", user="u", database="d")  # type: ignore[call-arg]

try:
    users.get(1)
except dal.DuplicateKey as duplicate:
    assert_type(duplicate.errno, int | None)
    assert_type(duplicate.constraint, str | None)
    assert_type(duplicate.columns, tuple[str, ...])
    assert_type(duplicate.statement, str | None)
except dal.Error as error:
    assert_type(error.transient, bool)
    assert_type(error.transaction_lost, bool)


# The doctor --------------------------------------------------------------------------------------

report = examine(db, concurrency=200, processes=1, deadline=5.0)
assert_type(report, Report)
assert_type(report.findings, tuple[Finding, ...])
assert_type(report.verdict, Verdict)
assert_type(report.as_dict(), dict[str, Any])
