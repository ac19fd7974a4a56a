"""The demo: what its figures are, and that nothing of it stays."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest

ROOT = Path(__file__).parents[3]
DEMO = [sys.executable, "-m", "examples.users.demo"]


@pytest.fixture
def variables(tmp_path):
    # Every process of the demo inherits TMPDIR, which tells it from all others.
    return {**os.environ, "TMPDIR": str(tmp_path)}


@pytest.fixture
def on_this_server(server, variables):
    """Variables by which the demo runs on the session's server, which is quicker than a new one."""
    variables.pop("DAL_TEST_RUNG", None)
    return {**variables, "DAL_TEST_URL": server.url()}


def run(variables, *arguments, command=DEMO):
    return subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def processes(directory):
    """The command lines of all processes whose TMPDIR this is, by process id."""
    mark = f"TMPDIR={directory}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found[process.name] = (process / "cmdline").read_text().split("\0")
        except OSError:  # it has ended, or is not ours
            continue
    return found


def databases(server):
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE 'dal\\_demo\\_%'")
        return cursor.fetchall()


def test_it_shows_the_stale_reads_and_what_freshness_costs(server, on_this_server, tmp_path):
    demo = run(on_this_server, "--json")

    assert demo.returncode == 0, demo.stderr
    shown = json.loads(demo.stdout)
    naive, careful, dal = (shown["ways"][way] for way in ("naive", "careful", "dal"))
    assert shown["problem"] is None
    assert shown["server"]["rung"] == "url"
    assert naive["stale_reads"] == shown["rounds"] == 20
    assert careful["stale_reads"] == dal["stale_reads"] == 0
    assert naive["connections_left"] == 2
    assert careful["connections_left"] == dal["connections_left"] == 0
    assert (dal["create_round_trips"], dal["read_round_trips"]) == (4, 3)
    assert careful["create_round_trips"] > 4
    assert naive["answer_read"] is None
    assert dal["answer_read"]["id"] == dal["user_stored"]
    assert min(way[ms] for way in (naive, careful, dal) for ms in ("create_ms", "read_ms")) > 0
    assert databases(server) == ()
    assert processes(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_its_table_has_no_colours_where_nobody_sees_them(on_this_server):
    demo = run(on_this_server)

    assert demo.returncode == 0, demo.stderr
    assert "20 of 20" in demo.stdout
    assert "\x1b" not in demo.stdout


@pytest.mark.parametrize(
    ("swap", "problem"),
    [
        ("MODULES['dal'] = MODULES['naive']", "dal read stale data"),
        ("MODULES['naive'] = MODULES['careful']", "this run proves nothing"),
    ],
)
def test_it_fails_where_it_does_not_show_what_it_is_for(on_this_server, swap, problem):
    code = f"import sys; from examples.users.demo import *; {swap}; sys.exit(main())"

    demo = run(on_this_server, command=[sys.executable, "-c", code])

    assert demo.returncode == 1
    assert problem in demo.stdout


def test_without_a_server_it_says_what_to_install(variables):
    variables.pop("DAL_TEST_URL", None)

    demo = run(variables | {"DAL_TEST_RUNG": "url"})

    assert demo.returncode == 1
    assert "DAL_TEST_URL" in demo.stderr
    assert "Traceback" not in demo.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(variables, tmp_path, number):
    # As in a terminal, even where these tests run in a shell's background, which ignores SIGINT.
    command = ["env", "--default-signal=INT", *DEMO]
    with subprocess.Popen(
        command, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True
    ) as demo:
        for line in demo.stderr:
            if "rounds: the old way" in line:
                break
        time.sleep(1)  # by now the functions run
        while_it_ran = processes(tmp_path)
        demo.send_signal(number)
        demo.communicate(timeout=30)

    assert demo.returncode == 130
    assert any("awslambdaric" in command for command in while_it_ran.values())
    assert processes(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
    assert containers_of(while_it_ran) == set()


def containers_of(commands):
    """The containers that are left of those that the processes' command lines name."""
    names = {word for command in commands.values() for word in command if word.startswith("dal-")}
    if not names:  # the server was none of Docker's
        return names
    client = docker.from_env()
    try:
        return names & {container.name for container in client.containers.list(all=True)}
    finally:
        client.close()
