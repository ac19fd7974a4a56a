"""The pytest plugin: its checks pass for good migrations, and say what is wrong with others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from services import Project

from dal.testing.plugin.migrations import Failed, Migrations

MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int | None]
"""


@pytest.fixture
def project(tmp_path, environment):
    made = Project(tmp_path, environment, MODELS)
    # In this process, and apart from the models of other tests.
    (tmp_path / "migrations" / "env.py").write_text(
        f"from dal.migrate import run\nmodels = {{}}\nexec({MODELS!r}, models)\n"
        "run(models['Base'].metadata)\n"
    )
    return made


@pytest.fixture
def migrations(project, server):
    with Migrations(project.path / "alembic.ini", server) as checks:
        yield checks


def good(project):
    project.revision(
        1,
        "op.create_table('things', sa.Column('id', sa.Integer, primary_key=True))\n"
        "op.execute('INSERT INTO things VALUES (1), (2)')",
        "op.drop_table('things')",
    )
    project.revision(
        2,
        "op.add_column('things', sa.Column('n', sa.Integer))\n"
        "op.execute('UPDATE things SET n = id * 10')\n"
        "op.execute('INSERT INTO things VALUES (3, 4)')",
        "op.drop_column('things', 'n'); op.execute('DELETE FROM things WHERE id = 3')",
    )


def test_good_migrations_pass_every_check(project, migrations):
    good(project)

    migrations.single_head()
    migrations.no_drift()
    migrations.down_leaves_no_trace()
    migrations.replay()
    migrations.two_deployers()
    assert migrations.rehearsal().findings == []


def test_every_database_is_dropped(project, server, admin):
    good(project)
    with Migrations(project.path / "alembic.ini", server) as checks:
        checks.no_drift()
        made = set(checks._databases)

    with admin.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        assert made
        assert not made & {name for (name,) in cursor.fetchall()}


def test_two_heads_are_found(project, migrations):
    good(project)
    text = (project.path / "migrations/versions/r2.py").read_text()
    (project.path / "migrations/versions/r3.py").write_text(
        text.replace("revision = 'r2'", "revision = 'r3'")
    )

    with pytest.raises(Failed, match="2 heads"):
        migrations.single_head()


def test_drift_is_found(project, migrations):
    project.revision(1, "op.create_table('things', sa.Column('id', sa.Integer, primary_key=True))")

    with pytest.raises(Failed, match="add_column"):
        migrations.no_drift()


@pytest.mark.parametrize(
    ("up", "down"),
    [
        ("op.add_column('things', sa.Column('x', sa.Integer))", "pass"),
        ("op.create_index('ix_n', 'things', ['n'])", "pass"),
        ("op.drop_column('things', 'n')", "op.add_column('things', sa.Column('n', sa.BigInteger))"),
        ("op.execute('CREATE VIEW v AS SELECT 1 AS one')", "pass"),
        ("op.execute('CREATE PROCEDURE p() SELECT 1')", "pass"),
    ],
)
def test_what_a_downgrade_leaves_is_found(project, migrations, up, down):
    good(project)
    project.revision(3, up, down)

    with pytest.raises(Failed, match="r3 down leaves something else"):
        migrations.down_leaves_no_trace(since="r2")


def test_old_ways_back_may_be_left_out(project, migrations):
    table = "op.create_table('things', sa.Column('id', sa.Integer))"
    project.revision(1, table, "raise SystemExit")
    project.revision(
        2,
        "op.add_column('things', sa.Column('n', sa.Integer))",
        "op.drop_column('things', 'n')",
    )

    migrations.down_leaves_no_trace(since="r1")


def test_a_revision_that_cannot_go_on_is_found(project, migrations):
    # A random value: what was done is not what is sent the second time.
    project.revision(
        1,
        "import secrets\n"
        "op.create_table('things', sa.Column('id', sa.String(50)))\n"
        "op.execute(f\"INSERT INTO things VALUES ('{secrets.token_hex(9)}')\")\n"
        "op.add_column('things', sa.Column('n', sa.Integer))",
    )

    with pytest.raises(Failed, match="did not go on after statement 3 of r1"):
        migrations.replay()


def test_a_rehearsal_that_fails_is_found(project, migrations):
    good(project)
    project.revision(3, "op.execute('ALTER TABLE missing ADD n INT')")

    with pytest.raises(Failed, match="missing"):
        migrations.rehearsal()


# As users have it ----------------------------------------------------------------------------

USERS_TEST = """
def test_migrations(dal_migrations):
    dal_migrations.single_head()
    dal_migrations.no_drift()

def test_database(dal_server, dal_database):
    with dal_server.connect(dal_database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DATABASE()")
        assert cursor.fetchone() == (dal_database,)
"""


def run_pytest(path, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "dal.testing.plugin", *arguments],
        cwd=path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_fixtures_are_there_for_users(project, server):
    project.write_env()
    good(project)
    (project.path / "test_it.py").write_text(USERS_TEST)
    url = server.url()

    ran = run_pytest(project.path, "-W", "error", DAL_TEST_URL=url, **server.environment("mysql"))

    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout


def test_the_plugin_loads_no_extra_until_a_fixture_is_asked_for(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n"
        "    extras = {'alembic', 'testcontainers', 'docker', 'dal.testing.server'}\n"
        "    assert not extras & set(sys.modules)\n"
    )

    ran = run_pytest(tmp_path)

    assert ran.returncode == 0, ran.stdout


def test_the_distribution_names_the_plugin():
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()

    assert '[project.entry-points.pytest11]\ndal = "dal.testing.plugin"' in text
