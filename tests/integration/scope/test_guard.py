"""The guard against a real server: what commits is refused or dooms the scope, the rest passes.

Statements are made of a grammar, and told twice: by a connection without guard, whose row another
connection sees or not, and by a scope. DAL_TEST_STATEMENTS is how many, DAL_TEST_SEED which.
"""

import contextlib
import os
import random

import pymysql
import pytest
import sqlalchemy as sa

from dal import Database, DuplicateKey, ReadOnlyScope, TransactionControl
from dal.engine import Settings, create_engine

STATEMENTS = int(os.environ.get("DAL_TEST_STATEMENTS", "200"))
SEED = int(os.environ.get("DAL_TEST_SEED", "0")) or random.randrange(1, 10**9)

#: Variables of the session on which the layer relies; of a scope none of them may change.
STATE = (
    "autocommit",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "completion_type",
    "sql_mode",
    "time_zone",
)

TABLES = (
    "CREATE TABLE witness (id INT PRIMARY KEY) ENGINE=InnoDB",
    "CREATE TABLE note (id INT PRIMARY KEY, commit_time INT, `autocommit` INT) ENGINE=InnoDB",
    "CREATE PROCEDURE keeps() INSERT INTO note (id) VALUES (7)",
    "CREATE PROCEDURE commits() COMMIT",
    "CREATE PROCEDURE commits_and_goes_on() "
    "BEGIN INSERT INTO note (id) VALUES (8); COMMIT; INSERT INTO note (id) VALUES (9); END",
    "CREATE PROCEDURE rolls_back() BEGIN ROLLBACK; INSERT INTO note (id) VALUES (9); END",
    "CREATE PROCEDURE autocommits() SET autocommit = 1",
    "CREATE PROCEDURE begins() START TRANSACTION",
    "CREATE PROCEDURE makes_a_table() CREATE TABLE IF NOT EXISTS other (id INT)",
    "CREATE PROCEDURE answers_and_commits() BEGIN SELECT 1; COMMIT; SELECT id FROM note; END",
)

# One blank between two tokens that may be written in many ways.
HARMLESS = (
    "SELECT 1",
    "SELECT 'COMMIT'",
    "SELECT commit_time , `autocommit` FROM note",
    "SELECT * FROM note FOR UPDATE",
    "SELECT 1 INTO @a",
    "SELECT COUNT(*) , 2 INTO @a , @b FROM note",
    "WITH `commit` AS ( SELECT 1 ) SELECT * FROM `commit`",
    "INSERT INTO note SET id = 5 , autocommit = 1",
    "UPDATE note SET `autocommit` = 1 WHERE id = 1",
    "DELETE FROM note WHERE id = 5",
    "REPLACE INTO note ( id ) VALUES ( 6 )",
    "DO SLEEP ( 0 )",
    "SET @a = 1",
    "SET @a := 1 , @b = 'autocommit=1'",
    "SET @autocommit = 1",
    "SET @autocommit_x = 1",
    "SET @transaction_isolation = 1",
    "SET @`transaction_isolation` = 1",
    "SET @'sql_mode' = 'ANSI_QUOTES'",
    'SET @"a, autocommit" = 1',
    "SET @`it's` = 1 , @b = 'x'",
    "SET @a = '\\' , autocommit = 1'",
    "SET @a = 'x'' , autocommit = 1'",
    'SET @a = "it\'s" , @b = ", autocommit = 1"',
    "SET @a = ( SELECT COUNT(*) FROM note WHERE autocommit = 1 )",
    "SET @password = 'x' , @`names` = 'gbk'",
    "SET SESSION net_retry_count = 5",
    "SET SESSION group_concat_max_len = 2048",
    "SET @@session.sort_buffer_size = 65536",
    "SET LOCAL lock_wait_timeout = 3",
    "SET optimizer_switch = 'index_merge=on'",
    "SET foreign_key_checks = 1",
    "SET NAMES utf8mb4",
    "SET time_zone = '+00:00'",
    "SHOW WARNINGS",
    "SHOW CREATE TABLE note",
    "EXPLAIN SELECT 1",
    "DESCRIBE note",
    "CHECKSUM TABLE note",
    "CREATE TEMPORARY TABLE IF NOT EXISTS t ( id INT )",
    "DROP TEMPORARY TABLE IF EXISTS t",
    "SAVEPOINT mine",
    "PREPARE s FROM 'SELECT 1'",
    "CALL keeps ( )",
)
ENDING = (
    "COMMIT",
    "COMMIT WORK",
    "COMMIT AND CHAIN",
    "ROLLBACK",
    "ROLLBACK WORK",
    "BEGIN",
    "BEGIN WORK",
    "START TRANSACTION",
    "START TRANSACTION READ ONLY",
    "SET autocommit = 1",
    "SET `autocommit` = 1",
    "SET @@autocommit = 1",
    "SET @@session.autocommit = 1",
    "SET @@session . `autocommit` = ON",
    "SET LOCAL autocommit := 1",
    "SET @a = 1 , autocommit = 1",
    "SET @'a' = 1 , autocommit = 1",
    "SET @`a'b` = 1 , autocommit = 1 , @`c'd` = 2",
    'SET @"a\'" = 1 , autocommit = 1 , @"\'" = 1',
    "SET @a = '\\\\' , autocommit = 1 , @b = ''",
    "SET SESSION sort_buffer_size = 65536 , autocommit = 1",
    "SET @a = ( SELECT 1 ) , autocommit = 1",
    "SET completion_type = 1",
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET SESSION TRANSACTION READ ONLY",
    "SET transaction_isolation = 'SERIALIZABLE'",
    "SET sql_mode = ''",
    "SET @@sql_mode = 'ANSI_QUOTES'",
    "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'",
    "SET NAMES gbk",
    "SET NAMES 'latin1'",
    "SET CHARACTER SET latin1",
    "SET CHARSET latin1",
    "SET character_set_client = gbk",
    "SET @@character_set_connection = gbk",
    "SET SESSION character_set_results = NULL",
    "SET collation_connection = utf8mb4_bin",
    "SET time_zone = '+05:00'",
    "SET @@local.time_zone = '+05:00'",
    "CREATE TABLE IF NOT EXISTS other ( id INT )",
    "DROP TABLE IF EXISTS nothing",
    "ALTER TABLE note COMMENT 'x'",
    "LOCK TABLES note READ",
    "ANALYZE TABLE note",
    "FLUSH TABLES",
    "CALL commits ( )",
    "CALL commits_and_goes_on ( )",
    "CALL rolls_back ( )",
    "CALL autocommits ( )",
    "CALL begins ( )",
    "CALL makes_a_table ( )",
    "CALL answers_and_commits ( )",
)

BLANKS = (
    *("\n", "\t", " \f\v ", "/**/", "/* COMMIT */", "/* ' */", '/* " ` */', "-- x\n", "--\t'\n"),
    *("--\x01 y\n", "--\x7f' z\n", "--\n", "#c'\n", "#\n", "/*! */", "/*!50000 */", "/*!080000*/ "),
    *(
        "/*!99999 x */",
        "/*!999999 COMMIT */",
        "/*!99999 /* a */ b */",
        "/*M! x */",
        "/*M!100100 */",
    ),
    *("/*!99999 ' */", "/*!50701 y */", "/*+ hint */", "/* /*! */", "/*!/* */*/", "/*!50000/**/*/"),
)
OPENINGS = ("/*!", "/*!50000", "/*!50000 ", "/*!080000 ", "/*! ", "/*!99999 ", "/*M! ", "/*!50701 ")
ENDS = (
    "",
    "",
    "",
    ";",
    " ;",
    " -- done",
    " --",
    "# '",
    "/* ' */",
    "/*!99999 COMMIT */",
    "\n",
    "--\x02",
)


def statement(rng):
    """Write a statement of the grammar in one of its many ways; and whether it is harmless."""
    kind = rng.choice((HARMLESS, ENDING))
    tokens = rng.choice(kind).split(" ")
    if rng.random() < 0.3:
        tokens = [rng.choice((str.lower, str.swapcase, str))(each) for each in tokens]
    for _ in range(rng.choice((0, 0, 1, 2))):  # a part is code in a comment, perhaps nested
        first = rng.randrange(len(tokens))
        last = rng.randrange(first, len(tokens))
        tokens[first] = rng.choice(OPENINGS) + tokens[first]
        if rng.random() < 0.9:
            tokens[last] += rng.choice(("*/", " */"))
    before = rng.choice(BLANKS) if rng.random() < 0.3 else ""
    text = "".join(
        each + (rng.choice(BLANKS) if rng.random() < 0.3 else " ") for each in tokens
    ).rstrip(" ")
    return before + text + rng.choice(ENDS), kind is HARMLESS


class Witness:
    """A connection without guard, in the state of a scope's, and what became of its row."""

    def __init__(self, environment, admin):
        self._engine = create_engine(Settings.from_env(environment))
        self._admin = admin

    def tell(self, sql):
        """Return what the statement did: "breaks", "fails", or "passes"."""
        with self._admin.cursor() as cursor:
            cursor.execute("DELETE FROM witness")
            cursor.execute("DELETE FROM note")
        held = self._engine.raw_connection()
        try:
            return self._tell(held.driver_connection, sql)
        finally:
            held.driver_connection.drop()

    def _tell(self, driver, sql):
        before = self._state(driver)
        self._ask(driver, "INSERT INTO witness VALUES (1)")
        failed = False
        try:
            with driver.cursor() as cursor:
                cursor.execute(sql)
                while cursor.nextset():
                    pass
        except pymysql.Error:
            failed = True
        with self._admin.cursor() as cursor:
            is_stored = bool(cursor.execute("SELECT id FROM witness"))
        try:
            is_gone = not self._ask(driver, "SELECT id FROM witness")
            has_changed = self._state(driver) != before
        except pymysql.Error:  # tables are locked
            return "breaks"
        if is_stored or is_gone or has_changed:
            return "breaks"
        return "fails" if failed else "passes"

    def _state(self, driver):
        new = "transaction_isolation, @@transaction_read_only"
        names = f"@@{', @@'.join(STATE)}, @@" + (
            new if not driver.is_mariadb else new.replace("transaction", "tx")
        )
        return self._ask(driver, f"SELECT {names}")

    @staticmethod
    def _ask(driver, sql):
        with driver.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()


@pytest.fixture
def witness(environment, admin):
    with admin.cursor() as cursor:
        for sql in TABLES:
            cursor.execute(sql)
    return Witness(environment, admin)


@pytest.fixture
def db(environment):
    return Database.from_env(environment)


def guarded(db, sql):
    """Return "refused" if the scope raises TransactionControl, else "passes"."""
    try:
        with db.scope() as session:
            session.execute(sa.text("INSERT INTO witness VALUES (1)"))
            with contextlib.suppress(sa.exc.DBAPIError):
                session.connection().exec_driver_sql(sql)
            db.rollback_only()
            session.execute(sa.text("DO 0"))
    except TransactionControl:
        return "refused"
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}"
    return "passes"


def test_what_commits_is_refused_or_dooms_the_scope_and_nothing_harmless_is(
    db, witness, admin, tell
):
    tell(f"the statements at the guard are those of DAL_TEST_SEED={SEED}")
    rng, wrong = random.Random(SEED), []
    for _ in range(STATEMENTS):
        sql, is_harmless = statement(rng)
        told = witness.tell(sql)
        with admin.cursor() as cursor:
            cursor.execute("DELETE FROM witness")
            cursor.execute("DELETE FROM note")
        found = guarded(db, sql)
        if told == "breaks":
            is_right = found == "refused"
        else:  # an ending one whose end is in a comment may fail or do nothing, and be refused
            is_right = not is_harmless or told == "fails" or found == "passes"
        if not is_right:
            wrong.append((sql, told, found))
    assert not wrong, "\n".join(map(repr, wrong))


@pytest.fixture
def rows(admin, witness):
    def ids():
        with admin.cursor() as cursor:
            cursor.execute("SELECT id FROM note ORDER BY id")
            return [key for (key,) in cursor.fetchall()]

    return ids


class TestAProcedureThatEndsTheTransaction:
    @pytest.mark.parametrize(
        "name",
        [
            *("commits", "commits_and_goes_on", "rolls_back", "autocommits", "begins"),
            *("makes_a_table", "answers_and_commits"),
        ],
    )
    @pytest.mark.parametrize("is_swallowed", [True, False])
    def test_dooms_the_scope_which_says_that_it_may_be_stored(self, db, rows, name, is_swallowed):
        with pytest.raises(TransactionControl, match="may be stored"), db.scope() as session:
            session.execute(sa.text("INSERT INTO note (id) VALUES (1)"))
            try:
                session.execute(sa.text(f"CALL {name}()"))
            except TransactionControl:
                if not is_swallowed:
                    raise
            session.execute(sa.text("INSERT INTO note (id) VALUES (2)"))
        assert 2 not in rows()

    def test_is_seen_as_the_first_and_as_the_last_statement_of_a_scope(self, db, rows):
        with pytest.raises(TransactionControl, match="may be stored"), db.scope() as session:
            session.execute(sa.text("CALL commits_and_goes_on()"))
        assert rows() == [8]

    def test_is_seen_in_a_savepoint_and_at_its_end(self, db, rows):
        with pytest.raises(TransactionControl, match="may be stored"), db.scope() as session:
            with db.savepoint():
                session.execute(sa.text("CALL commits_and_goes_on()"))
            session.execute(sa.text("INSERT INTO note (id) VALUES (2)"))
        assert rows() == [8]

    def test_is_seen_when_streamed(self, db, rows, admin):
        with admin.cursor() as cursor:
            cursor.execute(
                "CREATE PROCEDURE answers_once_and_commits() BEGIN SELECT 1; COMMIT; END"
            )
        with pytest.raises(TransactionControl, match="may be stored"), db.scope() as session:
            session.execute(sa.text("INSERT INTO note (id) VALUES (1)"))
            session.execute(
                sa.text("CALL answers_once_and_commits()"),
                execution_options={"stream_results": True},
            ).all()
            session.execute(sa.text("INSERT INTO note (id) VALUES (2)"))
        assert rows() == [1]

    def test_one_that_keeps_it_passes_however_often(self, db, rows, admin):
        with admin.cursor() as cursor:
            cursor.execute(
                "CREATE PROCEDURE adds(key_ INT) BEGIN SAVEPOINT s; "
                "INSERT INTO note (id) VALUES (key_); RELEASE SAVEPOINT s; SELECT key_; END"
            )
        with db.scope() as session:
            for key in (1, 2):
                session.execute(sa.text(f"CALL adds({key})"))
            with db.savepoint():
                assert session.scalar(sa.text("CALL adds(3)")) == 3
        assert rows() == [1, 2, 3]


class TestAReadOnlyScope:
    WRITE = "INSERT INTO note (id) VALUES (1)"

    @pytest.mark.parametrize(
        "sql",
        [
            "SET SESSION TRANSACTION READ WRITE",
            "SET--\x01\nSESSION TRANSACTION READ WRITE",
            "/*!50000 SET /*! */ SESSION TRANSACTION READ WRITE",
            "SET @'a' = 1, @@transaction_read_only = 0",
            "SET @`a'` = 1, transaction_read_only = 0, @`'b` = 1",
            'SET @"a\'" = 1, transaction_read_only := 0, @"\'b" = 1',
            "START TRANSACTION READ WRITE",
            "/*!50000 START /*! */ TRANSACTION READ WRITE",
            "SET autocommit = 0",
            "CALL lets_write()",
            "CALL begins()",
            "PREPARE s FROM 'SET SESSION TRANSACTION READ WRITE'",
        ],
    )
    def test_is_doomed_by_what_would_let_it_write(self, db, rows, admin, sql):
        with admin.cursor() as cursor:
            cursor.execute("CREATE PROCEDURE lets_write() SET SESSION TRANSACTION READ WRITE")
        with pytest.raises(TransactionControl), db.scope(read_only=True) as session:
            connection = session.connection()
            with contextlib.suppress(TransactionControl):
                connection.exec_driver_sql(sql)
            connection.exec_driver_sql(self.WRITE)
        assert rows() == []

    def test_says_at_its_end_that_a_procedure_let_it_write(self, db, rows, admin):
        with admin.cursor() as cursor:
            cursor.execute(
                "CREATE PROCEDURE writes() "
                f"BEGIN SET SESSION TRANSACTION READ WRITE; {self.WRITE}; END"
            )
        with (
            pytest.raises(TransactionControl, match="may be stored"),
            db.scope(read_only=True) as session,
        ):
            session.execute(sa.text("CALL writes()"))

    @pytest.mark.parametrize("sql", [*HARMLESS, "SELECT 1 INTO @a", "SELECT GET_LOCK('x', 0)"])
    def test_takes_what_only_reads(self, db, rows, sql):
        writes = {"INSERT", "UPDATE", "DELETE", "REPLACE", "SAVEPOINT", "CREATE", "DROP"}
        if sql.split()[0] in writes or "FOR UPDATE" in sql or sql == "CALL keeps ( )":
            with pytest.raises(ReadOnlyScope), db.scope(read_only=True) as session:
                session.connection().exec_driver_sql(sql)
        else:
            with db.scope(read_only=True) as session:
                session.connection().exec_driver_sql(sql)


def test_a_bound_value_under_another_character_set_is_never_sent(db, rows):
    value = b"\xbf'; -- ".decode("latin-1")
    with pytest.raises(TransactionControl), db.scope() as session:
        with pytest.raises(TransactionControl):
            session.execute(sa.text("SET NAMES gbk"))
        session.execute(sa.text("SELECT :value"), {"value": value})


def test_a_failed_call_behind_a_long_comment_dooms_the_scope(db, rows, admin):
    with admin.cursor() as cursor:
        cursor.execute(
            "CREATE PROCEDURE twice() "
            "BEGIN INSERT INTO note (id) VALUES (1); INSERT INTO note (id) VALUES (1); END"
        )
    with pytest.raises(DuplicateKey), db.scope() as session, pytest.raises(DuplicateKey):
        session.execute(sa.text(f"/* {'x' * 100} */ CALL twice()"))
    assert rows() == []
