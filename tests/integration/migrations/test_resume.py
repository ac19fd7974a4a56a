"""A revision that stopped goes on where it did; two deployers do not meet."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DAL = Path(sys.executable).with_name("dal")
TABLE = "op.execute('CREATE TABLE {} (id INT PRIMARY KEY AUTO_INCREMENT, v INT)')"
MISSING = "op.execute('INSERT INTO missing VALUES (1)')"


def versions(rows):
    return [name for (name,) in rows("SELECT version_num FROM alembic_version")]


def tables(rows):
    return {name for (name,) in rows("SHOW TABLES")} - {"alembic_version"}


# One deployer at a time -------------------------------------------------------------------------


def test_three_deployers_at_once_all_succeed_and_each_revision_runs_once(revisions, rows):
    revisions.chain(
        TABLE.format("t"),
        "op.execute('INSERT INTO t (v) VALUES (1)')\nop.execute('ALTER TABLE t ADD a INT')\n"
        "op.execute('SELECT SLEEP(0.3)')",
        "op.execute('INSERT INTO t (v) VALUES (2)')",
    )

    deployers = [revisions.start("upgrade", "head") for _ in range(3)]
    outputs = [deployer.communicate(timeout=60)[0] for deployer in deployers]

    assert [deployer.returncode for deployer in deployers] == [0, 0, 0], outputs
    assert [v for (v,) in rows("SELECT v FROM t ORDER BY id")] == [1, 2]
    assert versions(rows) == ["r3"]


def test_a_deployer_that_waits_in_vain_says_for_whom(revisions, rows):
    revisions.chain("op.execute('DO SLEEP(4)')")
    first = revisions.start("upgrade", "head")
    while not rows("SELECT 1 FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'"):
        time.sleep(0.05)

    code, output = revisions.run("upgrade", "head", DAL_MIGRATE_WAIT="1")

    assert code != 0
    assert "another deployer" in output
    assert "DO SLEEP(4)" in output
    assert "Traceback" not in output
    assert first.communicate(timeout=30) is not None
    assert versions(rows) == ["r1"]


def test_reading_commands_do_not_wait(revisions):
    revisions.chain("op.execute('DO SLEEP(4)')")
    first = revisions.start("upgrade", "head")
    time.sleep(1.5)
    began = time.monotonic()

    for command in ("current", "history", "heads"):
        assert revisions.run(command)[0] == 0

    assert first.poll() is None or time.monotonic() - began > 2
    first.communicate(timeout=30)


# Going on ---------------------------------------------------------------------------------------


def test_rows_before_a_definition_that_fails_are_stored_once(revisions, rows):
    revisions.chain(
        TABLE.format("t"),
        "op.execute('INSERT INTO t (v) VALUES (7), (7), (8)')\n"
        "op.execute('ALTER TABLE t ADD UNIQUE uq (v)')",
    )
    revisions.fail()
    said = revisions.fail()
    assert "statement 2" in said
    assert "'7'" not in said
    rows("DELETE FROM t WHERE id = 2")

    revisions.upgrade()

    assert [v for (v,) in rows("SELECT v FROM t ORDER BY id")] == [7, 8]
    assert tables(rows) == {"t"}


def test_a_deployer_that_is_killed_in_an_alter_leaves_it_to_the_next_one(revisions, rows):
    rows("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200))")
    rows(
        "INSERT INTO t (v) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 900) SELECT REPEAT('x', 150) FROM n"
    )
    for _ in range(8):
        rows("INSERT INTO t (v) SELECT v FROM t")
    revisions.chain("op.execute('ALTER TABLE t MODIFY v TEXT')\n" + TABLE.format("u"))
    first = revisions.start("upgrade", "head")
    alter = (
        "SELECT state FROM information_schema.processlist "
        "WHERE info LIKE 'ALTER TABLE t MODIFY v T%'"
    )
    while not (found := rows(alter)) or "copy" not in (found[0][0] or ""):
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()

    revisions.upgrade()

    assert dict(row[:2] for row in rows("SHOW COLUMNS FROM t"))["v"] == "text"
    assert versions(rows) == ["r1"]


def test_an_edited_statement_that_is_done_stops_it_and_can_be_settled(revisions, rows):
    revisions.chain(f"{TABLE.format('t')}\nop.execute('INSERT INTO missing VALUES (1)')")
    revisions.fail()
    revisions.chain(f"{TABLE.format('t2')}\nop.execute('INSERT INTO t VALUES (1, 1)')")

    said = revisions.fail()

    assert "CREATE TABLE t (" in said
    assert "CREATE TABLE t2 (" in said
    assert tables(rows) == {"t", "alembic_version_steps"}
    assert dal(revisions, "resolve", "r1", "1", "--done")[0] == 0
    revisions.upgrade()
    assert rows("SELECT * FROM t") == [(1, 1)]


def test_the_statement_that_failed_and_all_after_it_may_be_edited(revisions, rows):
    revisions.chain(f"{TABLE.format('t')}\nop.execute('INSERT INTO missing VALUES (1)')")
    revisions.fail()
    revisions.chain(f"{TABLE.format('t')}\nop.execute('INSERT INTO t VALUES (5, 5)')")

    revisions.upgrade()

    assert list(rows("SELECT * FROM t")) == [(5, 5)]


def test_a_revision_that_has_less_than_was_done_stops(revisions, rows):
    revisions.chain(f"{TABLE.format('t')}\n{TABLE.format('u')}\n{MISSING}")
    revisions.fail()
    revisions.chain(TABLE.format("t"))

    assert "CREATE TABLE u" in revisions.fail()


def test_values_made_anew_stop_it_unless_they_are_repeatable(revisions, rows):
    insert = (
        "op.get_bind().execute(sa.text('INSERT INTO t (v) VALUES (:v)'), "
        "{'v': time.time_ns() % 10**9})"
    )
    end = "op.execute('ALTER TABLE t ADD a INT')\nop.execute('INSERT INTO missing VALUES (1)')"
    revisions.chain(TABLE.format("t"), f"{insert}\n{end}")
    revisions.fail()
    assert "repeatable" in revisions.fail()


def test_what_is_repeatable_runs_each_time(revisions, rows):
    revisions.chain(
        TABLE.format("t"),
        """
        with repeatable():
            if not op.get_bind().execute(sa.text("SELECT 1 FROM t")).first():
                op.get_bind().execute(sa.text("INSERT INTO t (v) VALUES (:v)"), {"v": 9})
        op.execute("ALTER TABLE t ADD a INT")
        op.execute("INSERT INTO missing VALUES (1)")
        """,
    )
    revisions.fail()
    rows("CREATE TABLE missing (id INT)")

    revisions.upgrade()

    assert [v for (v,) in rows("SELECT v FROM t")] == [9]


def test_the_last_number_of_the_earlier_run_is_known(revisions, rows):
    revisions.chain(
        TABLE.format("t") + "\n" + TABLE.format("u"),
        "op.execute('INSERT INTO t VALUES (41, 0)')\n"
        "op.execute('INSERT INTO t (v) VALUES (1)')\n"
        "op.execute('ALTER TABLE t ADD a INT')\n"
        "op.execute('INSERT INTO u VALUES (LAST_INSERT_ID(), (SELECT 1 FROM missing))')",
    )
    revisions.fail()
    rows("CREATE TABLE missing (id INT)")

    revisions.upgrade()

    assert rows("SELECT id FROM u") == [(42,)]


@pytest.mark.parametrize(
    ("made", "used"),
    [
        ("CREATE TEMPORARY TABLE moved AS SELECT * FROM t", "SELECT * FROM moved"),
        ("SET @most = (SELECT MAX(v) FROM t)", "SELECT 1, @most"),
    ],
)
def test_what_went_with_the_session_stops_it_in_place_of_losing_rows(revisions, rows, made, used):
    revisions.chain(
        TABLE.format("t") + "\n" + TABLE.format("u") + "\n"
        "op.execute('INSERT INTO t (v) VALUES (5)')",
        f"op.execute('{made}')\nop.execute('DELETE FROM t')\n"
        f"op.execute('ALTER TABLE t ADD a INT')\n"
        f"op.execute('INSERT INTO u {used} WHERE (SELECT COUNT(*) FROM missing) = 0')",
    )
    revisions.fail()
    rows("CREATE TABLE missing (id INT)")

    said = revisions.fail()

    assert "went with the session" in said
    assert "by hand" in said


def test_a_downgrade_over_a_half_done_upgrade_is_refused(revisions, rows):
    revisions.chain(TABLE.format("t"), f"{TABLE.format('u')}\n{MISSING}")
    revisions.fail()

    said = revisions.fail("downgrade", "base")

    assert "r2 is half done" in said
    assert {"t", "u"} <= tables(rows)


def test_stamp_settles_what_is_half_done(revisions, rows):
    revisions.chain(TABLE.format("t"), f"{TABLE.format('u')}\n{MISSING}")
    revisions.fail()

    assert revisions.run("stamp", "r2")[0] == 0

    assert versions(rows) == ["r2"]
    assert tables(rows) == {"t", "u"}


def test_stamp_of_where_it_is_settles_it_as_well(revisions, rows):
    revisions.chain(TABLE.format("t"), f"{TABLE.format('u')}\n{MISSING}")
    revisions.fail()

    assert revisions.run("stamp", "r1")[0] == 0

    assert tables(rows) == {"t", "u"}


def test_a_commit_of_its_own_keeps_the_version(revisions, rows):
    revisions.chain(f"{TABLE.format('t')}\nop.get_bind().commit()")

    revisions.upgrade()

    assert versions(rows) == ["r1"]


def test_a_change_over_another_connection_is_refused(revisions, rows):
    revisions.chain(
        TABLE.format("t"),
        """
        with op.get_bind().engine.begin() as other:
            other.execute(sa.text("INSERT INTO t (v) VALUES (1)"))
        """,
    )

    assert "connection of its own" in revisions.fail()
    assert list(rows("SELECT * FROM t")) == []


def test_after_a_deadlock_the_revision_does_not_go_on(revisions, rows):
    revisions.chain(
        TABLE.format("t"),
        """
        op.execute("INSERT INTO t (v) VALUES (1)")
        try:
            op.execute("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213")
        except Exception:
            pass
        op.execute("INSERT INTO t (v) VALUES (2)")
        """,
    )

    assert "undid the whole transaction" in revisions.fail()
    assert list(rows("SELECT * FROM t")) == []


def test_an_error_of_its_own_code_names_the_line(revisions):
    revisions.chain("{}['missing']")

    said = revisions.fail()

    assert "KeyError" in said
    assert "r1.py, line 11" in said


def test_tables_under_lock_are_written(revisions, rows):
    revisions.chain(
        TABLE.format("t"),
        "op.execute('LOCK TABLES t WRITE')\nop.execute('INSERT INTO t (v) VALUES (3)')\n"
        "op.execute('UNLOCK TABLES')",
    )

    revisions.upgrade()

    assert [v for (v,) in rows("SELECT v FROM t")] == [3]


# By hand ----------------------------------------------------------------------------------------


def dal(revisions, *arguments):
    done = subprocess.run(
        [DAL, "migrate", *arguments, "-c", str(revisions.ini)],
        env={"PATH": "/usr/bin:/bin", **revisions.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_status_says_what_is_half_done(revisions, rows):
    revisions.chain(TABLE.format("t"), f"{TABLE.format('u')}\n{MISSING}", "pass")
    revisions.fail()

    code, output, _ = dal(revisions, "status", "--json")
    found = json.loads(output)

    assert code == 0
    assert (found["at"], found["heads"], found["pending"]) == (["r1"], ["r3"], ["r2", "r3"])
    half = found["half_done"]
    assert (half["revision"], half["done"], half["step"]) == ("r2", 1, 2)
    assert (half["statement"], half["errno"]) == ("INSERT INTO missing VALUES (1)", 1146)
    assert "statement 2 (failed): INSERT INTO missing" in dal(revisions, "status")[1]


def test_a_statement_is_sent_again_on_request(revisions, rows):
    revisions.chain(f"{TABLE.format('t')}\nop.execute('INSERT INTO missing VALUES (1)')")
    revisions.fail()
    rows("DROP TABLE t")
    rows("CREATE TABLE missing (id INT)")

    assert dal(revisions, "resolve", "r1", "1", "--again")[0] == 0
    revisions.upgrade()

    assert tables(rows) == {"t", "missing"}


def test_what_is_not_in_question_is_not_settled(revisions):
    revisions.chain(TABLE.format("t"))
    revisions.upgrade()

    code, _, said = dal(revisions, "resolve", "r1", "1", "--done")

    assert code == 2
    assert "not half done" in said


# Backfills --------------------------------------------------------------------------------------


@pytest.fixture
def filled(rows):
    rows("CREATE TABLE f (id INT PRIMARY KEY AUTO_INCREMENT, v INT NOT NULL DEFAULT 0)")
    rows(
        "INSERT INTO f (v) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 1000) SELECT 0 FROM n"
    )
    for _ in range(6):
        rows("INSERT INTO f (v) SELECT 0 FROM f")


def test_a_backfill_that_is_killed_changes_each_row_once(revisions, filled, rows):
    revisions.chain("backfill('f', set={'v': sa.text('v + 1')}, where='id % 2 = 0')")
    for _ in range(2):
        deployer = revisions.start("upgrade", "head")
        began = rows("SELECT SUM(v) FROM f")[0][0]
        while deployer.poll() is None and rows("SELECT SUM(v) FROM f")[0][0] == began:
            time.sleep(0.01)
        deployer.kill()
        deployer.communicate()

    revisions.upgrade()

    assert list(rows("SELECT id % 2, MIN(v), MAX(v) FROM f GROUP BY 1 ORDER BY 1")) == [
        (0, 1, 1),
        (1, 0, 0),
    ]
    assert versions(rows) == ["r1"]


def test_offline_a_backfill_is_one_statement(revisions):
    revisions.chain("backfill('f', set={'v': 1}, where='v = 0')")

    _, output = revisions.run("upgrade", "head", "--sql")

    assert "UPDATE f SET v=1 WHERE v = 0" in output
