"""The example's SAM template, and what `sam build` makes of it."""

import importlib.util
import json
import marshal
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
import trustme
from alembic.config import Config
from alembic.script import ScriptDirectory
from cfnlint.api import lint_file
from cfnlint.decode.cfn_yaml import load

from dal.aws import emf
from dal.doctor.packages import uncompiled
from dal.engine import Settings

ROOT = Path(__file__).parents[3]
SERVICE = ROOT / "examples" / "users"
TEMPLATE = SERVICE / "template.yaml"

CONTENT = load(str(TEMPLATE))
FUNCTIONS = {
    name: resource["Properties"]["Handler"]
    for name, resource in CONTENT["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}


def test_cfn_lint_has_nothing_to_say():
    assert lint_file(TEMPLATE) == []


def test_cfn_lint_would_say_what_is_wrong(tmp_path):
    wrong = tmp_path / "template.yaml"
    wrong.write_text(TEMPLATE.read_text().replace("MemorySize: 512", "MemorySize: much"))

    assert any("much" in found.message for found in lint_file(wrong))


def test_it_deploys_the_three_functions_and_the_migrations():
    handlers = {handler.rpartition(".")[2] for handler in FUNCTIONS.values()}

    assert handlers == {"create_user", "read_user", "list_users", "handle"}


def test_it_migrates_to_the_newest_revision_before_the_functions_change():
    migrated = CONTENT["Resources"]["Migrated"]["Properties"]
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))

    assert migrated["to"] == ScriptDirectory.from_config(config).get_current_head()
    assert migrated["ServiceToken"] == {"Fn::GetAtt": ["Migrate", "Arn"]}
    waiting = {
        name
        for name, resource in CONTENT["Resources"].items()
        if resource.get("DependsOn") == "Migrated"
    }
    assert waiting == FUNCTIONS.keys() - {"Migrate"}


def test_its_variables_are_settings():
    variables = CONTENT["Globals"]["Function"]["Environment"]["Variables"]
    ours = {
        name: value
        for name, value in variables.items()
        if name.startswith("DAL_") and name != "DAL_TLS_CA"  # a file of the function
    }
    settings = Settings.from_env({"DATABASE_URL": "mysql://app@db.example/shop", **ours})
    assert (settings.report, settings.slow_statement) == ("emf", 0.5)


OUR_METRICS = {name for name, _ in emf.METRICS}


def metrics_of(widget):
    """The rows of a widget, each with "." replaced by what stands above it."""
    above = []
    for row in widget["properties"].get("metrics", []):
        above = [above[n] if cell == "." else cell for n, cell in enumerate(row)]
        yield above


def test_its_dashboard_shows_metrics_that_there_are():
    text = CONTENT["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    dashboard = json.loads(re.sub(r"\$\{[^}]+}", "1", text))
    shown = [tuple(row[:3]) for widget in dashboard["widgets"] for row in metrics_of(widget)]
    assert ("AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier") in shown
    ours = {name for namespace, name, _ in shown if namespace == emf.NAMESPACE}
    assert {"connect_ms", "commits", "failed", "unknown_commits"} <= ours <= OUR_METRICS
    assert {key for namespace, _, key in shown if namespace == emf.NAMESPACE} == {emf.DIMENSION}


def test_its_alarms_watch_the_connections_and_the_commits():
    watched = {
        (alarm["Properties"]["Namespace"], alarm["Properties"]["MetricName"])
        for alarm in CONTENT["Resources"].values()
        if alarm["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert watched == {("AWS/RDS", "DatabaseConnections"), (emf.NAMESPACE, "unknown_commits")}
    assert "unknown_commits" in OUR_METRICS


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    """A bundle of certificates in place of the one that is downloaded."""
    bundle = tmp_path_factory.mktemp("authorities") / "global-bundle.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    return bundle


@pytest.fixture
def build(tmp_path, authorities):
    """Build a function as `sam build` does, for this interpreter; return where it lies.

    `packages` are copied from here in place of pip, which would ask a registry.
    """

    def make(function, *, packages=(), version=None):
        service, artifacts, python = (tmp_path / name for name in ("service", "task", "python"))
        shutil.copytree(SERVICE, service)
        shutil.copy(authorities, service)
        copies = "".join(
            f"cp -r {Path(importlib.util.find_spec(name).origin).parent} {artifacts}\n"
            for name in packages
        )
        copies += f"find {artifacts} -name __pycache__ -prune -exec rm -r {{}} +\n"
        python.write_text(
            f'#!/bin/sh\nif [ "$2" = pip ]; then\n:\n{copies}exit 0; fi\n'
            f'exec {sys.executable} "$@"\n'
        )
        python.chmod(0o755)
        version = version or "{}.{}".format(*sys.version_info)
        done = subprocess.run(  # noqa: PLW1510  # it is to fail in one test
            ["make", f"build-{function}", f"VERSION={version}", f"PYTHON={python}"],
            cwd=service,
            env={"PATH": os.environ["PATH"], "ARTIFACTS_DIR": str(artifacts)},
            capture_output=True,
            text=True,
        )
        return artifacts, done

    return make


ENVIRONMENT = {"DB_HOST": "db.example.com", "DB_USER": "app", "DB_NAME": "app"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_build_holds_the_handler_and_the_authorities(build, function):
    artifacts, done = build(function)
    assert done.returncode == 0, done.stderr

    module, _, handler = FUNCTIONS[function].rpartition(".")
    authorities = CONTENT["Globals"]["Function"]["Environment"]["Variables"]["DAL_TLS_CA"]
    imported = subprocess.run(
        [sys.executable, "-c", f"import {module} as m; print(m.__file__, m.{handler}.__name__)"],
        cwd=artifacts,
        env={
            **ENVIRONMENT,
            "DAL_TLS_CA": authorities.replace("/var/task", str(artifacts)),
            "PYTHONPATH": str(ROOT),  # for dal itself
        },
        check=True,
        capture_output=True,
        text=True,
    )

    # Bytecode says where it lies in Lambda.
    shipped = artifacts / f"examples/users/{module.rpartition('.')[2]}.py"
    assert imported.stdout.split() == [str(shipped), handler]
    has_migrations = (artifacts / "examples/users/migrations/env.py").exists()
    assert has_migrations is (function == "Migrate")


WHAT_IS_NOT_COMPILED = """
import sys
sys.path.insert(0, {task!r})
import examples.users.handlers as handlers
from pathlib import Path
from dal.doctor.packages import uncompiled
task = [m for m in sys.modules.values() if str(getattr(m, "__file__", "")).startswith({task!r})]
cached = [Path(getattr(m, "__cached__", None) or "/") for m in task]
print(len(task), [str(file) for file in cached if not file.exists()])
print(uncompiled({{"AWS_LAMBDA_FUNCTION_NAME": "users"}}))
"""


def test_the_build_holds_bytecode_that_python_does_not_check(build):
    artifacts, done = build("CreateUser", packages=["dal", "sqlalchemy", "pymysql"])
    assert done.returncode == 0, done.stderr

    loaded = subprocess.run(
        [sys.executable, "-B", "-c", WHAT_IS_NOT_COMPILED.format(task=str(artifacts))],
        cwd="/",
        env={**ENVIRONMENT, "DAL_TLS_CA": str(artifacts / "global-bundle.pem")},
        check=True,
        capture_output=True,
        text=True,
    )
    first, ours = loaded.stdout.splitlines()
    assert (first.partition(" ")[2], ours) == ("[]", "[]")
    assert int(first.partition(" ")[0]) > 200

    compiled = list(artifacts.rglob("*.pyc"))
    # PEP 552: bit 0, by a hash of the source; bit 1, checked against it.
    assert {file.read_bytes()[4] for file in compiled} == {0b01}
    code = marshal.loads(
        (artifacts / "dal/__pycache__")
        .joinpath(f"database.{sys.implementation.cache_tag}.pyc")
        .read_bytes()[16:]
    )
    assert code.co_filename == "/var/task/dal/database.py"
    assert not (artifacts / "sqlalchemy/testing").exists()


def test_the_build_stops_where_no_interpreter_of_the_functions_version_is(build):
    _, done = build("CreateUser", version="3.99")
    assert done.returncode != 0
    assert "no " in done.stderr
    assert "sam build --use-container" in done.stderr


def test_a_function_without_bytecode_is_told_by_the_doctor(tmp_path, monkeypatch):
    module = types.ModuleType("dal")
    module.__cached__ = str(tmp_path / "missing.pyc")
    in_lambda = {"AWS_LAMBDA_FUNCTION_NAME": "users"}
    assert uncompiled(in_lambda, {"dal": module}) == ["dal"]
    Path(module.__cached__).touch()
    assert uncompiled(in_lambda, {"dal": module}) == []
    assert uncompiled({}, {"dal": module}) is None
