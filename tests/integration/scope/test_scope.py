"""A unit of work commits all of it or nothing, once, and closes what it opened."""

import logging

import pymysql
import pytest
import sqlalchemy as sa
from accounts import Account, Accounts, Entry
from pymysql.cursors import DictCursor

from dal import (
    ConnectError,
    Database,
    DuplicateKey,
    ReadOnlyScope,
    RollbackOnly,
    ScopeEnded,
    TransactionControl,
)


def owners(admin):
    with admin.cursor() as cursor:
        cursor.execute("SELECT owner FROM account ORDER BY owner")
        return [owner for (owner,) in cursor.fetchall()]


def balance(admin, owner):
    with admin.cursor() as cursor:
        cursor.execute("SELECT balance FROM account WHERE owner = %s", (owner,))
        return cursor.fetchone()[0]


def insert(owner, balance=0):
    return sa.text("INSERT INTO account (owner, balance) VALUES (:owner, :balance)").bindparams(
        owner=owner, balance=balance
    )


class TestTheEnd:
    def test_a_normal_end_commits_what_the_orm_wrote(self, db, admin):
        with db.scope() as session:
            session.add(Account(owner="ada"))
            assert owners(admin) == []
        assert owners(admin) == ["ada"]

    def test_a_normal_end_commits_what_core_and_text_wrote(self, db, admin):
        with db.scope() as session:
            session.execute(insert("text"))
            session.execute(sa.insert(Account).values(owner="core", balance=1))
            session.connection().execute(insert("connection"))
        assert owners(admin) == ["connection", "core", "text"]

    def test_a_normal_end_commits_what_was_written_around_the_session(self, db, admin):
        with db.scope() as session:
            session.get_bind().execute(insert("bind"))
        with db.scope() as session:
            raw = session.connection().connection.cursor()
            raw.execute("INSERT INTO account (owner, balance) VALUES ('raw', 0)")
            raw.close()
        assert owners(admin) == ["bind", "raw"]

    def test_a_procedure_that_also_returns_rows_is_committed(self, db, admin):
        with admin.cursor() as cursor:
            cursor.execute(
                "CREATE PROCEDURE open_account(who VARCHAR(50)) BEGIN "
                "INSERT INTO account (owner, balance) VALUES (who, 0); "
                "SELECT owner FROM account; SELECT 1; END"
            )
        with db.scope() as session:
            assert session.execute(sa.text("CALL open_account('core')")).all() == [("core",)]
        with db.scope() as session:
            cursor = session.connection().connection.cursor()
            cursor.callproc("open_account", ("raw",))
            assert cursor.fetchall()
        assert owners(admin) == ["core", "raw"]

    def test_a_select_of_a_function_that_writes_is_committed(self, db, admin):
        with admin.cursor() as cursor:
            cursor.execute("SET GLOBAL log_bin_trust_function_creators = 1")
            cursor.execute(
                "CREATE FUNCTION open_account(who VARCHAR(50)) RETURNS INT NOT DETERMINISTIC "
                "MODIFIES SQL DATA BEGIN "
                "INSERT INTO account (owner, balance) VALUES (who, 0); RETURN 7; END"
            )
        with db.scope() as session:
            assert session.scalar(sa.text("SELECT open_account('fn')")) == 7
        assert owners(admin) == ["fn"]

    def test_returning_is_committed_where_the_server_has_it(self, db, admin, server):
        if not server.is_mariadb:
            pytest.skip("MySQL has no RETURNING")
        with db.scope() as session:
            session.execute(
                sa.text("INSERT INTO account (owner, balance) VALUES ('r', 0) RETURNING id")
            ).all()
        assert owners(admin) == ["r"]

    @pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
    def test_any_exception_rolls_back_and_leaves_as_it_is(self, db, admin, error):
        raised = error("mine")
        with pytest.raises(error) as caught, db.scope() as session:
            session.add(Account(owner="ada"))
            session.flush()
            raise raised
        assert caught.value is raised
        assert owners(admin) == []

    def test_rollback_only_ends_without_an_error_and_stores_nothing(self, db, admin):
        with db.scope() as session:
            session.execute(insert("ada"))
            db.rollback_only()
            session.execute(insert("bob"))
        assert owners(admin) == []

    def test_a_constraint_that_the_last_flush_meets_leaves_the_scope(self, db, admin):
        with db.scope() as session:
            session.add(Account(owner="ada"))
        with pytest.raises(DuplicateKey) as caught, db.scope() as session:
            session.execute(insert("bob"))
            session.add(Account(owner="ada"))
        assert caught.value.constraint == "uq_account_owner"
        assert owners(admin) == ["ada"]

    @pytest.mark.parametrize("end", ["commit", "raise", "rollback_only", "doomed"])
    def test_no_connection_survives(self, db, connections, end):
        try:
            with db.scope() as session:
                session.execute(insert("ada"))
                session.connection().connection.cursor().execute("SELECT SLEEP(0)")
                if end == "raise":
                    raise RuntimeError
                if end == "rollback_only":
                    db.rollback_only()
                if end == "doomed":
                    session.commit()
        except (RuntimeError, TransactionControl):
            pass
        assert connections() == 0

    def test_a_stream_left_half_read_does_not_survive(self, db, admin, connections):
        with db.scope() as session:
            session.add_all([Account(owner=str(number)) for number in range(100)])
        with db.scope(read_only=True) as session:
            stream = session.execute(
                sa.text("SELECT id FROM account"), execution_options={"stream_results": True}
            )
            assert stream.fetchone() is not None
        assert connections() == 0
        with db.scope() as session:
            session.execute(insert("after"))
            stream = session.execute(
                sa.text("SELECT id FROM account"), execution_options={"stream_results": True}
            )
            assert stream.fetchone() is not None
            stream.close()
        assert "after" in owners(admin)

    def test_loaded_attributes_stay_readable_after_the_end(self, db):
        with db.scope() as session:
            account = Account(owner="ada")
            session.add(account)
        assert (account.owner, account.balance) == ("ada", 0)

    def test_a_session_used_after_its_scope_says_so(self, db):
        with db.scope() as session:
            session.scalar(sa.select(1))
        with pytest.raises(ScopeEnded):
            session.scalar(sa.select(1))

    def test_the_next_scope_starts_clean_after_a_failed_one(self, db, admin):
        for _ in range(3):
            with pytest.raises(DuplicateKey), db.scope() as session:
                session.execute(insert("twice"))
                session.execute(insert("twice"))
            with db.scope() as session:
                session.execute(insert("ada"))
                db.rollback_only()
        assert owners(admin) == []


class TestBackDoors:
    """Code that swallows the refusal believes in a commit that never was: nothing is stored."""

    BACK_DOORS = {
        "session.commit": lambda session: session.commit(),
        "session.rollback": lambda session: session.rollback(),
        "session.begin": lambda session: session.begin(),
        "session.begin_nested": lambda session: session.begin_nested(),
        "session.close": lambda session: session.close(),
        "session.invalidate": lambda session: session.invalidate(),
        "connection.commit": lambda session: session.connection().commit(),
        "connection.rollback": lambda session: session.connection().rollback(),
        "connection.close": lambda session: session.connection().close(),
        "driver.commit": lambda session: session.connection().connection.commit(),
        "driver.rollback": lambda session: session.connection().connection.rollback(),
        "driver.begin": lambda session: session.connection().connection.begin(),
        "driver.autocommit": lambda s: s.connection().connection.autocommit(True),
        **{
            text: lambda session, text=text: session.execute(sa.text(text))
            for text in (
                "COMMIT",
                "/* so? */ commit",
                "begin",
                "START TRANSACTION",
                "ROLLBACK",
                "SET autocommit = 1",
                "CREATE TABLE t (id INT)",
                "ALTER TABLE account COMMENT 'x'",
                "TRUNCATE TABLE entry",
                "LOCK TABLES account WRITE",
                "ANALYZE TABLE account",
            )
        },
    }

    @pytest.mark.parametrize("door", BACK_DOORS)
    def test_each_is_refused_and_dooms_the_scope(self, db, admin, door):
        first = None
        with pytest.raises(Exception) as left, db.scope() as session:  # noqa: PT011
            session.execute(insert("before"))
            with pytest.raises(Exception) as caught:  # noqa: PT011
                self.BACK_DOORS[door](session)
            first = caught.value
            with pytest.raises(Exception) as again:  # noqa: PT011
                session.execute(insert("after"))
            assert again.value is first
        assert left.value is first
        assert isinstance(first, TransactionControl)
        assert owners(admin) == []
        with admin.cursor() as cursor:
            assert cursor.execute("SHOW TABLES LIKE 't'") == 0

    @pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE"])
    def test_another_isolation_level_is_refused(self, db, admin, level):
        with pytest.raises(TransactionControl), db.scope() as session:
            with pytest.raises(TransactionControl):
                session.connection(execution_options={"isolation_level": level})
            with pytest.raises(TransactionControl):
                session.execute(insert("after"))
        assert owners(admin) == []

    def test_temporary_tables_commit_nothing_and_are_allowed(self, db, admin):
        with pytest.raises(RuntimeError), db.scope() as session:
            session.execute(insert("ada"))
            session.execute(sa.text("CREATE TEMPORARY TABLE t (id INT)"))
            session.execute(sa.text("DROP TEMPORARY TABLE t"))
            raise RuntimeError
        assert owners(admin) == []

    def test_an_invalidated_connection_commits_nothing(self, db, admin):
        with pytest.raises(Exception), db.scope() as session:  # noqa: B017, PT011
            session.execute(insert("ada"))
            session.connection().invalidate()
        assert owners(admin) == []


class TestErrorsInside:
    def test_after_a_swallowed_duplicate_of_a_core_statement_the_scope_goes_on(self, db, admin):
        with db.scope() as session:
            session.execute(insert("ada"))
            with pytest.raises(DuplicateKey):
                session.execute(insert("ada"))
            session.execute(insert("bob"))
        assert owners(admin) == ["ada", "bob"]

    def test_after_a_swallowed_duplicate_of_a_flush_nothing_is_stored(self, db, admin):
        with pytest.raises(DuplicateKey) as left, db.scope() as session:
            session.execute(insert("ada"))
            session.add(Account(owner="ada"))
            with pytest.raises(DuplicateKey) as caught:
                session.flush()
            with pytest.raises(DuplicateKey):
                session.execute(insert("bob"))
        assert left.value is caught.value
        assert owners(admin) == []

    def test_a_legacy_bulk_method_that_fails_counts_as_a_flush(self, db, admin):
        with pytest.raises(DuplicateKey) as left, db.scope() as session:
            session.execute(insert("ada"))
            with pytest.raises(DuplicateKey) as caught:
                session.bulk_insert_mappings(Account, [{"owner": "ada", "balance": 0}])
        assert left.value is caught.value
        assert owners(admin) == []

    def test_a_procedure_that_fails_half_way_dooms_the_scope(self, db, admin):
        with admin.cursor() as cursor:
            cursor.execute(
                "CREATE PROCEDURE half() BEGIN "
                "INSERT INTO account (owner, balance) VALUES ('half', 0); "
                "INSERT INTO account (owner, balance) VALUES ('half', 0); END"
            )
        with pytest.raises(DuplicateKey), db.scope() as session, pytest.raises(DuplicateKey):
            session.execute(sa.text("CALL half()"))
        assert owners(admin) == []

    def test_an_exit_exception_in_a_statement_dooms_the_scope(self, db, admin, interrupt_after):
        with pytest.raises((RollbackOnly, KeyboardInterrupt)), db.scope() as session:
            session.execute(insert("ada"))
            with pytest.raises(KeyboardInterrupt), interrupt_after(0.3):
                session.execute(sa.text("SELECT SLEEP(5)"))
            session.execute(insert("bob"))
        assert owners(admin) == []

    def test_a_failed_connect_dooms_nothing(self, environment):
        db = Database.from_env(environment, port=1)
        with db.scope() as session, pytest.raises(ConnectError):
            session.scalar(sa.select(1))


class TestSavepoints:
    def test_an_exception_undoes_the_block_and_nothing_else(self, db, admin):
        with db.scope() as session:
            session.execute(insert("before"))
            with pytest.raises(ValueError, match="mine"), db.savepoint():
                session.add(Account(owner="inside"))
                session.flush()
                raise ValueError("mine")
            session.execute(insert("after"))
        assert owners(admin) == ["after", "before"]

    def test_a_duplicate_in_the_block_leaves_the_scope_usable(self, db, admin):
        with db.scope() as session:
            session.execute(insert("ada"))
            with pytest.raises(DuplicateKey), db.savepoint():
                session.add_all([Account(owner="bob"), Account(owner="ada")])
            session.add(Account(owner="cy"))
        assert owners(admin) == ["ada", "cy"]

    def test_a_failed_flush_swallowed_in_the_block_ends_the_block_with_it(self, db, admin):
        with db.scope() as session:
            session.execute(insert("ada"))
            with pytest.raises(DuplicateKey) as left, db.savepoint():
                session.add(Account(owner="ada"))
                with pytest.raises(DuplicateKey) as caught:
                    session.flush()
                with pytest.raises(DuplicateKey):
                    session.execute(insert("no"))
            assert left.value is caught.value
            session.execute(insert("bob"))
        assert owners(admin) == ["ada", "bob"]

    def test_they_nest(self, db, admin):
        with db.scope() as session, db.savepoint():
            session.execute(insert("outer"))
            with pytest.raises(DuplicateKey), db.savepoint():
                session.execute(insert("inner"))
                session.add(Account(owner="outer"))
            session.execute(insert("on"))
        assert owners(admin) == ["on", "outer"]

    def test_callbacks_of_a_block_that_was_undone_are_dropped(self, db):
        ran = []
        with db.scope() as session:
            db.after_commit(lambda: ran.append("scope"))
            with pytest.raises(ValueError, match="x"), db.savepoint():
                db.after_commit(lambda: ran.append("undone"))
                session.execute(insert("x"))
                raise ValueError("x")
            with db.savepoint():
                db.after_commit(lambda: ran.append("kept"))
        assert ran == ["scope", "kept"]

    def test_a_read_only_scope_has_none(self, db):
        with db.scope(read_only=True) as session:
            with pytest.raises(ReadOnlyScope), db.savepoint():
                pytest.fail("not reached")
            with pytest.raises(ReadOnlyScope):
                session.execute(sa.text("SAVEPOINT mine"))


class TestJoining:
    def test_an_inner_scope_commits_with_the_outer_one(self, db, admin):
        with db.scope() as outer:
            with db.scope() as inner:
                assert inner is outer
                inner.execute(insert("inner"))
            assert owners(admin) == []
        assert owners(admin) == ["inner"]

    def test_an_exception_that_leaves_the_inner_one_dooms_the_outer(self, db, admin):
        with pytest.raises(RollbackOnly) as left, db.scope() as session:
            session.execute(insert("outer"))
            with pytest.raises(ValueError, match="mine"), db.scope():
                session.execute(insert("inner"))
                raise ValueError("mine")
        assert isinstance(left.value.__cause__, ValueError)
        assert owners(admin) == []

    def test_inside_a_savepoint_only_the_savepoint_is_undone(self, db, admin):
        with db.scope() as session:
            session.execute(insert("outer"))
            with pytest.raises(ValueError, match="mine"), db.savepoint(), db.scope():
                session.execute(insert("inner"))
                raise ValueError("mine")
            session.execute(insert("on"))
        assert owners(admin) == ["on", "outer"]

    def test_scopes_of_two_databases_never_join(self, db, environment, admin):
        other = Database.from_env(environment)
        with db.scope() as first:
            first.execute(insert("first"))
            with pytest.raises(ValueError, match="x"), other.scope() as second:
                assert second is not first
                second.execute(insert("second"))
                raise ValueError("x")
        assert owners(admin) == ["first"]


class TestReadOnly:
    def test_writes_are_refused_by_the_server_whatever_they_look_like(self, db, admin):
        with admin.cursor() as cursor:
            cursor.execute("INSERT INTO account (owner, balance) VALUES ('ada', 1)")
        for text in (
            "INSERT INTO account (owner, balance) VALUES ('x', 0)",
            "UPDATE account SET balance = 2",
            "DELETE FROM account",
        ):
            with pytest.raises(ReadOnlyScope), db.scope(read_only=True) as session:
                session.execute(sa.text(text))
        assert balance(admin, "ada") == 1

    def test_locks_are_refused(self, db):
        for query in (
            sa.select(Account).with_for_update(),
            sa.select(Account).with_for_update(read=True),
            sa.text("SELECT * FROM account WHERE id = 1 FOR UPDATE SKIP LOCKED"),
        ):
            with db.scope(read_only=True) as session, pytest.raises(ReadOnlyScope):
                session.execute(query)

    @pytest.mark.parametrize("change", ["new", "dirty", "deleted"])
    def test_changes_raise_at_the_end(self, db, admin, change):
        with db.scope() as session:
            session.add(Account(owner="ada"))
        with pytest.raises(ReadOnlyScope), db.scope(read_only=True) as session:
            ada = session.scalars(sa.select(Account)).one()
            if change == "new":
                session.add(Account(owner="bob"))
            elif change == "dirty":
                ada.balance = 5
            else:
                session.delete(ada)
        assert owners(admin) == ["ada"]
        assert balance(admin, "ada") == 0

    def test_setting_what_is_stored_already_is_no_change(self, db):
        with db.scope() as session:
            session.add(Account(owner="ada"))
        with db.scope(read_only=True) as session:
            ada = session.scalars(sa.select(Account)).one()
            ada.owner = "ada"

    def test_a_read_write_scope_inside_is_refused_at_entry(self, db):
        with db.scope(read_only=True), pytest.raises(ReadOnlyScope), db.scope():
            pytest.fail("not reached")
        with db.scope(), db.scope(read_only=True) as session:
            session.scalar(sa.select(1))


class TestAfterCommit:
    def test_callbacks_see_the_committed_row_and_no_scope(self, db, admin):
        seen = []
        with db.scope() as session:
            session.execute(insert("ada"))

            def look():
                seen.append(owners(admin))
                with db.scope() as fresh:
                    assert fresh is not session
                    fresh.execute(insert("from the callback"))

            db.after_commit(look)
        assert seen == [["ada"]]
        assert owners(admin) == ["ada", "from the callback"]

    def test_one_that_raises_is_logged_and_the_rest_run(self, db, admin, caplog):
        ran = []
        with caplog.at_level(logging.ERROR, "dal"), db.scope() as session:
            session.execute(insert("ada"))
            db.after_commit(lambda: 1 / 0)
            db.after_commit(lambda: ran.append(1))
        assert ran == [1]
        assert "after_commit" in caplog.text
        assert owners(admin) == ["ada"]

    def test_none_runs_when_the_work_is_rolled_back(self, db):
        ran = []
        with pytest.raises(DuplicateKey), db.scope() as session:
            db.after_commit(lambda: ran.append(1))
            session.execute(insert("ada"))
            session.add(Account(owner="ada"))
        with db.scope():
            db.after_commit(lambda: ran.append(2))
            db.rollback_only()
        assert ran == []


def test_setting_a_column_to_what_another_function_just_stored_is_no_error(db, admin):
    accounts = Accounts(db)
    with db.scope() as session:
        session.add(Account(owner="ada", balance=1))
    with db.scope():
        ada = accounts.of("ada")
        with admin.cursor() as cursor:
            cursor.execute("UPDATE account SET balance = 2 WHERE owner = 'ada'")
        ada.balance = 2
    assert balance(admin, "ada") == 2


def test_children_follow_their_parent(db, admin):
    with db.scope() as session:
        session.add(Account(owner="ada", entries=[Entry(note="a"), Entry(note="b")]))
    with db.scope() as session:
        session.delete(session.scalars(sa.select(Account)).one())
    with admin.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM entry")
        assert cursor.fetchone() == (0,)


class TestManyRowsInOneCall:
    """PyMySQL sends executemany as several statements: an error leaves those before it."""

    def test_a_swallowed_error_half_way_dooms_the_scope(self, db, admin):
        with db.scope() as session:
            session.add_all([Account(owner="ada"), Account(owner="bob"), Account(owner="cy")])
        update = sa.text("UPDATE account SET owner = :new WHERE owner = :old")
        rows = [{"new": "xa", "old": "ada"}, {"new": "cy", "old": "bob"}]
        with pytest.raises(DuplicateKey), db.scope() as session:
            with pytest.raises(DuplicateKey):
                session.execute(update, rows)
            with pytest.raises(DuplicateKey):
                session.execute(insert("dan"))
        assert owners(admin) == ["ada", "bob", "cy"]

    @pytest.mark.parametrize("kind", [None, DictCursor], ids=["usual", "DictCursor"])
    def test_so_does_one_of_the_drivers_own_cursor(self, db, admin, kind):
        with db.scope() as session:
            session.add_all([Account(owner="ada"), Account(owner="bob"), Account(owner="cy")])
        with pytest.raises(DuplicateKey), db.scope() as session:
            cursor = session.connection().connection.dbapi_connection.cursor(kind)
            with pytest.raises(pymysql.IntegrityError):
                cursor.executemany(
                    "UPDATE account SET owner = %s WHERE owner = %s", [("xa", "ada"), ("cy", "bob")]
                )
            with pytest.raises(DuplicateKey):
                cursor.execute("SELECT 1")
        assert owners(admin) == ["ada", "bob", "cy"]

    def test_inside_a_savepoint_it_undoes_the_savepoint(self, db, admin):
        with db.scope() as session:
            session.execute(insert("ada"))
            with pytest.raises(DuplicateKey), db.savepoint():
                session.execute(
                    sa.insert(Account),
                    [{"owner": "bob", "balance": 0}, {"owner": "ada", "balance": 0}],
                )
            session.execute(insert("cy"))
        assert owners(admin) == ["ada", "cy"]


def test_the_outer_handlers_answer_decides_and_not_an_inner_ones(db, admin):
    @db.handler
    def inner(event, context):
        return {"statusCode": 404}

    @db.handler
    def outer(event, context):
        db.session.execute(insert("ada"))
        return {"statusCode": 200, "inner": inner(event, context)}

    assert outer({}, None)["statusCode"] == 200
    assert owners(admin) == ["ada"]


@pytest.mark.parametrize(
    "statement",
    [
        "--\nCOMMIT",
        "/*! */ COMMIT",
        "/*!99999 x */ COMMIT",
        "SET@@autocommit=1",
        "LOCK/**/TABLES account WRITE",
        "PREPARE s FROM 'COMMIT'",
        "/*" + "x" * 300 + "*/ COMMIT",
    ],
)
def test_no_spelling_of_a_commit_gets_through(db, admin, statement):
    with pytest.raises(TransactionControl), db.scope() as session:
        session.execute(insert("ada"))
        session.connection().exec_driver_sql(statement)
    assert owners(admin) == []
