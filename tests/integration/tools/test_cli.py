"""The command `dal` as a user runs it: processes, a server, the exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dal.cli import app
from dal.doctor.pins import read_recording

ROOT = Path(__file__).parents[3]
DAL = [sys.executable, "-c", "from dal.cli import main; main()"]


FUNCTIONS = Path(__file__).parents[1] / "functions"


@pytest.fixture
def variables(environment, admin, monkeypatch):
    """The address of a database with a table, in an environment without another."""
    with admin.cursor() as cursor:
        cursor.execute("CREATE TABLE sales (id INT PRIMARY KEY AUTO_INCREMENT, what VARCHAR(20))")
    for name in [*os.environ]:
        if name.startswith(("DB_", "DAL_", "DATABASE_URL")):
            monkeypatch.delenv(name)
    return environment


@pytest.fixture
def dal(variables, monkeypatch):
    """Run the command in this process; a function runs in one of its own all the same."""
    monkeypatch.chdir(FUNCTIONS)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(*arguments, stdin=None, **others):
        return CliRunner().invoke(
            app.dal, arguments, input=stdin, env=variables | others, prog_name="dal"
        )

    return run


@pytest.fixture
def process(variables):
    """Run the command as a user does."""

    def run(*arguments, stdin=None):
        return subprocess.run(
            [*DAL, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=FUNCTIONS,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        )

    return run


@pytest.fixture
def sales(admin):
    def read():
        with admin.cursor() as cursor:
            cursor.execute("SELECT what FROM sales ORDER BY id")
            return [row[0] for row in cursor.fetchall()]

    return read


class TestDoctor:
    def test_shows_every_topic_what_it_found_and_what_to_do(self, process, server, database):
        done = process("doctor")
        assert done.stderr == ""
        first, *lines = done.stdout.splitlines()
        assert f" at {server.host}:{server.port}/{database}, as root@" in first
        for topic in ("Server", "Durability", "Sessions", "Connections", "Security", "Right now"):
            assert topic in lines
        # The tests' server does not wait for the disk.
        assert re.search(
            r"^FAIL  redo log +innodb_flush_log_at_trx_commit = 0", done.stdout, re.MULTILINE
        )
        assert re.search(r"^ +→ SET (PERSIST|GLOBAL) innodb_flush", done.stdout, re.MULTILINE)
        assert re.fullmatch(r"\d+ OK, \d+ WARN, 1 FAIL, \d+ SKIP", lines[-1])
        assert all(len(line) <= 100 and line == line.rstrip() for line in lines)
        assert done.returncode == 1

    def test_says_the_same_as_json(self, dal, server):
        done = dal("doctor", "--json", "--concurrency", "1000000")
        said = json.loads(done.stdout)
        verdicts = {one["check"]: one["verdict"] for one in said["findings"]}
        assert verdicts["redo log"] == verdicts["budget"] == "FAIL"
        assert verdicts["isolation"] == "OK"
        assert server.password not in done.stdout
        assert done.exit_code == 1

    def test_is_content_with_warnings_unless_it_is_strict_and_they_are_not_accepted(
        self, dal, admin
    ):
        with admin.cursor() as cursor:
            cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        try:
            assert dal("doctor").exit_code == 0
            assert dal("doctor", "--strict").exit_code == 1
            warned = [
                one["check"]
                for one in json.loads(dal("doctor", "--json").stdout)["findings"]
                if one["verdict"] == "WARN"
            ]
            accepted = [f"--accept={check}" for check in warned]
            assert dal("doctor", "--strict", *accepted).exit_code == 0
            assert dal("doctor", "--strict", *accepted[1:]).exit_code == 1
        finally:
            with admin.cursor() as cursor:
                cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0")

    def test_that_cannot_connect_says_why_and_exits_with_two(self, dal, server, database):
        done = dal("doctor", "--url", server.url(database, user="nobody", password="sesame"))
        assert done.exit_code == 2
        assert "FAIL  connection" in done.stdout
        assert "Access denied" in done.stdout
        assert "sesame" not in done.stdout + done.stderr

    def test_asks_for_a_password_that_the_url_lacks(self, dal, server, database, monkeypatch):
        monkeypatch.setattr("dal.cli.doctor.is_at_a_terminal", lambda: True)
        url = server.url(database, user=server.user)
        done = dal("doctor", "--url", url, stdin=f"{server.password}\n")
        assert done.exit_code == 1  # it is connected: the tests' server does not wait for the disk
        assert f"Password of {server.user}: \n" in done.stderr
        assert server.password not in done.output
        monkeypatch.setattr("dal.cli.doctor.is_at_a_terminal", lambda: False)
        assert dal("doctor", "--url", url).exit_code == 2

    def test_can_be_asked_in_a_function(self, dal):
        done = dal("invoke", "shop:look", "--event", '{"concurrency": 3}')
        said = json.loads(done.stdout)
        budget = next(one for one in said["findings"] if one["check"] == "budget")
        assert "13 wanted (3 functions at once x 1 + 10 in reserve)" in budget["found"]
        assert done.exit_code == 0


class TestInvoke:
    def test_stores_what_the_function_stores(self, process, sales):
        done = process("invoke", "shop:sell", "-", "--repeat", "2", stdin='{"what": "tea"}')
        assert done.returncode == 0
        assert done.stdout == '{"sold": "tea"}\n' * 2
        assert done.stderr.count("sold\n") == 2
        assert sales() == ["tea", "tea"]

    def test_stores_nothing_of_a_function_that_raises(self, dal, sales):
        done = dal("invoke", "shop:sell", "--event", "{}")
        assert done.exit_code == 1
        assert not done.stdout
        assert "KeyError: 'what'" in done.stderr
        assert sales() == []


class TestRecording:
    def test_holds_every_statement_and_counts_round_trips(self, dal, tmp_path, sales):
        path = tmp_path / "run.jsonl"
        tea = ["--event", '{"what": "tea"}']
        done = dal("invoke", "shop:sell", *tea, "--repeat", "2", "--record", str(path))
        assert done.exit_code == 0, done.stderr
        assert sales() == ["tea", "tea"]
        assert len(re.findall(r", 4 round trips$", done.stderr, re.MULTILINE)) == 2
        assert f"6 statements in {path}" in done.stderr
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["connection"] for line in lines] == [1, 1, 1, 2, 2, 2]
        assert [line.split()[0] for line in read_recording(path)] == ["SET", "INSERT", "COMMIT"] * 2
        assert path.stat().st_mode & 0o777 == 0o600  # it holds values

    def test_is_what_the_doctor_reads_for_pins(self, dal, tmp_path):
        path = str(tmp_path / "run.jsonl")
        dal("invoke", "shop:sell", "--event", '{"what": "tea"}', "--record", path)
        done = dal("doctor", "--pins", path, DATABASE_URL="")
        assert done.exit_code == 1
        assert "innodb_lock_wait_timeout, which the proxy does not track" in done.stdout
        assert "INSERT" not in done.stdout

    def test_goes_by_single_variables_too(self, dal, tmp_path, server, database, sales):
        address = {
            "DATABASE_URL": "",
            "DB_HOST": server.host,
            "DB_PORT": str(server.port),
            "DB_USER": server.user,
            "DB_PASSWORD": server.password,
            "DB_NAME": database,
        }
        path = tmp_path / "run.jsonl"
        event = ["--event", '{"what": "tea"}']
        done = dal("invoke", "shop:sell", *event, "--record", str(path), **address)
        assert done.exit_code == 0, done.stderr
        assert sales() == ["tea"]
        assert len(read_recording(path)) == 3
