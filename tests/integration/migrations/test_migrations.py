"""Alembic's own command, run from the top level as a deployer runs it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent, indent
from urllib.parse import quote

import pytest

ROOT = Path(__file__).parents[3]
ALEMBIC = Path(sys.executable).with_name("alembic")
HEAD = "a402eec8db04"

# Every limit of the handlers, as low as it goes: none of them is for migrations.
SHORT_LIMITS = {
    "DAL_STATEMENT_TIMEOUT": "1",
    "DAL_IDLE_TIMEOUT": "1",
    "DAL_LOCK_WAIT_TIMEOUT": "1",
}


def alembic(environment, *arguments, check=True):
    done = subprocess.run(
        [ALEMBIC, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def rows(admin):
    """Run one statement as another session and give its rows."""

    def execute(sql):
        with admin.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    return execute


@pytest.fixture
def revisions(tmp_path):
    """Write revisions, one after the other, and give the options by which Alembic finds them."""
    versions = tmp_path / "versions"
    versions.mkdir()
    ini = tmp_path / "alembic.ini"
    ini.write_text(
        f"[alembic]\nscript_location = {ROOT}/migrations\nprepend_sys_path = {ROOT}\n"
        f"version_locations = {versions}\npath_separator = os\n"
    )

    def write(*bodies):
        for number, body in enumerate(bodies, start=1):
            text = (
                f"import time\nfrom alembic import op\nrevision = 'r{number}'\n"
                f"down_revision = {f'r{number - 1}' if number > 1 else None!r}\n"
                f"def upgrade():\n{indent(dedent(body).strip(), '    ')}\n"
            )
            (versions / f"r{number}.py").write_text(text)
        return ["-c", str(ini)]

    return write


def tables(rows):
    return {name for (name,) in rows("SHOW TABLES")}


# The commands -----------------------------------------------------------------------------------


def test_upgrade_makes_the_tables_and_records_the_revision(environment, rows):
    alembic(environment, "upgrade", "head")

    assert tables(rows) == {"users", "alembic_version"}
    assert rows("SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_the_server_fills_in_id_and_time(environment, rows):
    alembic(environment, "upgrade", "head")

    rows("INSERT INTO users (email, name) VALUES ('a@example.com', 'Ann')")

    ((number, age),) = rows("SELECT id, TIMESTAMPDIFF(SECOND, created_at, NOW(6)) FROM users")
    assert (number, age) == (1, 0)


def test_constraints_have_the_names_of_the_convention(environment, rows):
    alembic(environment, "upgrade", "head")

    names = rows(
        "SELECT constraint_name FROM information_schema.table_constraints "
        "WHERE table_schema = DATABASE() AND table_name = 'users' AND constraint_type = 'UNIQUE'"
    )
    assert names == [("uq_users_email",)]


def test_check_finds_no_difference_after_upgrade(environment):
    alembic(environment, "upgrade", "head")

    assert "No new upgrade operations detected" in alembic(environment, "check").stdout


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users MODIFY name VARCHAR(99) NOT NULL",
        "ALTER TABLE users MODIFY created_at DATETIME(6) NOT NULL",
        "ALTER TABLE users DROP INDEX uq_users_email",
    ],
)
def test_check_finds_a_table_that_is_not_as_the_model_says(environment, rows, change):
    alembic(environment, "upgrade", "head")
    rows(change)

    checked = alembic(environment, "check", check=False)

    assert checked.returncode != 0
    assert "New upgrade operations detected" in checked.stdout


def test_downgrade_takes_everything_back(environment, rows):
    alembic(environment, "upgrade", "head")

    alembic(environment, "downgrade", "base")

    assert tables(rows) == {"alembic_version"}
    assert rows("SELECT version_num FROM alembic_version") == []


def test_offline_writes_the_sql_that_makes_the_same_tables(environment, rows):
    nothing_to_reach = {}
    script = alembic(nothing_to_reach, "upgrade", "head", "--sql").stdout

    for statement in script.split(";"):
        if statement.strip():
            rows(statement)

    assert tables(rows) == {"users", "alembic_version"}
    assert "No new upgrade operations detected" in alembic(environment, "check").stdout


# Reaching the server ----------------------------------------------------------------------------


def test_without_an_address_it_says_which_variables_to_set():
    failed = alembic({}, "upgrade", "head", check=False)

    assert failed.returncode != 0
    assert "DATABASE_URL" in failed.stdout
    assert "Traceback" not in failed.stderr


@pytest.fixture
def hard_password(server, database, environment):
    """Both forms of an address whose password has what URLs, ini files and Latin-1 cannot take."""
    user, password = database[-12:], "5%d %(here)s @/:#?ß✓"
    rest = {name: value for name, value in environment.items() if name != "DATABASE_URL"}
    address = f"{server.host}:{server.port}/{database}"
    with server.connect(database) as admin, admin.cursor() as cursor:
        cursor.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", (user, password))
        cursor.execute(f"GRANT ALL ON `{database}`.* TO %s@'%%'", (user,))
        yield {
            "as a URL": rest | {"DATABASE_URL": f"mysql://{user}:{quote(password, '')}@{address}"},
            "as variables": rest
            | {
                "DB_HOST": server.host,
                "DB_PORT": str(server.port),
                "DB_USER": user,
                "DB_PASSWORD": password,
                "DB_NAME": database,
            },
        }
        cursor.execute("DROP USER %s@'%%'", (user,))


@pytest.mark.parametrize("form", ["as a URL", "as variables"])
def test_a_password_may_hold_any_character(hard_password, rows, form):
    alembic(hard_password[form], "upgrade", "head")

    assert "users" in tables(rows)


def test_a_refused_password_is_not_shown(server, database, environment):
    url = f"mysql://nobody:s3cr3t%25@{server.host}:{server.port}/{database}"

    failed = alembic({**environment, "DATABASE_URL": url}, "upgrade", "head", check=False)

    assert failed.returncode != 0
    assert "Access denied" in failed.stdout
    assert "s3cr3t" not in failed.stdout + failed.stderr


# What MySQL makes of a failure, and of slow work ------------------------------------------------


def test_a_failed_revision_leaves_the_earlier_ones_recorded(environment, revisions, rows):
    # The third fails before a DDL of its own, which would commit what was left open.
    options = revisions(
        "op.execute('CREATE TABLE one (id INT)')",
        "op.execute('CREATE TABLE two (id INT)')",
        "op.execute('INSERT INTO missing VALUES (1)')",
    )

    failed = alembic(environment, *options, "upgrade", "head", check=False)

    assert failed.returncode != 0
    assert "missing" in failed.stderr
    # The journal is there while a revision is half done: it says what failed.
    assert tables(rows) == {"one", "two", "alembic_version", "alembic_version_steps"}
    assert rows("SELECT version_num FROM alembic_version") == [("r2",)]


@pytest.mark.parametrize(
    "slow",
    [
        pytest.param("op.execute('CREATE TABLE slow AS SELECT SLEEP(3) AS s')", id="DDL"),
        pytest.param("op.execute('SELECT SLEEP(3)')", id="SELECT"),
        pytest.param("time.sleep(3)", id="pause"),
    ],
)
def test_slow_work_outlives_the_limits_of_the_handlers(environment, revisions, rows, slow):
    options = revisions(
        "op.execute('CREATE TABLE work (id INT)')",
        f"op.execute('ALTER TABLE work ADD a INT')\n{slow}\n"
        "op.execute('ALTER TABLE work ADD b INT')",
    )
    began = time.monotonic()

    alembic(environment | SHORT_LIMITS, *options, "upgrade", "head")

    assert time.monotonic() - began > 3
    assert [column for column, *_ in rows("SHOW COLUMNS FROM work")] == ["id", "a", "b"]
    assert rows("SELECT version_num FROM alembic_version") == [("r2",)]


@pytest.fixture
def reader(server, database):
    """A transaction that has read a table and goes on: nobody may alter the table meanwhile."""
    with server.connect(database, autocommit=False) as connection:

        def read(table):
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM {table}")
            return connection

        yield read


def test_an_alter_waits_for_a_short_transaction(environment, revisions, rows, reader):
    rows("CREATE TABLE busy (id INT)")
    options = revisions("op.execute('ALTER TABLE busy ADD a INT')")
    end_of_reading = threading.Timer(3, reader("busy").commit)
    end_of_reading.start()

    try:
        alembic(environment | SHORT_LIMITS, *options, "upgrade", "head")
    finally:
        end_of_reading.join()

    assert [column for column, *_ in rows("SHOW COLUMNS FROM busy")] == ["id", "a"]


def test_an_alter_gives_up_on_a_long_transaction(environment, revisions, rows, reader):
    rows("CREATE TABLE busy (id INT)")
    options = revisions("op.execute('ALTER TABLE busy ADD a INT')")
    reader("busy")
    began = time.monotonic()
    patience = {"DAL_MIGRATE_PATIENCE": "12"}

    failed = alembic(environment | patience, *options, "upgrade", "head", check=False)

    assert 10 <= time.monotonic() - began < 20
    assert failed.returncode != 0
    assert "LockWaitTimeout" in failed.stderr
    assert "ALTER TABLE busy" in failed.stderr
    assert rows("SELECT version_num FROM alembic_version") == []
    assert [column for column, *_ in rows("SHOW COLUMNS FROM busy")] == ["id"]
