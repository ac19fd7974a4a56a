"""The verbs of a repository, and what is in the table after them."""

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts, Base
from sqlalchemy.orm import selectinload

from dal import (
    CheckViolation,
    DuplicateKey,
    ForeignKeyViolation,
    InvalidArgument,
    MultipleFound,
    NoActiveScope,
    NotFound,
    Repository,
    everything,
)


@pytest.fixture
def accounts(db, admin):
    with admin.cursor() as cursor:
        cursor.execute("INSERT INTO account VALUES (1, 'ada', 10), (2, 'bob', 20), (3, 'cy', 20)")
        cursor.execute("INSERT INTO entry VALUES (1, 1, 'first')")
    return Accounts(db)


@pytest.fixture
def table(admin):
    def rows():
        with admin.cursor() as cursor:
            cursor.execute("SELECT id, owner, balance FROM account ORDER BY id")
            return list(cursor.fetchall())

    return rows


def test_reading(db, accounts):
    with db.scope(read_only=True):
        assert accounts.get(1).owner == "ada"
        assert accounts.get(9) is None
        assert accounts.get_one(2).owner == "bob"
        assert accounts.one(Account.owner == "ada").id == 1
        assert accounts.one_or_none(Account.owner == "nobody") is None
        assert accounts.first(order_by=Account.owner.desc()).owner == "cy"
        assert accounts.first(Account.balance > 99, order_by=Account.id) is None
        assert [row.id for row in accounts.find(Account.balance == 20, order_by=Account.id)] == [
            2,
            3,
        ]
        assert accounts.find(Account.balance == 99) == []
        assert len(accounts.find(everything())) == 3
        assert len(accounts.find(limit=2)) == 2
        assert accounts.exists(Account.balance == 20, Account.owner == "cy")
        assert not accounts.exists(Account.balance == 10, Account.owner == "cy")
        assert accounts.count(Account.balance == 20) == 2
        assert accounts.count() == 3


def test_what_is_missing_or_not_alone_says_so(db, accounts):
    with db.scope(read_only=True):
        with pytest.raises(NotFound, match="Account has the key 9") as caught:
            accounts.get_one(9)
        assert caught.value.keys == (9,)
        with pytest.raises(NotFound) as caught:
            accounts.one(Account.owner == "nobody")
        assert caught.value.keys == ()
        with pytest.raises(MultipleFound):
            accounts.one(Account.balance == 20)
        with pytest.raises(MultipleFound):
            accounts.one_or_none(Account.balance == 20)


def test_eager_loading_of_a_collection_keeps_rows_single(db, accounts):
    with db.scope(read_only=True):
        (row,) = accounts.find(Account.id == 1, options=[selectinload(Account.entries)])
    assert [entry.note for entry in row.entries] == ["first"]


def test_adding_gives_the_key_at_once(db, accounts, table):
    with db.scope():
        assert accounts.add(Account(owner="dan")).id == 4
        added = accounts.add_all([Account(owner="eve", balance=1), Account(owner="fay")])
        assert [row.id for row in added] == [5, 6]
        assert accounts.add_all([]) == []
    assert table()[3:] == [(4, "dan", 0), (5, "eve", 1), (6, "fay", 0)]


def test_a_duplicate_is_an_error_at_the_call(db, accounts, table):
    with pytest.raises(DuplicateKey), db.scope(), pytest.raises(DuplicateKey):
        accounts.add(Account(owner="ada"))
    assert len(table()) == 3


def test_updating_changes_just_what_it_names(db, accounts, table):
    with db.scope():
        held = accounts.get_one(1)
        accounts.update(1, {"balance": 11})
        assert held.balance == 11
        accounts.update(2, {"owner": "rob", "balance": Account.balance + 1})
    assert table() == [(1, "ada", 11), (2, "rob", 21), (3, "cy", 20)]


def test_updating_to_what_is_stored_already_is_no_error(db, accounts, table):
    with db.scope():
        accounts.update(1, {"balance": 10})
    assert table()[0] == (1, "ada", 10)


def test_updating_or_deleting_a_missing_row_says_so(db, accounts):
    with db.scope():
        with pytest.raises(NotFound):
            accounts.update(9, {"balance": 1})
        with pytest.raises(NotFound):
            accounts.delete(9)


def test_an_update_that_the_table_refuses_undoes_just_itself(db, accounts, table):
    with db.scope():
        accounts.update(1, {"balance": 11})
        with pytest.raises(CheckViolation):
            accounts.update(2, {"balance": -1})
        with pytest.raises(DuplicateKey):
            accounts.update(2, {"owner": "ada"})
    assert table() == [(1, "ada", 11), (2, "bob", 20), (3, "cy", 20)]


def test_deleting(db, accounts, table):
    with db.scope() as session:
        held = accounts.get_one(2)
        accounts.delete(2)
        assert held not in session
        assert accounts.get(2) is None
        with pytest.raises(ForeignKeyViolation):
            accounts.delete(1)
    assert [row[0] for row in table()] == [1, 3]


def test_a_session_of_ones_own_will_do(db, accounts, table):
    with db.scope() as session:
        Accounts(session).add(Account(owner="dan"))
    assert len(table()) == 4
    with sa.orm.Session(db.engine) as session, session.begin():
        Accounts(session).delete(4)
    assert len(table()) == 3


def test_outside_a_scope_it_says_what_to_write(accounts):
    with pytest.raises(NoActiveScope, match=r"@db\.handler"):
        accounts.get(1)


def test_a_text_never_finds_a_number(db, accounts, table):
    """MySQL would take '1 OR 1=1' for 1 and find, change or delete that row."""
    with db.scope():
        for call in (
            accounts.get,
            accounts.get_one,
            accounts.delete,
            lambda key: accounts.update(key, {"balance": 0}),
        ):
            with pytest.raises(InvalidArgument):
                call("1 OR 1=1")
    assert table()[0] == (1, "ada", 10)


class Membership(Base):
    __tablename__ = "membership"

    team: sa.orm.Mapped[int] = sa.orm.mapped_column(primary_key=True)
    person: sa.orm.Mapped[str] = sa.orm.mapped_column(sa.String(20), primary_key=True)
    role: sa.orm.Mapped[str] = sa.orm.mapped_column(sa.String(20), default="")


class Memberships(Repository[Membership]):
    pass


def test_keys_of_several_columns(db):
    memberships = Memberships(db)
    with db.scope():
        memberships.add(Membership(team=1, person="ada"))
        memberships.update((1, "ada"), {"role": "lead"})
        assert memberships.get((1, "ada")).role == "lead"
        assert memberships.get({"person": "ada", "team": 1}).role == "lead"
        assert memberships.get((1, "bob")) is None
        with pytest.raises(InvalidArgument):
            memberships.get(1)
        memberships.delete((1, "ada"))
        assert memberships.count() == 0
