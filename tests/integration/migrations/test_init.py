"""`dal migrate init`: from nothing to a migrated database."""

import os
import subprocess
import sys
from pathlib import Path

from services import execute

MODELS = """
from dal import Base
from dal.model import Timestamps, UUIDKey

class Order(UUIDKey, Timestamps, Base):
    __tablename__ = "orders"
"""


def command(path, environment, name, *arguments, check=True):
    done = subprocess.run(
        [Path(sys.executable).with_name(name), *arguments],
        cwd=path,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def test_four_commands_lead_to_a_migrated_database(tmp_path, environment, admin):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "models.py").write_text(MODELS)

    command(tmp_path, environment, "dal", "migrate", "init", "shop.models:Base")
    command(tmp_path, environment, "alembic", "revision", "--autogenerate", "-m", "orders")
    command(tmp_path, environment, "alembic", "upgrade", "head")

    assert "orders" in {name for (name,) in execute(admin, "SHOW TABLES")}
    assert "No new upgrade" in command(tmp_path, environment, "alembic", "check").stdout
    env = (tmp_path / "migrations" / "env.py").read_text()
    assert len([line for line in env.splitlines() if line and not line.startswith('"')]) == 3


def test_a_file_that_is_there_is_kept_and_none_is_written(tmp_path):
    (tmp_path / "alembic.ini").write_text("mine")

    refused = command(tmp_path, {}, "dal", "migrate", "init", check=False)

    assert refused.returncode == 2
    assert "alembic.ini" in refused.stderr
    assert (tmp_path / "alembic.ini").read_text() == "mine"
    assert not (tmp_path / "migrations").exists()


def test_what_is_no_name_of_a_module_is_refused(tmp_path):
    refused = command(tmp_path, {}, "dal", "migrate", "init", "models; import os", check=False)

    assert refused.returncode == 2
    assert not list(tmp_path.iterdir())
