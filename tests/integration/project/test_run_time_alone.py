"""A function's package: the run-time dependencies, what those need, and nothing else."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]

LOG_IN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import sqlalchemy as sa
from dal import Database

db = Database(sys.argv[2], tls=sys.argv[3])
with db.scope(read_only=True) as session:
    plugin = session.scalar(sa.text(
        "SELECT plugin FROM mysql.user WHERE user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"
    ))
    _, encrypted = session.execute(sa.text("SHOW STATUS LIKE 'Ssl_version'")).one()
print(json.dumps({"plugin": plugin, "encrypted": encrypted, "modules": sorted(sys.modules)}))
"""


def needed(distribution):
    """The names of what `distribution` installs without any extra, itself left out."""
    found = set()
    for line in importlib.metadata.requires(distribution) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found |= {requirement.name.lower(), *needed(requirement.name)}
    return found


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with the library and what it needs, as it is shipped to Lambda."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "dal", folder / "dal", ignore=shutil.ignore_patterns("__pycache__"))
    for name in needed("lambda-dal"):
        for file in importlib.metadata.files(name):
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), target)
    return folder


def test_it_needs_sqlalchemy_and_pymysql_and_what_those_need():
    assert needed("lambda-dal") == {"sqlalchemy", "pymysql", "typing-extensions"}


def test_a_first_login_works_with_it_alone(package, server, admin):
    with admin.cursor() as cursor:
        cursor.execute("CREATE USER 'alone'@'%' IDENTIFIED BY 'cold cache'")
        cursor.execute("GRANT SELECT ON mysql.* TO 'alone'@'%'")
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-I", "-S", "-c", LOG_IN, str(package)),
                server.url("mysql", user="alone", password="cold cache"),
                "unverified" if server.has_tls else "disabled",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        with admin.cursor() as cursor:
            cursor.execute("DROP USER 'alone'@'%'")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if not server.is_mariadb:
        assert found["plugin"] == "caching_sha2_password"
        assert found["encrypted"].startswith("TLS")
    loaded = {name.split(".")[0] for name in found["modules"]}
    assert not loaded & {"cryptography", "alembic", "boto3", "pytest", "awslambdaric", "click"}
    extras = ("dal.testing", "dal.migrate", "dal.doctor", "dal.cli")
    assert not [name for name in found["modules"] if name.startswith(extras)]
