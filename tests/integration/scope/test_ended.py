"""After its scope a session, and what was loaded by it, can be read as it is, and no more."""

import copy
import pickle

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts, Entry
from sqlalchemy import orm

from dal import NoActiveScope, ScopeEnded

ENDED = "has ended"


@pytest.fixture
def balance(admin):
    def ask(owner="ada"):
        with admin.cursor() as cursor:
            cursor.execute("SELECT balance FROM account WHERE owner = %s", (owner,))
            return cursor.fetchone()[0]

    return ask


@pytest.fixture
def ada(db):
    with db.scope() as session:
        session.add(Account(owner="ada", entries=[Entry(note="a")]))
    with db.scope() as session:
        return session.scalars(sa.select(Account)).one()


USES = {
    "add": lambda session, ada: session.add(Account(owner="x")),
    "add_all": lambda session, ada: session.add_all([]),
    "autoflush": lambda session, ada: session.autoflush,
    "set autoflush": lambda session, ada: setattr(session, "autoflush", False),
    "begin_nested": lambda session, ada: session.begin_nested(),
    "bulk_save_objects": lambda session, ada: session.bulk_save_objects([]),
    "commit": lambda session, ada: session.commit(),
    "connection": lambda session, ada: session.connection(),
    "delete": lambda session, ada: session.delete(ada),
    "dirty": lambda session, ada: session.dirty,
    "execute": lambda session, ada: session.execute(sa.select(1)),
    "expire": lambda session, ada: session.expire(ada),
    "expire_all": lambda session, ada: session.expire_all(),
    "expunge": lambda session, ada: session.expunge(ada),
    "flush": lambda session, ada: session.flush(),
    "get": lambda session, ada: session.get(Account, 1),
    "in": lambda session, ada: ada in session,
    "iteration": lambda session, ada: list(session),
    "merge": lambda session, ada: session.merge(ada),
    "no_autoflush": lambda session, ada: session.no_autoflush.__enter__(),
    "query": lambda session, ada: session.query(Account),
    "refresh": lambda session, ada: session.refresh(ada),
    "rollback": lambda session, ada: session.rollback(),
    "scalar": lambda session, ada: session.scalar(sa.select(1)),
    "scalars": lambda session, ada: session.scalars(sa.select(1)),
}


class TestTheSession:
    @pytest.mark.parametrize("use", USES)
    @pytest.mark.parametrize("end", ["commit", "rollback", "unused"])
    def test_raises_whatever_is_asked_of_it(self, db, ada, use, end):
        with db.scope() as session:
            if end != "unused":
                session.scalar(sa.select(1))
            if end == "rollback":
                db.rollback_only()
        with pytest.raises(ScopeEnded, match=ENDED):
            USES[use](session, ada)
        with db.scope(), pytest.raises(ScopeEnded, match=ENDED):
            USES[use](session, ada)

    def test_can_be_shown_and_told_from_others(self, db):
        with db.scope() as session:
            pass
        assert "0x" in repr(session)
        assert session == session  # noqa: PLR0124
        assert isinstance(session, orm.Session)


class TestAnObject:
    def test_can_be_read(self, ada):
        assert (ada.owner, ada.balance) == ("ada", 0)

    @pytest.mark.parametrize("inside", [True, False])
    def test_loads_nothing_more(self, db, ada, inside):
        with pytest.raises(ScopeEnded, match=ENDED):
            len(ada.entries)
        with db.scope(), pytest.raises(ScopeEnded, match=r"session.add\(\)"):
            len(ada.entries)

    def test_loads_no_deferred_column(self, db, ada):
        with db.scope() as session:
            held = session.scalars(sa.select(Account).options(orm.defer(Account.balance))).one()
        with pytest.raises(ScopeEnded):
            held.balance  # noqa: B018

    def test_loads_nothing_that_was_expired(self, db, ada):
        with db.scope() as session:
            held = session.scalars(sa.select(Account)).one()
            session.expire(held)
        with pytest.raises(ScopeEnded):
            held.owner  # noqa: B018

    def test_of_a_scope_that_was_rolled_back_loads_nothing(self, db, ada):
        with db.scope() as session:
            held = session.scalars(sa.select(Account)).one()
            db.rollback_only()
        with pytest.raises(ScopeEnded):
            held.owner  # noqa: B018

    @pytest.mark.parametrize(
        "change",
        [
            lambda ada: setattr(ada, "balance", 5),
            lambda ada: ada.entries.append(Entry(note="b")),
            lambda ada: ada.entries.clear(),
            lambda ada: delattr(ada, "balance"),
        ],
        ids=["set", "append", "clear", "del"],
    )
    @pytest.mark.parametrize("inside", [True, False])
    def test_takes_no_change_that_nobody_would_write(self, db, ada, change, inside, balance):
        with db.scope() as session:
            ada = session.scalars(sa.select(Account).options(orm.joinedload(Account.entries)))
            ada = ada.unique().one()
        if inside:
            with pytest.raises(ScopeEnded, match=r"session.merge\(\)"), db.scope():
                change(ada)
        else:
            with pytest.raises(ScopeEnded, match=r"session.merge\(\)"):
                change(ada)
        assert balance() == 0

    def test_that_is_changed_again_in_another_scope_fails_that_too(self, db, ada, balance):
        for value in (1, 2):
            with pytest.raises(ScopeEnded, match="Account"), db.scope():
                ada.balance = value
            with pytest.raises(ScopeEnded, match="Account"):
                ada.balance = value
        assert balance() == 0

    @pytest.mark.parametrize("is_loaded", [True, False])
    def test_takes_no_other_parent(self, db, ada, admin, is_loaded):
        with db.scope() as session:
            session.add(Account(owner="bob"))
            entry = session.scalars(sa.select(Entry)).one()
            bob = session.scalars(sa.select(Account).where(Account.owner == "bob")).one()
            if is_loaded:
                assert entry.account.owner == "ada"
        with pytest.raises(ScopeEnded, match="Entry"), db.scope():
            entry.account = bob
        with db.scope() as session:
            session.add(entry)
            entry.account = session.get(Account, bob.id)
        with admin.cursor() as cursor:
            cursor.execute("SELECT account_id FROM entry")
            assert cursor.fetchall() == ((bob.id,),)

    def test_that_was_changed_is_written_by_a_merge(self, db, ada, balance):
        with db.scope() as session:
            ada.balance = 5
            session.merge(ada)
        assert balance() == 5

    def test_that_was_changed_is_written_by_a_merge_of_what_refers_to_it(self, db, ada, admin):
        with db.scope() as session:
            ada = session.get(Account, ada.id, options=[orm.joinedload(Account.entries)])
        with db.scope() as session:
            ada.entries[0].note = "changed"
            session.merge(ada)
        with admin.cursor() as cursor:
            cursor.execute("SELECT note FROM entry")
            assert cursor.fetchall() == (("changed",),)

    def test_that_was_changed_is_written_by_adding_it(self, db, ada, balance):
        with db.scope() as session:
            ada.balance = 5
            session.add(ada)
        assert balance() == 5

    def test_that_was_changed_in_a_read_only_scope_fails_that(self, db, ada, balance):
        with pytest.raises(ScopeEnded, match="Account"), db.scope(read_only=True):
            ada.balance = 5
        assert balance() == 0

    def test_given_to_another_scope_is_changed_and_loads_there(self, db, ada, balance):
        with db.scope() as session:
            session.add(ada)
            ada.balance = 5
            assert len(ada.entries) == 1
        assert balance() == 5
        with pytest.raises(ScopeEnded):
            ada.balance = 6

    def test_comes_along_with_what_refers_to_it(self, db, ada, admin):
        with db.scope() as session:
            session.add(Entry(note="b", account_id=ada.id))
            merged = session.merge(ada)
            assert merged is not ada
            assert len(merged.entries) == 2

    @pytest.mark.parametrize("is_loaded", [True, False])
    def test_is_referred_to_by_a_new_one_which_brings_it_along(self, db, admin, is_loaded):
        with db.scope() as session:
            session.add(Account(owner="ada"))
        with db.scope() as session:
            ada = session.scalars(sa.select(Account)).one()
            if is_loaded:
                assert ada.entries == []
        with db.scope() as session:
            session.add(Entry(note="b", account=ada))
            session.flush()
            ada.balance = 4
        with admin.cursor() as cursor:
            cursor.execute(
                "SELECT note, balance FROM account JOIN entry ON account_id = account.id"
            )
            assert cursor.fetchall() == (("b", 4),)

    def test_is_moved_to_an_object_of_an_open_scope(self, db, ada, admin):
        with db.scope() as session:
            (held,) = session.scalars(sa.select(Entry)).all()
            bob = Account(owner="bob")
            session.add(bob)
        with db.scope() as session:
            bob = session.scalars(sa.select(Account).where(Account.owner == "bob")).one()
            bob.entries.append(held)
        with admin.cursor() as cursor:
            cursor.execute("SELECT owner FROM account JOIN entry ON account_id = account.id")
            assert cursor.fetchall() == (("bob",),)

    def test_is_deleted_by_another_scope(self, db, ada, admin):
        with db.scope() as session:
            session.delete(ada)
        with admin.cursor() as cursor:
            assert cursor.execute("SELECT id FROM account") == 0

    def test_can_be_made_transient_copied_and_pickled(self, ada):
        arrived = pickle.loads(pickle.dumps(ada))
        assert arrived.owner == "ada"
        assert copy.copy(ada).owner == "ada"
        orm.make_transient(ada)
        ada.balance = 7
        assert ada.balance == 7

    def test_that_was_taken_out_of_its_session_is_free(self, db, ada):
        with db.scope() as session:
            held = session.scalars(sa.select(Account)).one()
            session.expunge(held)
        held.balance = 3
        assert held.balance == 3

    def test_that_was_never_stored_is_free(self, db, admin):
        fresh = Account(owner="bob")
        with db.scope() as session:
            session.add(fresh)
            session.flush()
            db.rollback_only()
        fresh.balance = 3
        with db.scope() as session:
            session.add(fresh)
        with admin.cursor() as cursor:
            cursor.execute("SELECT owner, balance FROM account")
            assert cursor.fetchall() == (("bob", 3),)

    def test_is_left_alone_where_all_sessions_are_closed(self, ada):
        orm.close_all_sessions()
        assert ada.owner == "ada"


def test_a_repository_says_that_no_scope_is_open(db, ada):
    with pytest.raises(NoActiveScope):
        Accounts(db).get(1)
