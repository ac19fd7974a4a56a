"""`dal migrate plan`: what the server makes of the pending revisions, before they run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.config import Config
from services import Project, dump, execute

from dal import UsageError
from dal.engine import Settings
from dal.migrate.plan import rehearse

BIG = {"DAL_MIGRATE_BIG_TABLE": "1"}


@pytest.fixture
def project(tmp_path, environment):
    return Project(tmp_path, environment)


@pytest.fixture
def rehearsed(project, environment, monkeypatch):
    """Rehearse in this process: every table is big."""
    monkeypatch.setenv("DAL_MIGRATE_BIG_TABLE", "1")
    (project.path / "migrations" / "env.py").write_text(
        "from dal import Base\nfrom dal.migrate import run\nrun(Base.metadata)\n"
    )

    def rehearsal(*statements, **options):
        if statements:
            project.statements(1, *statements)
        return rehearse(
            Config(str(project.path / "alembic.ini")), Settings.from_env(environment), **options
        )

    return rehearsal


def steps(plan):
    return [step for revision in plan.revisions for step in revision.steps]


def rules(plan):
    return [finding.rule for step in steps(plan) for finding in step.findings]


def databases(admin):
    return {name for (name,) in execute(admin, "SHOW DATABASES")}


THING = (
    "CREATE TABLE things (id INT PRIMARY KEY AUTO_INCREMENT, n INT DEFAULT 5 COMMENT 'x', "
    "small SMALLINT, big BIGINT, s VARCHAR(50) NOT NULL DEFAULT '', t DATETIME(6) NOT NULL "
    "DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), e ENUM('a', 'b'), "
    "d DECIMAL(10, 2), u INT UNSIGNED, KEY k (n))"
)


# Rules ------------------------------------------------------------------------------------------

FINDINGS = {
    "ALTER TABLE things DROP COLUMN n": ["gone"],
    "DROP TABLE things": ["gone"],
    "ALTER TABLE things RENAME COLUMN n TO m": ["renamed"],
    "ALTER TABLE things CHANGE n m INT DEFAULT 5 COMMENT 'x'": ["renamed"],
    "ALTER TABLE things RENAME TO others": ["renamed"],
    "RENAME TABLE things TO others": ["renamed"],
    "ALTER TABLE things ADD m INT NOT NULL": ["required"],
    "ALTER TABLE things ADD m VARCHAR(9) NOT NULL, ADD o INT": ["required"],
    "ALTER TABLE things MODIFY n INT NOT NULL DEFAULT 5 COMMENT 'x'": ["narrowed"],
    "ALTER TABLE things MODIFY n INT": ["lost"],
    "ALTER TABLE things MODIFY t DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)": ["lost"],
    "ALTER TABLE things MODIFY s VARCHAR(50) COLLATE utf8mb4_bin NOT NULL DEFAULT ''": ["lost"],
    "ALTER TABLE things MODIFY big INT": ["narrowed", "blocks"],
    "ALTER TABLE things MODIFY s VARCHAR(40) NOT NULL DEFAULT ''": ["narrowed", "blocks"],
    "ALTER TABLE things MODIFY t DATETIME NOT NULL DEFAULT NOW() ON UPDATE NOW()": [
        "narrowed", "blocks",
    ],
    "ALTER TABLE things MODIFY e ENUM('a')": ["narrowed", "blocks"],
    "ALTER TABLE things MODIFY d DECIMAL(10, 3)": ["narrowed", "blocks"],
    "ALTER TABLE things MODIFY u INT": ["narrowed", "blocks"],
    "ALTER TABLE things MODIFY s INT NOT NULL DEFAULT 0": ["narrowed", "blocks"],
    "ALTER TABLE things MODIFY small INT": ["blocks"],
    "ALTER TABLE things MODIFY d DECIMAL(12, 2)": ["blocks"],
    "ALTER TABLE things MODIFY u BIGINT": ["blocks"],
    "ALTER TABLE things ADD CONSTRAINT c CHECK (n > 0)": ["blocks"],
    "CREATE INDEX f ON things ((n + 1))": ["blocks"],
    "CREATE FULLTEXT INDEX f ON things (s)": ["blocks"],
    "UPDATE things SET n = 1": ["rows"],
    "DELETE FROM things WHERE n = 1": ["rows"],
    "INSERT INTO things (n) SELECT n FROM things": ["rows"],
}  # fmt: skip

NOTHING = [
    "ALTER TABLE things ADD m INT",
    "ALTER TABLE things ADD m INT NOT NULL DEFAULT 7",
    "ALTER TABLE things ADD m INT AS (n + 1)",
    "ALTER TABLE things MODIFY s VARCHAR(60) NOT NULL DEFAULT ''",
    "ALTER TABLE things MODIFY e ENUM('a', 'b', 'c')",
    "ALTER TABLE things MODIFY s VARCHAR(50) DEFAULT ''",
    "ALTER TABLE things ALTER n DROP DEFAULT",
    "ALTER TABLE things DROP KEY k",
    "CREATE INDEX m ON things (n, u)",
    "CREATE TABLE others (id INT PRIMARY KEY)",
    "INSERT INTO things (n) VALUES (1)",
    "UPDATE things SET n = 1 WHERE id = 7 LIMIT 1",
]


@pytest.mark.mysql("its classes are MySQL's")
def test_every_rule_finds_what_it_is_for_and_leaves_the_rest_alone(rehearsed, admin):
    statements = [*FINDINGS, *NOTHING]
    for number, sql in enumerate(statements):
        execute(admin, THING.replace("things", f"things{number}"))
        statements[number] = sql.replace("things", f"things{number}").replace(
            "others", f"others{number}"
        )

    plan = rehearsed(*statements)

    assert not plan.failed
    found = {
        sql: [finding.rule for finding in step.findings]
        for sql, step in zip([*FINDINGS, *NOTHING], steps(plan), strict=True)
    }
    assert found == {**FINDINGS, **{sql: [] for sql in NOTHING}}
    assert all(f.advice for step in steps(plan) for f in step.findings)


def test_a_table_that_a_pending_revision_makes_is_changed_freely(rehearsed):
    plan = rehearsed(
        THING, "ALTER TABLE things DROP n", "ALTER TABLE things MODIFY s TEXT",
        "ALTER TABLE things ADD m INT NOT NULL", "UPDATE things SET u = 1", "DROP TABLE things",
    )  # fmt: skip

    assert rules(plan) == []


@pytest.mark.mysql("its classes are MySQL's")
def test_a_small_table_may_be_copied(rehearsed, admin, monkeypatch):
    execute(admin, THING)
    monkeypatch.setenv("DAL_MIGRATE_BIG_TABLE", "100000000")

    plan = rehearsed("ALTER TABLE things MODIFY small INT", "UPDATE things SET n = 1")

    assert rules(plan) == []
    assert [step.cost for step in steps(plan)] == ["COPY", "ROWS"]


@pytest.mark.mysql("its classes are MySQL's")
def test_the_safe_way_of_a_copy_has_the_command_lines_with_what_mysql_9_needs(rehearsed, admin):
    execute(admin, THING)

    (finding,) = steps(rehearsed("ALTER TABLE things MODIFY small INT"))[0].findings

    copier, ghost = finding.commands
    assert "--recursion-method=none" in copier
    assert "explain_format=TRADITIONAL" in copier
    assert "'MODIFY small INT'" in copier
    assert "--table=things" in ghost
    assert "secret" not in copier + ghost


def test_it_shows_the_servers_own_lines_before_and_after(rehearsed, admin):
    execute(admin, THING)

    (step,) = steps(rehearsed("ALTER TABLE things MODIFY n BIGINT"))

    assert step.lines[0].startswith("- `n` int")
    assert "COMMENT 'x'" in step.lines[0]
    assert step.lines[1].startswith("+ `n` bigint")


# Classes ----------------------------------------------------------------------------------------

CLASSES = {
    "INSTANT": [
        "ADD c INT", "ADD c INT AFTER id", "ADD c INT NOT NULL", "ADD c INT NOT NULL DEFAULT 3",
        "ADD c DATETIME DEFAULT CURRENT_TIMESTAMP", "ADD c INT AS (n + 1) VIRTUAL", "DROP s",
        "RENAME COLUMN n TO m", "CHANGE n m INT", "ALTER n SET DEFAULT 8", "ALTER n DROP DEFAULT",
        "MODIFY n INT DEFAULT 9", "MODIFY n INT COMMENT 'c'", "MODIFY e ENUM('a', 'b', 'c')",
        "RENAME TO {}x", "ADD CONSTRAINT {}c CHECK (n > 1) NOT ENFORCED", "DROP CHECK {}k",
        "ALTER CHECK {}k NOT ENFORCED",
    ],
    "INPLACE": [
        "MODIFY s VARCHAR(60)", "MODIFY n INT NOT NULL", "MODIFY o INT NULL", "ADD INDEX (n)",
        "ADD UNIQUE (n)", "DROP INDEX k", "RENAME INDEX k TO kk", "ALTER INDEX k INVISIBLE",
        "DROP FOREIGN KEY {}f", "DROP PRIMARY KEY, ADD PRIMARY KEY (o)", "COMMENT 'c'",
        "AUTO_INCREMENT = 100", "ENGINE=InnoDB", "ROW_FORMAT=DYNAMIC, KEY_BLOCK_SIZE=0",
        "FORCE", "ADD INDEX (n), ADD INDEX (o)", "ADD c INT, ADD INDEX (c)", "MODIFY n INT FIRST",
    ],
    "SHARED": ["ADD FULLTEXT (s)", "ADD INDEX ((n + 1))"],
    "COPY": [
        "MODIFY s VARCHAR(64)", "MODIFY s VARCHAR(40)", "MODIFY s TEXT", "MODIFY n BIGINT",
        "MODIFY d DECIMAL(12, 2)", "MODIFY t DATETIME(6)", "MODIFY e ENUM('x', 'a', 'b')",
        "MODIFY e ENUM('b', 'a')", "ADD c INT AS (n + 1) STORED", "ADD CHECK (n > 0)",
        "ADD FOREIGN KEY (n) REFERENCES parents (id)", "DROP PRIMARY KEY",
        "MODIFY s VARCHAR(50) CHARACTER SET latin1", "PARTITION BY HASH (id) PARTITIONS 2",
        "MODIFY n INT UNSIGNED",
    ],
}  # fmt: skip


@pytest.mark.mysql("its classes are MySQL's")
def test_operations_have_the_class_that_the_server_gives_them(rehearsed, admin):
    operations = [(cost, sql) for cost, sqls in CLASSES.items() for sql in sqls]
    execute(admin, "CREATE TABLE parents (id INT PRIMARY KEY)")
    statements = []
    for number, (_, sql) in enumerate(operations):
        name = f"t{number}"
        foreign = f", CONSTRAINT {name}f FOREIGN KEY (o) REFERENCES parents (id)"
        execute(
            admin,
            f"CREATE TABLE {name} (id INT PRIMARY KEY, n INT, o INT NOT NULL, s VARCHAR(50), "
            f"e ENUM('a', 'b'), d DECIMAL(10, 2), t DATETIME, CONSTRAINT {name}k CHECK (o < 99), "
            f"KEY k (n){foreign if 'FOREIGN' in sql and 'DROP' in sql else ''})",
        )
        statements.append(f"ALTER TABLE {name} {sql.format(name)}")

    plan = rehearsed(*statements)

    assert not plan.failed, plan.revisions[0].failure
    found = [(step.cost, sql) for step, (_, sql) in zip(steps(plan), operations, strict=True)]
    assert found == operations


@pytest.mark.mysql("it has no such refusal")
def test_what_the_server_refuses_fails_the_plan(rehearsed, admin):
    execute(admin, "CREATE TABLE things (id INT PRIMARY KEY)")

    plan = rehearsed("ALTER TABLE things ADD u BINARY(16) DEFAULT (uuid_to_bin(uuid()))")

    assert plan.failed
    assert "1674" in plan.revisions[0].failure


# The rehearsal ----------------------------------------------------------------------------------


def test_views_triggers_and_routines_are_there_and_the_target_is_untouched(
    rehearsed, admin, database
):
    execute(
        admin,
        "CREATE TABLE things (id INT PRIMARY KEY, n INT, g INT AS (n + 1))",
        "CREATE TABLE children (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES things (id))",
        "CREATE VIEW first AS SELECT id, n FROM things",
        "CREATE VIEW another AS SELECT n FROM first",
        "CREATE TRIGGER t BEFORE INSERT ON things FOR EACH ROW SET NEW.n = 1",
        "CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC RETURN x + 1",
        "CREATE PROCEDURE p() SELECT 1",
        "INSERT INTO things (id) VALUES (1)",
    )
    before = dump(admin)

    plan = rehearsed(
        "CREATE VIEW third AS SELECT f(n) FROM another",
        "DROP TRIGGER t",
        "DROP PROCEDURE p",
        "ALTER TABLE things ADD m INT",
        "INSERT INTO things (id) VALUES (1)",
    )

    assert plan.not_cloned == []
    assert not plan.failed, plan.revisions[0].failure
    assert dump(admin) == before
    assert execute(admin, "SELECT id, n FROM things") == [(1, 1)]
    assert databases(admin) & {f"{database}_dal_plan"} == set()


def test_only_what_is_pending_is_rehearsed(project, admin):
    project.statements(1, "CREATE TABLE one (id INT)")
    project.alembic("upgrade", "head")
    project.statements(2, "CREATE TABLE two (id INT)", "ALTER TABLE one ADD n INT")

    plan, code = project.plan("--strict")

    assert code == 0
    assert [revision["revision"] for revision in plan["revisions"]] == ["r2"]
    assert plan["current"] == ["r1"]
    assert {name for (name,) in execute(admin, "SHOW TABLES")} == {"one", "alembic_version"}
    assert execute(admin, "SELECT version_num FROM alembic_version") == [("r1",)]


def test_a_revision_that_fails_fails_the_plan_and_nothing_is_left(project, admin, database):
    project.statements(1, "CREATE TABLE one (id INT)", "ALTER TABLE missing ADD n INT")

    plan, code = project.plan()

    assert code == 1
    assert "missing" in plan["revisions"][0]["failure"]
    assert [step["cost"] for step in plan["revisions"][0]["steps"]] == ["NEW"]
    assert f"{database}_dal_plan" not in databases(admin)
    assert execute(admin, "SHOW TABLES") == []


def test_strict_ends_with_1_on_a_finding_and_the_text_says_what_to_do(project, admin):
    execute(admin, "CREATE TABLE things (id INT PRIMARY KEY, n INT)")
    project.statements(1, "ALTER TABLE things DROP n")

    assert project.plan()[1] == 0
    assert project.plan("--strict")[1] == 1
    shown = project.command("dal", "migrate", "plan").stdout
    assert "INSTANT" in shown
    assert "gone: column things.n is gone" in shown
    assert "release after that" in " ".join(shown.split())
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_an_env_that_connects_by_itself_is_refused_before_anything_is_sent(
    project, admin, environment
):
    project.write_env()
    (project.path / "migrations" / "env.py").write_text(
        "from alembic import context\n"
        "from dal.engine import Settings, create_engine\n"
        "with create_engine(Settings.from_env()).connect() as connection:\n"
        "    context.configure(connection=connection)\n"
        "    with context.begin_transaction():\n"
        "        context.run_migrations()\n"
    )
    project.statements(1, "CREATE TABLE one (id INT)")

    failed = project.command("dal", "migrate", "plan", check=False)

    assert failed.returncode == 2
    assert "dal.migrate.run" in failed.stderr
    assert execute(admin, "SHOW TABLES") == []


def test_a_database_that_no_rehearsal_made_is_not_dropped(rehearsed, admin, database):
    execute(admin, f"CREATE DATABASE {database}_dal_plan")
    try:
        with pytest.raises(UsageError, match="no rehearsal made"):
            rehearsed("CREATE TABLE one (id INT)")
        assert f"{database}_dal_plan" in databases(admin)
    finally:
        execute(admin, f"DROP DATABASE {database}_dal_plan")


def test_without_a_target_revisions_are_rehearsed_on_what_the_earlier_ones_make(
    project, admin, server, database
):
    project.statements(1, "CREATE TABLE one (id INT PRIMARY KEY, n INT)")
    project.statements(2, "ALTER TABLE one DROP n")

    plan, code = project.plan("--from", "r1", "--strict")

    assert code == 1
    assert [revision["revision"] for revision in plan["revisions"]] == ["r2"]
    assert plan["revisions"][0]["steps"][0]["findings"][0]["rule"] == "gone"
    assert project.plan("--from", "base", "--strict")[1] == 0
    assert execute(admin, "SHOW TABLES") == []


def test_a_rehearsal_that_is_ended_drops_its_database(project, admin, database):
    project.revision(1, "op.execute('CREATE TABLE one (id INT)')\nimport time; time.sleep(60)")
    process = subprocess.Popen(
        [Path(sys.executable).with_name("dal"), "migrate", "plan"],
        cwd=project.path,
        env={"PATH": os.environ["PATH"], **project.environment},
    )
    deadline = time.monotonic() + 20
    while f"{database}_dal_plan" not in databases(admin) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)

    assert process.wait(10) == 143
    assert f"{database}_dal_plan" not in databases(admin)


def test_what_a_killed_rehearsal_left_is_replaced(project, admin, database):
    execute(
        admin,
        f"CREATE DATABASE {database}_dal_plan",
        f"CREATE TABLE {database}_dal_plan.dal_plan_marks_this_database (id INT)",
        f"CREATE TABLE {database}_dal_plan.one (id INT)",
    )
    project.statements(1, "CREATE TABLE one (id INT)")

    plan, code = project.plan()

    assert code == 0, plan
    assert f"{database}_dal_plan" not in databases(admin)


@pytest.mark.mysql("its privileges have other names")
def test_the_privileges_that_the_page_names_are_enough(project, admin, server, database):
    page = (Path(__file__).parents[3] / "docs" / "migrations-plan.md").read_text()
    grants = page.partition("```sql\n")[2].partition("```")[0]
    name = f"u_{database[-12:]}"  # not as a number that begins a name
    execute(
        admin,
        "CREATE TABLE things (id INT PRIMARY KEY, n INT)",
        "CREATE VIEW first AS SELECT id, n FROM things",
        "CREATE TRIGGER t BEFORE INSERT ON things FOR EACH ROW SET NEW.n = 1",
        "CREATE PROCEDURE p() SELECT 1",
        f"CREATE USER {name} IDENTIFIED BY 'x'",
    )
    for grant in filter(None, map(str.strip, grants.split(";"))):
        execute(admin, grant.replace("'planner'@'%'", f"{name}@'%'").replace("shop", database))
    try:
        project.statements(1, "ALTER TABLE things ADD m INT", "CREATE VIEW v AS SELECT 1")
        url = f"mysql://{name}:x@{server.host}:{server.port}/{database}"
        plan, code = project.plan("--strict", DATABASE_URL=url)
        assert code == 0, plan
        # With a binary log, triggers and functions are SUPER's, or want a setting of the server.
        assert [what.split(" (")[0] for what in plan["not_cloned"]] in ([], ["trigger t"])
    finally:
        execute(admin, f"DROP USER {name}")


def test_two_hundred_tables_are_rehearsed_in_seconds(rehearsed, admin):
    execute(
        admin,
        *(
            f"CREATE TABLE t{n} (id INT PRIMARY KEY, a INT, b VARCHAR(50), KEY (a), KEY (b))"
            for n in range(200)
        ),
    )

    plan = rehearsed(*(f"ALTER TABLE t{n} ADD c INT" for n in range(10)))

    assert len(steps(plan)) == 10
    assert plan.seconds < 20
