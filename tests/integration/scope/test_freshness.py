"""Every read sees what was committed before it began, and refreshing loses no pending change."""

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts, Entry
from sqlalchemy import event
from sqlalchemy.orm import immediateload, joinedload, selectinload

from dal import Database, UnflushedChanges

READS = {
    "get": lambda accounts, s: accounts.get(1),
    "get_one": lambda accounts, s: accounts.get_one(1),
    "one": lambda accounts, s: accounts.one(Account.id == 1),
    "one_or_none": lambda accounts, s: accounts.one_or_none(Account.id == 1),
    "first": lambda accounts, s: accounts.first(order_by=Account.id),
    "find": lambda accounts, s: accounts.find(Account.id == 1)[0],
    "session.get": lambda accounts, s: s.get(Account, 1),
    "session.get_one": lambda accounts, s: s.get_one(Account, 1),
    "session.scalars": lambda accounts, s: s.scalars(sa.select(Account)).one(),
    "session.execute": lambda accounts, s: s.execute(sa.select(Account, Account.id)).one()[0],
    "session.query": lambda accounts, s: s.query(Account).first(),
    "from_statement": lambda accounts, s: s.scalars(
        sa.select(Account).from_statement(sa.text("SELECT * FROM account"))
    ).one(),
    "joinedload": lambda accounts, s: accounts.get(1, options=[joinedload(Account.entries)]),
    "selectinload": lambda accounts, s: accounts.get(1, options=[selectinload(Account.entries)]),
    "refresh": lambda accounts, s: s.refresh(accounts.get(1)) or accounts.get(1),
    "locking": lambda accounts, s: s.scalars(sa.select(Account).with_for_update()).one(),
}


@pytest.fixture
def write(admin):
    def run(sql, *values):
        with admin.cursor() as cursor:
            cursor.execute(sql, values)

    return run


@pytest.fixture
def accounts(db, write):
    write("INSERT INTO account (id, owner, balance) VALUES (1, 'ada', 0)")
    return Accounts(db)


def stored(admin, sql="SELECT balance FROM account WHERE id = 1"):
    with admin.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


class TestEveryRead:
    @pytest.mark.parametrize("verb", READS)
    def test_sees_what_another_connection_committed_meanwhile(self, db, accounts, write, verb):
        with db.scope() as session:
            held = READS["get" if verb == "locking" else verb](accounts, session)
            assert held.balance == 0
            write("UPDATE account SET balance = 5 WHERE id = 1")
            assert READS[verb](accounts, session) is held
            assert held.balance == 5

    @pytest.mark.parametrize("verb", sorted(set(READS) - {"locking"}))
    def test_sees_it_in_a_read_only_scope_as_well(self, db, accounts, write, verb):
        with db.scope(read_only=True) as session:
            held = READS[verb](accounts, session)
            assert held.balance == 0
            write("UPDATE account SET balance = 5 WHERE id = 1")
            assert READS[verb](accounts, session) is held
            assert held.balance == 5

    def test_counts_and_existence_are_fresh(self, db, accounts, write):
        with db.scope():
            assert accounts.count() == 1
            assert not accounts.exists(Account.owner == "bob")
            write("INSERT INTO account (owner, balance) VALUES ('bob', 0)")
            assert accounts.count() == 2
            assert accounts.exists(Account.owner == "bob")

    def test_a_row_deleted_meanwhile_is_none(self, db, accounts, write):
        with db.scope() as session:
            held = accounts.get_one(1)
            write("DELETE FROM account WHERE id = 1")
            assert accounts.get(1) is None
            assert session.get(Account, 1) is None
            assert held.balance == 0

    def test_a_collection_is_loaded_anew_after_its_parent_was_read_again(self, db, accounts, write):
        with db.scope():
            ada = accounts.get_one(1)
            assert ada.entries == []
            write("INSERT INTO entry (account_id, note) VALUES (1, 'new')")
            assert [entry.note for entry in accounts.get_one(1).entries] == ["new"]

    def test_lazily_loaded_rows_are_fresh(self, db, accounts, write):
        write("INSERT INTO entry (id, account_id, note) VALUES (7, 1, 'old')")
        with db.scope() as session:
            entry = session.get(Entry, 7)
            write("UPDATE entry SET note = 'new' WHERE id = 7")
            assert [entry.note for entry in accounts.get_one(1).entries] == ["new"]
            assert entry.note == "new"

    def test_what_is_loaded_already_is_not_a_read(self, db, accounts, write):
        with db.scope():
            ada = accounts.get_one(1)
            write("UPDATE account SET balance = 5 WHERE id = 1")
            assert ada.balance == 0


class TestWhatTheSessionHolds:
    """As docs/scope.md tells it: which loads of relationships ask the server, and which do not."""

    @pytest.mark.parametrize(
        ("load", "balance"),
        [(None, 0), (immediateload, 0), (selectinload, 5), (joinedload, 5)],
        ids=lambda load: getattr(load, "__name__", str(load)),
    )
    def test_a_parent_held_already_is_read_by_some_loaders_only(
        self, db, accounts, write, load, balance
    ):
        write("INSERT INTO entry (id, account_id, note) VALUES (7, 1, 'a')")
        with db.scope() as session:
            ada = accounts.get_one(1)
            write("UPDATE account SET balance = 5 WHERE id = 1")
            options = [load(Entry.account)] if load else []
            entry = session.get_one(Entry, 7, options=options)
            assert entry.account is ada
            assert ada.balance == balance
            session.refresh(entry, ["account"])
            assert entry.account.balance == balance
            session.refresh(entry.account)
            assert ada.balance == 5

    @pytest.mark.parametrize(
        ("load", "notes"),
        [(None, ["a"]), (selectinload, ["a"]), (joinedload, ["a"]), (immediateload, [])],
        ids=lambda load: getattr(load, "__name__", ""),
    )
    def test_a_collection_loaded_already_is_left_alone_by_immediateload(
        self, db, accounts, write, load, notes
    ):
        with db.scope():
            ada = accounts.get_one(1)
            assert ada.entries == []
            write("INSERT INTO entry (id, account_id, note) VALUES (7, 1, 'a')")
            accounts.get_one(1, options=[load(Account.entries)] if load else [])
            assert [entry.note for entry in ada.entries] == notes

    @pytest.mark.parametrize("autoflush", [True, False])
    def test_refresh_throws_away_the_changes_of_its_entity_alone(
        self, db, accounts, write, admin, autoflush
    ):
        write("INSERT INTO account (id, owner, balance) VALUES (2, 'bob', 0)")
        with db.scope() as session:
            ada, bob = accounts.get_many([1, 2])
            ada.balance, bob.balance = 3, 4
            write("UPDATE account SET owner = 'Ada' WHERE id = 1")
            session.autoflush = autoflush
            session.refresh(ada)
            assert (ada.owner, ada.balance, bob.balance) == ("Ada", 0, 4)
        assert stored(admin) == 0
        assert stored(admin, "SELECT balance FROM account WHERE id = 2") == 4


class TestPendingChanges:
    """A read flushes first: what was pending is written, then read back."""

    @pytest.mark.parametrize("verb", READS)
    def test_survive_a_read_of_the_same_row(self, db, accounts, admin, verb):
        with db.scope() as session:
            held = accounts.get_one(1)
            held.balance = 3
            assert READS[verb](accounts, session).balance == 3
        assert stored(admin) == 3

    @pytest.mark.parametrize("verb", sorted(set(READS) - {"refresh"}))
    def test_make_a_read_with_autoflush_off_raise(self, db, accounts, admin, verb):
        with db.scope() as session:
            accounts.get_one(1).balance = 3
            with session.no_autoflush, pytest.raises(UnflushedChanges):
                READS[verb](accounts, session)
        assert stored(admin) == 3

    def test_do_not_trouble_a_read_of_columns_with_autoflush_off(self, db, accounts, admin):
        with db.scope() as session:
            accounts.get_one(1).balance = 3
            with session.no_autoflush:
                assert session.scalar(sa.select(Account.balance)) == 0
        assert stored(admin) == 3

    def test_survive_deleting_a_parent_with_a_dirty_child(self, db, accounts, write, admin):
        write("INSERT INTO entry (id, account_id, note) VALUES (7, 1, 'a'), (8, 1, 'b')")
        deleted = []

        def note(mapper, connection, entry):
            deleted.append(entry.note)

        event.listen(Entry, "before_delete", note)
        try:
            with db.scope() as session:
                session.get(Entry, 7).note = "dirty"
                session.delete(accounts.get_one(1))
        finally:
            event.remove(Entry, "before_delete", note)
        assert sorted(deleted) == ["b", "dirty"]
        assert stored(admin, "SELECT COUNT(*) FROM account") == 0

    def test_survive_deleting_a_parent_with_autoflush_off(self, db, accounts, write, admin):
        write("INSERT INTO entry (id, account_id, note) VALUES (7, 1, 'a')")
        write("INSERT INTO account (id, owner, balance) VALUES (2, 'bob', 0)")
        with db.scope() as session:
            bob = accounts.get_one(2)
            ada = accounts.get_one(1)
            with session.no_autoflush:
                bob.balance = 9
                session.delete(ada)
        assert stored(admin, "SELECT balance FROM account WHERE id = 2") == 9
        assert stored(admin, "SELECT COUNT(*) FROM entry") == 0

    def test_survive_a_before_flush_hook_that_reads_the_same_table(self, db, accounts, admin):
        with db.scope() as session:

            @event.listens_for(session, "before_flush")
            def read(session, context, instances):
                assert session.scalars(sa.select(Account)).one().balance == 3
                assert session.get(Account, 1).balance == 3

            accounts.get_one(1).balance = 3
        assert stored(admin) == 3

    def test_survive_merging_two_rows(self, db, accounts, write, admin):
        write("INSERT INTO account (id, owner, balance) VALUES (2, 'bob', 0)")
        with db.scope() as session:
            accounts.get_one(1).balance = 3
            session.merge(Account(id=2, owner="bob", balance=4, entries=[Entry(id=9, note="m")]))
            session.merge(Account(id=1, owner="ada", balance=5))
        assert stored(admin) == 5
        assert stored(admin, "SELECT balance FROM account WHERE id = 2") == 4
        assert stored(admin, "SELECT note FROM entry") == "m"

    def test_survive_lazy_loading_with_autoflush_off(self, db, accounts, write, admin):
        write("INSERT INTO entry (id, account_id, note) VALUES (7, 1, 'a')")
        with db.scope() as session:
            ada, entry = accounts.get_one(1), session.get(Entry, 7)
            entry.note = "dirty"
            with session.no_autoflush:
                assert [row.note for row in ada.entries] == ["dirty"]
        assert stored(admin, "SELECT note FROM entry") == "dirty"


def test_two_scopes_at_once_read_each_others_commits(environment, accounts, db):
    other = Database.from_env(environment)
    with db.scope() as first, other.scope() as second:
        assert first.get(Account, 1).balance == 0
        second.get(Account, 1).balance = 4
        second.flush()
        assert first.get(Account, 1).balance == 0
        del second
    with db.scope() as first:
        assert first.get(Account, 1).balance == 4
