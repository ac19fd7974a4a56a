"""The example's SAM template, and what `sam build` makes of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from cfnlint.api import lint_file
from cfnlint.decode.cfn_yaml import load

from dal.aws import emf
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


def test_it_deploys_the_three_functions():
    handlers = {handler.rpartition(".")[2] for handler in FUNCTIONS.values()}

    assert handlers == {"create_user", "read_user", "list_users"}


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


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_build_holds_the_handler_and_the_authorities(tmp_path, function):
    service, artifacts, tools = (tmp_path / name for name in ("service", "artifacts", "tools"))
    shutil.copytree(SERVICE, service)
    trustme.CA().cert_pem.write_to_path(str(service / "global-bundle.pem"))  # else downloaded
    tools.mkdir()
    (tools / "python3").symlink_to("/bin/true")  # pip, which would ask a registry
    subprocess.run(
        ["make", f"build-{function}", f"ARTIFACTS_DIR={artifacts}"],
        cwd=service,
        env={"PATH": f"{tools}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,
    )

    module, _, handler = FUNCTIONS[function].rpartition(".")
    authorities = CONTENT["Globals"]["Function"]["Environment"]["Variables"]["DAL_TLS_CA"]
    imported = subprocess.run(
        [sys.executable, "-c", f"import {module} as m; print(m.__file__, m.{handler}.__name__)"],
        cwd=artifacts,
        env={
            "DB_HOST": "db.example.com",
            "DB_USER": "app",
            "DB_NAME": "app",
            "DAL_TLS_CA": authorities.replace("/var/task", str(artifacts)),
            "PYTHONPATH": str(ROOT),  # for dal itself
        },
        check=True,
        capture_output=True,
        text=True,
    )

    shipped = artifacts / "examples" / "users" / "handlers.py"
    assert imported.stdout.split() == [str(shipped), handler]
