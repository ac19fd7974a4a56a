"""Alembic as a deployer runs it, on revisions that a test writes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest

ROOT = Path(__file__).parents[3]
ALEMBIC = Path(sys.executable).with_name("alembic")

ENV = "from dal.migrate import run\nfrom sqlalchemy import MetaData\nrun(MetaData())\n"
HEAD = """
import datetime, time, uuid
import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Session
from dal.migrate import *
"""


class Zygote:
    """The process of dying.py, which forks for each command."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("dying.py"))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self, **job):
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def zygote():
    started = Zygote()
    yield started
    started.close()


@pytest.fixture
def rows(admin):
    """Run one statement as another session and give its rows."""

    def execute(sql, arguments=None):
        with admin.cursor() as cursor:
            cursor.execute(sql, arguments)
            return list(cursor.fetchall())

    return execute


class Revisions:
    """A directory of revisions, and Alembic's command on it."""

    def __init__(self, path, environment, zygote):
        self.zygote = zygote
        self.path, self.environment = path, environment
        self.versions = path / "versions"
        self.versions.mkdir()
        (path / "env.py").write_text(ENV)
        self.ini = path / "alembic.ini"
        self.ini.write_text(f"[alembic]\nscript_location = {path}\npath_separator = os\n")

    def write(self, name, upgrade, downgrade="pass", *, after=None):
        """Write a revision; `after` is what it follows: one, several, or by default the last."""
        body = "\n".join(
            f"def {way}():\n{indent(dedent(code).strip(), '    ')}\n"
            for way, code in (("upgrade", upgrade), ("downgrade", downgrade))
        )
        head = f"revision = {name!r}\ndown_revision = {after!r}\n"
        (self.versions / f"{name}.py").write_text(f'"""Of {name}."""\n{HEAD}{head}{body}')

    def chain(self, *bodies):
        """Write revisions r1, r2 and so on, one after the other."""
        for number, body in enumerate(bodies, 1):
            after = f"r{number - 1}" if number > 1 else None
            self.write(f"r{number}", body, after=after)

    def start(self, *arguments, **variables):
        """Start Alembic's command; the output is one text."""
        return subprocess.Popen(
            [ALEMBIC, "-c", str(self.ini), *arguments],
            env={"PATH": os.environ["PATH"], **self.environment, **variables},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments, **variables):
        """Run Alembic's command to its end; gives its exit code and its output."""
        ended = self.zygote(
            arguments=["-c", str(self.ini), *arguments],
            environment={"PATH": os.environ["PATH"], **self.environment, **variables},
        )
        return ended["code"], ended["said"]

    def die(self, environment, command="upgrade", target="heads", **how):
        """Run a command, perhaps to its death; gives how it ended, as dying.py says it."""
        return self.zygote(
            ini=str(self.ini), environment=environment, command=command, target=target, **how
        )

    def upgrade(self, target="head", **variables):
        """Run `alembic upgrade`, which must succeed."""
        code, output = self.run("upgrade", target, **variables)
        assert code == 0, output
        return output

    def fail(self, *arguments, **variables):
        """Run what must fail, in a few lines; gives what it says."""
        code, output = self.run(*(arguments or ("upgrade", "head")), **variables)
        assert code == 1, output
        assert "Traceback" not in output
        said = [line for line in output.splitlines() if not line.startswith(("INFO", "WARN"))]
        assert len(said) <= 6
        return "\n".join(said)


@pytest.fixture
def revisions(tmp_path, environment, zygote):
    """A directory for revisions, on the test's database."""
    return Revisions(tmp_path, environment, zygote)
