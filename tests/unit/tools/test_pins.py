"""What pins behind RDS Proxy, by its documented rules, and the recordings that are read for it."""

import dataclasses
import json

import pytest

from dal.doctor.pins import LONGEST, Pin, pins_of, read_recording
from dal.engine import Settings
from dal.wire.deadline import NEVER, Deadline
from dal.wire.purpose import Purpose
from dal.wire.session.state import session_state

PINS = {
    "SELECT '" + "x" * LONGEST + "'": "more than 16 KB",
    "SET @total = 1": "sets a user variable",
    "SET @total := 1": "sets a user variable",
    "SET autocommit=0, @total = 1": "sets a user variable",
    "SELECT id INTO @id FROM account": "sets a user variable",
    "SELECT @row := @row + 1 FROM account": "sets a user variable",
    "CALL transfer(1, @result)": "sets a user variable",
    "SET max_execution_time=30000": "sets max_execution_time",
    "SET NAMES utf8mb4, innodb_lock_wait_timeout=5": "sets innodb_lock_wait_timeout",
    "SET SESSION lock_wait_timeout = 5": "sets lock_wait_timeout",
    "SET @@session.foreign_key_checks = 0": "sets foreign_key_checks",
    "SET `unique_checks`=0": "sets unique_checks",
    "SET sql_mode=CONCAT(@@sql_mode, ',X'), sql_safe_updates=1": "sets sql_safe_updates",
    "SET GLOBAL autocommit=1": "sets autocommit",
    "SET session_track_schema=1": "sets session_track_schema",
    "SET ROLE reader": "sets ROLE reader",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED": "the next transaction alone",
    "SET @@transaction_isolation='READ-COMMITTED'": "the next transaction alone",
    "LOCK TABLES account READ": "LOCK TABLES",
    "lock table account write": "LOCK TABLES",
    "FLUSH TABLES WITH READ LOCK": "FLUSH with a lock",
    "CREATE TEMPORARY TABLE wanted (id INT)": "a temporary table",
    "SELECT GET_LOCK('nightly', 1)": "GET_LOCK",
    "PREPARE s FROM 'SELECT 1'": "a prepared statement",
    "EXECUTE s": "a prepared statement",
    "SELECT SQL_CALC_FOUND_ROWS id FROM account": "sometimes pin",
    "SELECT FOUND_ROWS()": "sometimes pin",
    "SELECT last_insert_id()": "sometimes pin",
    "/*!40101 SET NAMES utf8mb4 */": "of the form /*! ... */",
    "SELECT /*!99999 1, */ 2": "of the form /*! ... */",
    "SELECT 1; SELECT 2": "several statements",
    "SELECT 1; SET @a = 1": "sets a user variable",
}

PASSES = [
    "SELECT '" + "x" * (LONGEST - 9) + "'",
    "SELECT 1",
    "SELECT 1;",
    "SELECT @@max_execution_time, @total",
    "SELECT 'GET_LOCK(1)', \"LOCK TABLES\" -- GET_LOCK('a', 1)",
    "INSERT INTO `get_lock` (id) VALUES ('a := 1; SET @b = 2')",
    "SELECT /*+ MAX_EXECUTION_TIME(1000) */ id FROM account",
    "SELECT /* /* GET_LOCK( */ 1 # LAST_INSERT_ID()",
    "SELECT 'it''s \\' INTO @a'",
    "SET NAMES utf8mb4, transaction_isolation='READ-COMMITTED', sql_mode='A,B', autocommit=0",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
    "SET @@session.time_zone = '+00:00', @@autocommit = 1",
    "SET CHARACTER SET utf8mb4",
    "START TRANSACTION READ ONLY",
    "SAVEPOINT sa_savepoint_1",
    "CREATE TABLE account (id INT)",
    "CREATE PROCEDURE p() BEGIN SET @a = 1; SELECT GET_LOCK('a', 1); END",
    "CALL transfer(1, 2)",
    "USE shop",
    "COMMIT",
    "",
]


@pytest.mark.parametrize("statement", PINS)
def test_this_pins_and_the_reason_says_why(statement):
    reasons = [pin.reason for pin in pins_of([statement])]
    assert any(PINS[statement] in reason for reason in reasons), reasons


@pytest.mark.parametrize("statement", PASSES)
def test_this_does_not_pin(statement):
    assert pins_of([statement]) == []


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("deadline", [NEVER, Deadline(3)])
def test_the_one_set_of_proxy_mode_does_not_pin_and_is_the_same_for_every_deadline(
    read_only, deadline
):
    settings = Settings(host="proxy.example", user="shop", database="shop", proxy=True)
    sent = session_state(settings, Purpose(read_only, deadline), is_mariadb=False)
    assert pins_of([sent]) == []
    assert sent == session_state(settings, Purpose(read_only), is_mariadb=False)
    direct = dataclasses.replace(settings, proxy=False)
    assert pins_of([session_state(direct, Purpose(read_only), is_mariadb=False)])


def test_the_same_statement_is_told_once_in_the_order_of_the_run():
    run = ["SET @b = 1", "SELECT 1", "EXECUTE s", "SET @b = 1"]
    assert pins_of(run) == [
        Pin("SET @b = 1", "sets a user variable"),
        Pin("EXECUTE s", "a prepared statement"),
    ]


def test_json_lines_are_strings_or_objects_with_a_statement(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text(
        json.dumps("SELECT 1\nFROM account") + "\n\n" + json.dumps({"statement": "COMMIT", "ms": 2})
    )
    assert read_recording(path) == ["SELECT 1\nFROM account", "COMMIT"]


MYSQL_LOG = """\
/usr/sbin/mysqld, Version: 9.7.0 (MySQL Community Server - GPL). started with:
Tcp port: 3306  Unix socket: /var/run/mysqld/mysqld.sock
Time                 Id Command    Argument
2026-11-22T10:00:00.000001Z\t    8 Connect\tshop@10.0.0.1 on shop using TCP/IP
2026-11-22T10:00:00.000002Z\t    8 Query\tSET NAMES utf8mb4,
    autocommit=0
2026-11-22T10:00:00.000003Z\t    8 Prepare\tSELECT ?
2026-11-22T10:00:00.000004Z\t    8 Execute\tSELECT 1
2026-11-22T10:00:00.000005Z\t    8 Reset Connection\t
2026-11-22T10:00:00.000006Z\t    8 Init DB\tshop
2026-11-22T10:00:00.000007Z\t    8 Query\tCOMMIT
2026-11-22T10:00:00.000008Z\t    8 Quit\t
"""

MARIADB_LOG = """\
/usr/sbin/mariadbd, Version: 10.11.6-MariaDB. started with:
Tcp port: 0  Unix socket: /tmp/s
Time\t\t    Id Command\tArgument
261122 10:00:00\t     8 Connect\tshop@localhost on shop using TCP/IP
\t\t     8 Query\tSET NAMES utf8mb4,
    autocommit=0
261122 10:00:01\t     8 Prepare\tSELECT ?
\t\t     8 Query\tCOMMIT
\t\t     8 Quit\t
"""


@pytest.mark.parametrize("log", [MYSQL_LOG, MARIADB_LOG], ids=["MySQL", "MariaDB"])
def test_a_general_log_gives_its_statements_several_lines_and_all(tmp_path, log):
    path = tmp_path / "general.log"
    path.write_text(log)
    said = read_recording(path)
    assert said[0] == "SET NAMES utf8mb4,\n    autocommit=0"
    assert said[2:] == ["COMMIT"]
    assert [pin.reason for pin in pins_of(said)] == ["a prepared statement"]


@pytest.mark.parametrize(
    ("text", "line"), [("{}\n", 1), ('"SELECT 1"\n7\n', 2), ("hello\n", 1), ("a\n" * 20, 11)]
)
def test_a_file_that_is_neither_names_the_line(tmp_path, text, line):
    path = tmp_path / "run"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"line {line} "):
        read_recording(path)


def test_an_empty_recording_has_no_statements(tmp_path):
    path = tmp_path / "run"
    path.write_text("")
    assert read_recording(path) == []
