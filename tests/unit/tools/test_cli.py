"""The command `dal` without a database: its help, its mistakes, and functions that need none."""

import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from dal.cli.app import dal

ROOT = Path(__file__).parents[3]
FUNCTIONS = Path(__file__).parents[1] / "functions"
DAL = [sys.executable, "-c", "from dal.cli import main; main()"]

#: Nobody listens there.
NOWHERE = "mysql://app:sesame@127.0.0.1:1/shop"


@pytest.fixture(autouse=True)
def _a_bare_environment(monkeypatch):
    for name in [*os.environ]:
        if name.startswith(("DB_", "DAL_", "DATABASE_URL")) or name == "NO_COLOR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("DAL_CONNECT_TIMEOUT", "0.05")
    monkeypatch.chdir(FUNCTIONS)


def run(*arguments, stdin=None, **environment):
    """Run the command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(dal, arguments, input=stdin, env=environment, prog_name="dal")


def process(*arguments, **options):
    """Run the command as a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("env", {})
    return subprocess.run(
        [*DAL, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
        **options,
    )


class TestTheCommand:
    def test_is_installed_with_the_package(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert project["scripts"] == {"dal": "dal.cli:main"}

    def test_tells_its_version(self):
        assert re.fullmatch(r"dal \d+\.\d+\.\d+\n", run("--version").stdout)

    def test_without_arguments_helps(self):
        done = process()
        assert done.returncode == 2
        assert "doctor" in done.stderr
        assert "invoke" in done.stderr

    @pytest.mark.parametrize("package", ["click", "rich"])
    def test_without_its_extra_says_how_to_install_it(self, package):
        without = f"import sys; sys.modules['{package}'] = None; from dal.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", without, "doctor"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 2
        told = f"dal: {package} is not installed; pip install 'lambda-dal[cli]'\n"
        assert done.stderr == told

    @pytest.mark.parametrize(
        "command", ["doctor", "invoke", "completion", "migrate init", "migrate plan"]
    )
    def test_teaches_by_examples_and_exit_codes(self, command):
        told = run(*command.split(), "--help").stdout
        assert "Examples:" in told
        assert "Exit codes:" in told
        assert all(len(line) <= 100 for line in told.splitlines())

    @pytest.mark.parametrize("command", ["doctor", "invoke"])
    def test_explains_every_option(self, command):
        for option in dal.commands[command].params:
            if option.param_type_name == "option":
                assert option.help, option.name

    def test_refuses_what_it_does_not_know_in_a_sentence(self):
        done = run("docter")
        assert done.exit_code == 2
        assert "No such command 'docter'" in done.stderr
        assert "Traceback" not in done.stderr


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_prints_the_shells_script(self, shell):
        done = run("completion", shell)
        assert done.exit_code == 0
        assert "_DAL_COMPLETE" in done.stdout

    def test_completes_commands_and_options(self):
        asked = {"_DAL_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
        assert process(env=asked | {"COMP_WORDS": "dal do"}).stdout == "plain,doctor\n"
        asked["COMP_CWORD"] = "2"
        assert (
            "plain,--concurrency\n" in process(env=asked | {"COMP_WORDS": "dal doctor --"}).stdout
        )


class TestDoctor:
    def test_without_an_address_says_which_variables_to_set(self):
        done = run("doctor")
        assert done.exit_code == 2
        assert done.stderr.startswith("Error: ")
        assert "DATABASE_URL" in done.stderr
        assert not done.stdout

    def test_with_a_wrong_url_says_what_one_looks_like(self):
        done = run("doctor", "--url", "postgres://app:sesame@db/shop")
        assert done.exit_code == 2
        assert "--url" in done.stderr
        assert "mysql://USER:PASSWORD@HOST" in done.stderr
        assert "sesame" not in done.output

    def test_without_a_server_says_why_and_what_to_do(self):
        done = run("doctor", DATABASE_URL=NOWHERE)
        assert done.exit_code == 2
        assert "No connection to 127.0.0.1:1/shop" in done.stdout
        assert "security group" in done.stdout
        assert "sesame" not in done.output
        assert "Traceback" not in done.output

    def test_without_a_server_is_json_as_well(self):
        done = run("doctor", "--json", DATABASE_URL=NOWHERE)
        assert done.exit_code == 2
        said = json.loads(done.stdout)
        assert said["server"] is None
        assert [one["check"] for one in said["findings"]] == ["connection"]

    def test_takes_its_url_before_the_environments(self):
        done = run("doctor", "--url", NOWHERE, DB_HOST="db.example.com", DB_USER="x", DB_NAME="y")
        assert "No connection to 127.0.0.1:1/shop" in done.stdout

    @pytest.mark.parametrize(
        "option",
        [("--concurrency", "-1"), ("--processes", "0"), ("--long", "soon"), ("--accept", "all")],
    )
    def test_refuses_values_that_cannot_be(self, option):
        done = run("doctor", *option, DATABASE_URL=NOWHERE)
        assert done.exit_code == 2
        assert option[0] in done.stderr


class TestPins:
    LINES = (
        "SELECT 1",
        "SET SESSION innodb_lock_wait_timeout=5",
        "SET SESSION innodb_lock_wait_timeout=4",
        "SELECT GET_LOCK('ann@example.com', 3)",
    )

    @pytest.fixture
    def recorded(self, tmp_path):
        path = tmp_path / "run.jsonl"
        path.write_text("".join(json.dumps({"statement": line}) + "\n" for line in self.LINES))
        return str(path)

    def test_are_listed_once_with_their_reasons_and_without_values(self, recorded):
        done = run("doctor", "--pins", recorded)
        assert done.exit_code == 1
        assert done.stdout.count("SET SESSION innodb_lock_wait_timeout=...") == 1
        assert "does not track" in done.stdout
        assert "ann@example.com" not in done.stdout
        assert done.stdout.endswith("2 kinds of statement would pin, of 4 statements\n")

    def test_are_json_for_programs(self, recorded):
        said = json.loads(run("doctor", "--pins", recorded, "--json").stdout)
        assert said["statements"] == 4
        assert len(said["pins"]) == 2

    def test_are_none_in_a_run_without(self, tmp_path):
        (tmp_path / "run.jsonl").write_text('"SELECT 1"\n')
        done = run("doctor", "--pins", str(tmp_path / "run.jsonl"))
        assert (done.exit_code, done.stdout) == (0, "nothing would pin, of 1 statements\n")

    def test_of_a_file_that_is_no_recording_are_a_mistake(self, tmp_path):
        (tmp_path / "run.jsonl").write_text('{"sql": "SELECT 1"}\n')
        done = run("doctor", "--pins", str(tmp_path / "run.jsonl"))
        assert done.exit_code == 2
        assert "line 1" in done.stderr


class TestInvoke:
    def test_prints_the_answer_alone_on_stdout(self):
        done = run("invoke", "plain:count", "--event", '{"who": "Ann Müller"}')
        assert done.exit_code == 0
        (line,) = done.stdout.splitlines()
        assert "Ann Müller" in line
        assert json.loads(line)["event"] == {"who": "Ann Müller"}

    def test_tells_how_long_it_took_on_stderr(self):
        done = run("invoke", "plain.count")
        assert re.search(r"^cold: init \d+ ms, then \d+ ms$", done.stderr, re.MULTILINE)

    def test_is_warm_after_the_first_time(self):
        done = run("invoke", "plain.count", "--repeat", "3")
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert [answer["calls"] for answer in answers] == [1, 2, 3]
        assert len({answer["pid"] for answer in answers}) == 1
        assert done.stderr.count("cold: ") == 1
        assert done.stderr.count("warm: ") == 2

    def test_takes_the_event_from_a_file_or_from_stdin(self, tmp_path):
        (tmp_path / "event.json").write_text('{"from": "file"}')
        done = run("invoke", "plain.count", str(tmp_path / "event.json"))
        assert json.loads(done.stdout)["event"] == {"from": "file"}
        done = run("invoke", "plain.count", "-", stdin='{"from": "stdin"}')
        assert json.loads(done.stdout)["event"] == {"from": "stdin"}

    @pytest.mark.parametrize("event", ["[" * 50_000, "[" * 50_000 + "]" * 50_000])
    def test_names_an_event_that_is_nested_too_deeply(self, event):
        done = run("invoke", "plain.count", "-", stdin=event)
        assert done.exit_code == 2
        assert "nested too deeply" in done.stderr
        assert "Traceback" not in done.stderr

    def test_gives_an_empty_event_where_none_is_named(self):
        assert json.loads(run("invoke", "plain.count").stdout)["event"] == {}

    def test_hands_on_the_environment_but_what_the_platform_sets(self):
        done = run(
            "invoke",
            "plain.describe",
            "--memory",
            "512",
            "--timeout",
            "9",
            TZ="Asia/Tokyo",
            AWS_LAMBDA_FUNCTION_NAME="other",
            SHOP="open",
            DATABASE_URL=NOWHERE,
        )
        said = json.loads(done.stdout)
        assert said["memory"] == "512"
        assert said["name"] == "plain"
        assert 5000 < said["left"] <= 9000
        seen = said["environment"]
        assert (seen["SHOP"], seen["DATABASE_URL"]) == ("open", NOWHERE)
        assert seen["TZ"] == ":UTC"
        assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "plain"

    def test_of_a_function_that_raises_exits_with_one(self):
        done = run("invoke", "plain.raise_error", "--repeat", "3")
        assert done.exit_code == 1
        assert not done.stdout
        assert "\nLookupError: no such thing\n" in done.stderr
        assert done.stderr.count("cold: ") == 1
        assert "warm: " not in done.stderr
        assert "\r" not in done.stderr

    @pytest.mark.parametrize(
        ("handler", "said"),
        [
            ("nowhere.handler", "Runtime.ImportModuleError: Unable to import module 'nowhere'"),
            ("plain.nothing", "Runtime.HandlerNotFound: Handler 'nothing' missing"),
        ],
    )
    def test_of_a_handler_that_is_not_there_says_so(self, handler, said):
        done = run("invoke", handler)
        assert done.exit_code == 1
        assert said in done.stderr

    def test_kills_at_the_timeout_and_exits_as_timeout_does(self):
        done = run("invoke", "plain.sleep", "--event", "30", "--timeout", "0.3")
        assert done.exit_code == 124
        assert "Sandbox.Timedout: Task timed out after 0.30 seconds" in done.stderr

    @pytest.mark.parametrize("handler", ["plain", "plain:", ":count", "plain.count()"])
    def test_refuses_a_handler_that_is_none(self, handler):
        done = run("invoke", handler)
        assert done.exit_code == 2
        assert "write MODULE:FUNCTION" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--event", "{bad"], "--event is not JSON"),
            (["nosuchfile.json"], "No such file"),
            (["plain.py"], "the event file is not JSON"),
            (["plain.py", "--event", "{}"], "not both"),
            (["--repeat", "0"], "--repeat"),
            (["--timeout", "0"], "--timeout"),
            (["--record", "run.jsonl"], "DATABASE_URL"),
        ],
    )
    def test_refuses_wrong_options_in_a_sentence(self, arguments, said):
        done = run("invoke", "plain.count", *arguments)
        assert done.exit_code == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr

    def test_records_nothing_that_would_go_in_the_clear_to_another_machine(self, tmp_path):
        elsewhere = "mysql://app:sesame@db.example.com/shop"
        done = run("invoke", "plain.count", "--record", str(tmp_path / "x"), DATABASE_URL=elsewhere)
        assert done.exit_code == 2
        assert "db.example.com is not this machine" in done.stderr

    def test_records_into_a_file_that_can_be_written(self, tmp_path):
        nowhere = str(tmp_path / "no" / "run.jsonl")
        done = run("invoke", "plain.count", "--record", nowhere, DATABASE_URL=NOWHERE)
        assert done.exit_code == 2
        assert "No such file or directory" in done.stderr

    def test_records_what_goes_to_a_server_that_is_there(self, tmp_path):
        done = run("invoke", "plain.count", "--record", str(tmp_path / "x"), DATABASE_URL=NOWHERE)
        assert done.exit_code == 2
        assert "Connection refused" in done.stderr

    def test_without_its_extra_says_how_to_install_it(self, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        done = run("invoke", "plain.count")
        assert done.exit_code == 2
        assert "pip install 'lambda-dal[cli,testing]'" in done.stderr


class TestColours:
    def on_a_terminal(self, **environment):
        controller, terminal = pty.openpty()
        try:
            done = subprocess.run(
                [*DAL, "doctor"],
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=subprocess.PIPE,
                timeout=60,
                check=False,
                env=os.environ
                | {"PYTHONPATH": str(ROOT), "DATABASE_URL": NOWHERE, "TERM": "xterm-256color"}
                | environment,
            )
            return done.returncode, os.read(controller, 65536).decode()
        finally:
            os.close(controller)
            os.close(terminal)

    def test_are_for_terminals(self):
        code, shown = self.on_a_terminal()
        assert code == 2
        assert "\x1b[1;31mFAIL" in shown

    def test_are_off_with_no_color(self):
        _, shown = self.on_a_terminal(NO_COLOR="1")
        assert "FAIL" in shown
        assert not re.search(r"\x1b\[[\d;]*3\dm", shown)

    def test_are_off_where_the_output_is_no_terminal(self):
        assert "\x1b" not in run("doctor", DATABASE_URL=NOWHERE, TERM="xterm-256color").output


class TestThePage:
    PAGE = (ROOT / "docs/cli.md").read_text()

    @pytest.mark.parametrize("command", ["doctor", "invoke"])
    def test_has_every_option_with_its_default(self, command):
        section = self.PAGE.partition(f"## dal {command}\n")[2].partition("\n## ")[0]
        rows = {
            cells[1].split()[0].strip("`"): cells[2].strip(" `")
            for cells in (line.split("|") for line in section.splitlines())
            if len(cells) == 5
        }
        for parameter in dal.commands[command].params:
            if parameter.param_type_name == "option":
                said = rows[parameter.opts[0]]
                if isinstance(parameter.default, int | float) and not parameter.is_flag:
                    assert float(said) == parameter.default
