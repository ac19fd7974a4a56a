"""What a scope does not let through, and what it must: told by the text of a statement alone."""

import pytest

from dal.scope.statements import ends_transaction, first_word, is_refused_read_only

# The manual's "Statements That Cause an Implicit Commit", and those that end one openly.
ENDING = [
    "COMMIT",
    "COMMIT WORK",
    "COMMIT AND CHAIN",
    "COMMIT RELEASE",
    "ROLLBACK",
    "ROLLBACK WORK",
    "ROLLBACK AND NO CHAIN",
    "ROLLBACK RELEASE",
    "BEGIN",
    "BEGIN WORK",
    "START TRANSACTION",
    "START TRANSACTION READ ONLY",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    "XA START 'x'",
    "XA COMMIT 'x'",
    "LOCK TABLES t WRITE",
    "LOCK TABLE t READ",
    "LOCK\n  TABLES t READ",
    "LOCK INSTANCE FOR BACKUP",
    "UNLOCK TABLES",
    "UNLOCK INSTANCE",
    # data definition
    "ALTER EVENT e DISABLE",
    "ALTER FUNCTION f COMMENT 'x'",
    "ALTER PROCEDURE p COMMENT 'x'",
    "ALTER SERVER s OPTIONS (USER 'x')",
    "ALTER TABLE t ADD c INT",
    "ALTER TABLESPACE s ADD DATAFILE 'x'",
    "ALTER VIEW v AS SELECT 1",
    "ALTER DATABASE d CHARACTER SET utf8mb4",
    "CREATE DATABASE d",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    "CREATE FUNCTION f() RETURNS INT RETURN 1",
    "CREATE INDEX i ON t (c)",
    "CREATE UNIQUE INDEX i ON t (c)",
    "CREATE PROCEDURE p() SELECT 1",
    "CREATE ROLE r",
    "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
    "CREATE SPATIAL REFERENCE SYSTEM 4711 NAME 'x'",
    "CREATE TABLE t (id INT)",
    "CREATE TABLE temporary_things (id INT)",
    "CREATE TABLE IF NOT EXISTS t LIKE u",
    "CREATE TABLESPACE s ADD DATAFILE 'x'",
    "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1",
    "CREATE OR REPLACE VIEW v AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "DROP DATABASE d",
    "DROP EVENT e",
    "DROP FUNCTION f",
    "DROP INDEX i ON t",
    "DROP PROCEDURE p",
    "DROP ROLE r",
    "DROP SERVER s",
    "DROP SPATIAL REFERENCE SYSTEM 4711",
    "DROP TABLE t",
    "DROP TABLE IF EXISTS t",
    "DROP TABLESPACE s",
    "DROP TRIGGER x",
    "DROP VIEW v",
    "INSTALL PLUGIN p SONAME 'x'",
    "INSTALL COMPONENT 'x'",
    "RENAME TABLE a TO b",
    "TRUNCATE TABLE t",
    "TRUNCATE t",
    "UNINSTALL PLUGIN p",
    "UNINSTALL COMPONENT 'x'",
    "IMPORT TABLE FROM 'x'",
    # accounts
    "ALTER USER u IDENTIFIED BY 'x'",
    "CREATE USER u",
    "DROP USER u",
    "GRANT SELECT ON *.* TO u",
    "RENAME USER a TO b",
    "REVOKE SELECT ON *.* FROM u",
    "SET PASSWORD = 'x'",
    "SET DEFAULT ROLE NONE TO u",
    "SET PASSWORD FOR u = 'x'",
    # administration and replication
    "ANALYZE TABLE t",
    "CACHE INDEX t IN c",
    "CHECK TABLE t",
    "FLUSH TABLES",
    "FLUSH PRIVILEGES",
    "LOAD INDEX INTO CACHE t",
    "OPTIMIZE TABLE t",
    "REPAIR TABLE t",
    "RESET REPLICA",
    "RESET BINARY LOGS AND GTIDS",
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'x'",
    "CHANGE MASTER TO MASTER_HOST = 'x'",
    "START REPLICA",
    "STOP REPLICA",
    "PURGE BINARY LOGS TO 'x'",
    "CLONE LOCAL DATA DIRECTORY 'x'",
]

AUTOCOMMIT = [
    "SET autocommit=1",
    "SET autocommit = 0",
    "SET autocommit := ON",
    "SET\tautocommit\t=\t1",
    "SET\nautocommit = 1",
    "SET @@autocommit=1",
    "SET @@session.autocommit = 1",
    "SET @@local.autocommit = 1",
    "SET SESSION autocommit = 1",
    "SET LOCAL autocommit = 1",
    "SET `autocommit` = 1",
    "SET @@`autocommit` = 1",
    "SET AutoCommit = 1",
    "SET @a = 1, autocommit = 0",
    "SET SESSION sql_mode = '', @@autocommit = 1",
    "SET @a = (SELECT 1), autocommit = 1",
]

NOT_ENDING = [
    "SELECT 1",
    "SELECT 'commit'",
    "SELECT commit FROM t",
    'SELECT "DROP TABLE t"',
    "SELECT 1 -- COMMIT",
    "SELECT 1; -- nothing behind it",
    "(SELECT 1) UNION (SELECT 2)",
    "((SELECT 1))",
    "SELECT * FROM t WHERE a = 'x' FOR UPDATE",
    "TABLE t",
    "VALUES ROW(1, 2)",
    "WITH c AS (SELECT 1) SELECT * FROM c",
    "WITH commit AS (SELECT 1) SELECT * FROM commit",
    "INSERT INTO t VALUES ('DROP TABLE t')",
    "INSERT INTO t VALUES ('COMMIT')",
    "INSERT INTO t SET autocommit = 1",
    "INSERT INTO t SELECT * FROM u",
    "REPLACE INTO t VALUES (1)",
    "UPDATE t SET a = 'SET autocommit=1'",
    "UPDATE t SET autocommit = 1",
    "DELETE FROM t WHERE a = 'TRUNCATE'",
    "CALL begin_work()",
    "CALL commit_all()",
    "DO RELEASE_LOCK('begin')",
    "SET @a = 1",
    "SET NAMES utf8mb4",
    "SET time_zone = '+00:00'",
    "SET SESSION max_execution_time = 1000",
    "SET @autocommitment = 1",
    "SET @old_autocommit = 1",
    "SAVEPOINT s",
    "SAVEPOINT begin",
    "RELEASE SAVEPOINT s",
    "ROLLBACK TO s",
    "ROLLBACK TO SAVEPOINT s",
    "ROLLBACK WORK TO SAVEPOINT s",
    "ROLLBACK\n TO\n s",
    "CREATE TEMPORARY TABLE t (id INT)",
    "CREATE TEMPORARY TABLE t SELECT 1",
    "CREATE  TEMPORARY\nTABLE t (id INT)",
    "DROP TEMPORARY TABLE t",
    "DROP TEMPORARY TABLE IF EXISTS t",
    "SHOW CREATE TABLE t",
    "SHOW GRANTS",
    "EXPLAIN SELECT 1",
    "DESCRIBE t",
    "USE d",
    "CHECKSUM TABLE t",
    "KILL QUERY 5",
    "LOAD DATA INFILE 'x' INTO TABLE t",
    "RESET PERSIST",
    "BEGINNING",
    "COMMITMENT",
    "COMMIT_ALL",
    "STARTLE",
    "LOCKED TABLES",
    "",
    "   ",
    ";",
    "--",
    "/* only a comment */",
    "/* never closed",
    "'COMMIT'",
    "`COMMIT`",
    "@commit",
]

# What may stand before the first word.
BEFORE = [
    " ",
    "\n\t\r\n  ",
    "\f\v",
    "/* why */",
    "/* why */ /* and why */\n",
    "/**/",
    "/***/",
    "/* a * b / c */",
    "/* SELECT */",
    "/*\n over\n lines\n*/",
    "/*+ a_hint() */",
    "-- why\n",
    "--\twhy\n",
    "-- why\r\n",
    "-- SELECT 1\n",
    "-- ' \" `\n",
    "-- \n",
    "# why\n",
    "#\n",
    "#why\n-- and\n/* why */\n",
]


class TestWhatEndsATransaction:
    @pytest.mark.parametrize("sql", ENDING + AUTOCOMMIT)
    def test_is_told(self, sql):
        assert ends_transaction(sql)

    @pytest.mark.parametrize("sql", ENDING + AUTOCOMMIT)
    def test_is_told_in_lower_and_mixed_case(self, sql):
        assert ends_transaction(sql.lower())
        assert ends_transaction(sql.swapcase())

    @pytest.mark.parametrize("sql", ENDING + AUTOCOMMIT)
    def test_is_told_of_bytes(self, sql):
        assert ends_transaction(sql.encode())

    @pytest.mark.parametrize("end", [";", " ;", "\n", " -- done", " /* done */", "/**/", "# done"])
    @pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK", "BEGIN", "SET autocommit=1"])
    def test_is_told_whatever_comes_behind_it(self, sql, end):
        assert ends_transaction(sql + end)

    @pytest.mark.parametrize("before", BEFORE)
    @pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK", "DROP TABLE t", "SET autocommit=1"])
    def test_is_told_behind_comments_and_white_space(self, before, sql):
        assert ends_transaction(before + sql)
        assert ends_transaction((before + sql).encode())

    @pytest.mark.parametrize(
        "sql",
        [
            "/*! COMMIT */",
            "/*!COMMIT*/",
            "/*!50000 COMMIT */",
            "/*!50000COMMIT*/",
            "/*!080000 DROP TABLE t */",
            "/*!50000 SET autocommit = 1 */",
            "/* why */ /*! COMMIT */",
            "/*M! COMMIT */",
            "/*M!100100 COMMIT */",
        ],
    )
    def test_is_told_in_a_comment_that_the_server_runs(self, sql):
        assert ends_transaction(sql)


class TestWhatDoesNotEndATransaction:
    @pytest.mark.parametrize("sql", NOT_ENDING)
    def test_passes(self, sql):
        assert not ends_transaction(sql)

    @pytest.mark.parametrize("sql", NOT_ENDING)
    def test_passes_in_lower_case_and_as_bytes(self, sql):
        assert not ends_transaction(sql.lower())
        assert not ends_transaction(sql.encode())

    @pytest.mark.parametrize("before", BEFORE)
    @pytest.mark.parametrize(
        "sql", ["SELECT 'COMMIT'", "ROLLBACK TO s", "DROP TEMPORARY TABLE t", "SET @a = 1"]
    )
    def test_passes_behind_comments_and_white_space(self, before, sql):
        assert not ends_transaction(before + sql)

    def test_passes_with_bytes_that_are_no_text(self):
        assert not ends_transaction(b"INSERT INTO t VALUES (_binary'\xff\xfe\x00COMMIT')")


class TestWhatHidesTheFirstWord:
    """What MySQL commits at, though its first words are not where one would look for them."""

    @pytest.mark.parametrize("sql", ["--\nCOMMIT", "--\nCOMMIT\n", "-- a\n--\nCOMMIT"])
    def test_an_empty_comment_does_not(self, sql):
        assert ends_transaction(sql)

    @pytest.mark.parametrize(
        "before", ["/*" + "x" * 300 + "*/", " " * 300, "-- " + "x" * 300 + "\n", "/**/" * 100]
    )
    def test_a_long_comment_or_much_white_space_does_not(self, before):
        assert ends_transaction(before + "COMMIT")

    def test_a_long_value_before_autocommit_does_not(self):
        assert ends_transaction(f"SET @a = '{'x' * 300}', autocommit = 1")

    @pytest.mark.parametrize("sql", ["/*! */ COMMIT", "/*!50000 */COMMIT", "/*!*/ DROP TABLE t"])
    def test_an_empty_comment_that_the_server_runs_does_not(self, sql):
        assert ends_transaction(sql)

    @pytest.mark.parametrize(
        "sql", ["/*!99999 SELECT 1 */ COMMIT", "/*!99999 x */COMMIT", "/*M! x */ COMMIT"]
    )
    def test_a_comment_that_only_other_servers_run_does_not(self, sql):
        assert ends_transaction(sql)

    @pytest.mark.parametrize(
        "sql", ["SET@@autocommit=1", "SET/**/autocommit=1", "SET@@session.autocommit=1"]
    )
    def test_no_white_space_after_set_does_not(self, sql):
        assert ends_transaction(sql)

    @pytest.mark.parametrize(
        "sql",
        ["LOCK/**/TABLES t WRITE", "LOCK /* why */ TABLES t WRITE", "LOAD/**/INDEX INTO CACHE t"],
    )
    def test_a_comment_after_lock_does_not(self, sql):
        assert ends_transaction(sql)

    @pytest.mark.parametrize("sql", ["PREPARE s FROM 'COMMIT'", "EXECUTE IMMEDIATE 'COMMIT'"])
    def test_preparing_it_does_not(self, sql):
        assert ends_transaction(sql)


class TestWhatTheSessionReliesOn:
    @pytest.mark.parametrize(
        "sql",
        [
            "SET NAMES gbk",
            "SET CHARACTER SET latin1",
            "SET sql_mode = ''",
            "SET @@session.sql_mode = 'ANSI_QUOTES'",
            "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
            "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO,NO_BACKSLASH_ESCAPES')",
            "SET sql_mode = CONCAT(@@sql_mode, @more)",
            "SET sql_mode = CONCAT(@@sql_mode, ',TRADITIONAL') + 0",
            "SET time_zone = '+05:00'",
            "SET @a = 1, LOCAL collation_connection := utf8mb4_bin",
            "SET completion_type = 'CHAIN'",
            "SET STATEMENT max_statement_time = 1 FOR COMMIT",
        ],
    )
    def test_is_refused(self, sql):
        assert ends_transaction(sql)
        assert ends_transaction(sql.lower().encode())

    @pytest.mark.parametrize(
        "sql",
        [
            "SET NAMES 'utf8mb4'",
            "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')",
            "SET @@sql_mode = CONCAT(@@session.sql_mode, ',NO_UNSIGNED_SUBTRACTION')",
            "SET GLOBAL time_zone = '+05:00'",
            "SET @@global.sql_mode = ''",
            "SET @time_zone = '+05:00', @`sql_mode` = 'ANSI_QUOTES'",
            "SET STATEMENT max_statement_time = 1 FOR SELECT 'COMMIT'",
        ],
    )
    def test_passes_where_it_stays_as_it_is(self, sql):
        assert not ends_transaction(sql)
        assert not ends_transaction(sql.lower().encode())


class TestValuesThatOnlyMentionIt:
    @pytest.mark.parametrize(
        "sql",
        ["SET @autocommit = 1", "SET @password = 'x'", "SET @note = 'the autocommit mode'"],
    )
    def test_do_not_end_a_transaction(self, sql):
        assert not ends_transaction(sql)


class TestFirstWord:
    @pytest.mark.parametrize(
        ("sql", "word"),
        [
            ("SELECT 1", "SELECT"),
            ("select(1)", "SELECT"),
            ("call p()", "CALL"),
            (b"call p()", "CALL"),
            ("  (SELECT 1)", "SELECT"),
            ("/* why */ Insert INTO t", "INSERT"),
            ("/*!50000 CALL p() */", "CALL"),
            ("-- why\nCALL p()", "CALL"),
            ("", ""),
            ("1", ""),
            ("'SELECT'", ""),
        ],
    )
    def test_is_in_upper_case_and_empty_where_there_is_none(self, sql, word):
        assert first_word(sql) == word


LOCKING = [
    "SELECT * FROM t FOR UPDATE",
    "SELECT * FROM t FOR SHARE",
    "SELECT * FROM t LOCK IN SHARE MODE",
    "SELECT * FROM t FOR UPDATE NOWAIT",
    "SELECT * FROM t FOR UPDATE SKIP LOCKED",
    "SELECT * FROM t FOR SHARE NOWAIT",
    "SELECT * FROM t FOR SHARE SKIP LOCKED",
    "SELECT * FROM t FOR UPDATE OF t",
    "SELECT * FROM t JOIN u FOR UPDATE OF t, u",
    "SELECT * FROM t FOR UPDATE OF t NOWAIT",
    "SELECT * FROM t FOR SHARE OF t, `u` SKIP LOCKED",
    "SELECT * FROM t FOR UPDATE OF `a table` NOWAIT",
    "SELECT * FROM t FOR\n  UPDATE\n  NOWAIT",
    "SELECT * FROM t\nLOCK\tIN\nSHARE  MODE",
    "SELECT * FROM t WHERE a IN (1, 2) LIMIT 5 FOR UPDATE",
    "WITH c AS (SELECT 1) SELECT * FROM c FOR UPDATE",
    "SELECT '" + "x" * 1000 + "' FROM t FOR UPDATE",
]

READING = [
    "SELECT 1",
    "SELECT * FROM t",
    "SELECT 'FOR UPDATE'",
    "SELECT * FROM t WHERE a = 'wait FOR UPDATE'",
    "SELECT * FROM t WHERE a = 'x FOR UPDATE OF it'",
    "SELECT * FROM t WHERE a = 'x FOR UPDATE' LIMIT 1",
    'SELECT * FROM t WHERE a = "LOCK IN SHARE MODE"',
    "SELECT * FROM t WHERE a IN ('FOR SHARE')",
    "SELECT 1 AS `for update`",
    "SELECT * FROM for_update",
    "SELECT * FROM x_for update",
    "SELECT a AS update_for FROM t",
    "SHOW CREATE TABLE t",
    "EXPLAIN SELECT 1",
    "SET @a = 1",
    "",
    "/* unfinished",
]


class TestWhatAReadOnlyScopeRefuses:
    @pytest.mark.parametrize("sql", LOCKING)
    def test_is_a_locking_read(self, sql):
        assert is_refused_read_only(sql)
        assert is_refused_read_only(sql.lower())
        assert is_refused_read_only(sql.encode())

    @pytest.mark.parametrize("end", [";", " ; ", "\n", " \t\n"])
    @pytest.mark.parametrize("sql", LOCKING)
    def test_is_a_locking_read_with_something_blank_behind_it(self, sql, end):
        assert is_refused_read_only(sql + end)

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM t FOR UPDATE /* why */",
            "SELECT * FROM t FOR UPDATE -- why",
            "SELECT a FROM t FOR UPDATE INTO @a",
            "(SELECT * FROM t FOR UPDATE)",
            "SELECT * FROM (SELECT * FROM t FOR UPDATE) AS u",
        ],
    )
    def test_is_a_locking_read_with_a_comment_or_a_parenthesis_behind_it(self, sql):
        assert is_refused_read_only(sql)

    @pytest.mark.parametrize("sql", ["SAVEPOINT s", "release savepoint s", "/* why */ SAVEPOINT s"])
    def test_is_a_savepoint(self, sql):
        assert is_refused_read_only(sql)
        assert is_refused_read_only(sql.encode())

    @pytest.mark.parametrize("sql", READING)
    def test_is_not_a_plain_read(self, sql):
        assert not is_refused_read_only(sql)
        assert not is_refused_read_only(sql.lower())
        assert not is_refused_read_only(sql.encode())


def look(sql):
    for told in (ends_transaction, first_word, is_refused_read_only):
        told(sql)
        told(sql.encode())


class TestTheCostOfLooking:
    @pytest.mark.parametrize(
        ("start", "repeated", "end"),
        [
            ("INSERT INTO t VALUES ", "(1),", "(1)"),
            ("INSERT INTO t VALUES ('", "\\'", "')"),
            ("", "/*", ""),
            ("", "/**/", "COMMI"),
            ("", "/*!", ""),
            ("", "-- ", ""),
            ("", "--\n", ""),
            ("", "(", ""),
            ("", " ", ""),
            ("SET ", "@a = 1, ", "@b = 1"),
            ("SET ", "'", ""),
            ("ROLLBACK", " ", "x"),
            ("CREATE", " ", "x"),
            ("SELECT ", "FOR UPDATE ", "x"),
            ("SELECT FOR", " ", "x"),
            ("SELECT 1 LOCK", " ", "x"),
            ("SELECT 1 FOR UPDATE", " ", ";x"),
        ],
    )
    def test_is_small_whatever_the_length_of_the_statement(self, start, repeated, end, ends_within):
        with ends_within(30):
            look(start + repeated * (1_000_000 // len(repeated)) + end)

    def test_is_small_for_blanks_after_the_tables_of_a_locking_read(self, ends_within):
        with ends_within(30):
            for n in range(100):
                look("SELECT 1 FOR UPDATE OF" + " " * 225 + f"({n}")
