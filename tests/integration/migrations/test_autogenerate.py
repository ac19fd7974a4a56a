"""`alembic revision --autogenerate` and `alembic check`, by the command, over `run()`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from services import execute

ALEMBIC = Path(sys.executable).with_name("alembic")

MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from dal import Base
from dal.model import ExactNumeric, Timestamps, UUIDKey

class Order(UUIDKey, Timestamps, Base):
    __tablename__ = "orders"
    total: Mapped[float] = mapped_column(ExactNumeric(10, 2))
    blob: Mapped[bytes] = mapped_column(sa.LargeBinary(16))
    note: Mapped[str] = mapped_column(sa.String(50), server_default="")
    __table_args__ = (
        sa.CheckConstraint("total >= 0", name="total"),
        sa.Index("ix_orders_newest", sa.text("created_at DESC")),
    )
"""

ENV = """
from dal.migrate import run
from models import Base

run(Base.metadata{keywords})
"""


@pytest.fixture
def project(tmp_path, environment):
    """A directory with models and migrations; gives what runs Alembic's command in it."""
    root = Path(__file__).parents[3]
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "migrations" / "env.py").write_text(ENV.format(keywords=""))
    template = (root / "migrations" / "script.py.mako").read_text()
    (tmp_path / "migrations" / "script.py.mako").write_text(template)
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = %(here)s\n"
        "path_separator = os\n"
    )

    def alembic(*arguments, check=True):
        done = subprocess.run(
            [ALEMBIC, *arguments],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    alembic.path = tmp_path
    return alembic


def test_the_first_revision_runs_as_written_and_leaves_nothing_to_find(project, admin):
    execute(admin, "CREATE TABLE anothers (id INT)")

    project("revision", "--autogenerate", "-m", "orders")
    project("upgrade", "head")

    checked = project("check")
    assert "No new upgrade operations detected" in checked.stdout
    (written,) = (project.path / "migrations" / "versions").glob("*_orders.py")
    assert "anothers" not in written.read_text()
    assert "dal" not in written.read_text()

    project("downgrade", "base")
    assert {name for (name,) in execute(admin, "SHOW TABLES")} == {"anothers", "alembic_version"}


def test_the_journal_is_never_a_difference_even_where_all_tables_are_asked_for(project, admin):
    (project.path / "migrations" / "env.py").write_text(ENV.format(keywords=", include_name=None"))
    project("revision", "--autogenerate", "-m", "orders")
    project("upgrade", "head")
    execute(admin, "CREATE TABLE IF NOT EXISTS alembic_version_steps (id INT)")
    assert "No new upgrade operations" in project("check").stdout
    execute(admin, "DROP TABLE alembic_version_steps", "CREATE TABLE anothers (id INT)")

    checked = project("check", check=False)

    assert checked.returncode != 0
    assert "remove_table" in checked.stdout
    assert "anothers" in checked.stdout


def test_the_users_own_directives_and_rendering_are_heard_too(project):
    own = """
def render(kind, item, context):
    return "sa.VARBINARY(16)" if kind == "type" and "UUID" in type(item).__name__ else False

def directive(context, revision, directives):
    directives[0].message = "heard"
"""
    keywords = ", render_item=render, process_revision_directives=directive"
    (project.path / "migrations" / "env.py").write_text(own + ENV.format(keywords=keywords))

    project("revision", "--autogenerate", "-m", "orders")

    (written,) = (project.path / "migrations" / "versions").glob("*_heard.py")
    assert "sa.VARBINARY(16)" in written.read_text()
    assert "mysql.DATETIME(fsp=6)" in written.read_text()
