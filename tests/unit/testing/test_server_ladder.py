"""Which rung of the ladder is taken, and what it says where none can be had. No server runs."""

import socket
import subprocess
import sys
import time

import pytest
from sqlalchemy import make_url

from dal.testing import _container, _private
from dal.testing.server import NoServer, Server, start_server


@pytest.fixture(autouse=True)
def a_bare_machine(monkeypatch, tmp_path):
    """No variable set, no engine, no server program."""
    for name in ("URL", "RUNG", "IMAGE"):
        monkeypatch.delenv(f"DAL_TEST_{name}", raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.setattr(_private, "_SBIN", ())
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


def refusal(**asked):
    with pytest.raises(NoServer) as caught:
        start_server(**asked)
    return str(caught.value)


def program(directory, name, script):
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


class TestABareMachine:
    def test_is_told_why_each_rung_cannot_be_had_and_what_to_install(self):
        message = refusal()
        assert "url: DAL_TEST_URL is not set" in message
        assert "container: no Docker engine answers" in message
        assert "mysqld: mysqld is not installed" in message
        assert "mariadbd: mariadbd is not installed" in message
        assert "docker pull mysql:9.7" in message
        assert "apt-get install mariadb-server" in message

    def test_names_only_the_rung_that_was_asked_for(self, monkeypatch):
        monkeypatch.setenv("DAL_TEST_RUNG", "mysqld")
        message = refusal()
        assert "DAL_TEST_RUNG=mysqld" in message
        assert "mariadbd:" not in message

    def test_hears_of_a_rung_that_does_not_exist(self, monkeypatch):
        monkeypatch.setenv("DAL_TEST_RUNG", "docker")
        with pytest.raises(ValueError, match=r"'docker'.*url, container, mysqld, mariadbd"):
            start_server()

    def test_refuses_files_that_would_leave_their_directory(self):
        with pytest.raises(ValueError, match=r"\.\./key\.pem"):
            start_server(files={"../key.pem": b""})


class TestTheUrlRung:
    @pytest.fixture(autouse=True)
    def only_this_rung(self, monkeypatch):
        monkeypatch.setenv("DAL_TEST_RUNG", "url")

    @pytest.mark.parametrize(
        "text",
        [
            "secret",
            "postgresql://root:secret@db/",
            "mysql://root:secret@/x",
            "mysql://root:secret@db/?ssl_ca=x",
        ],
    )
    def test_refuses_a_url_it_cannot_use_and_keeps_its_password(self, monkeypatch, text):
        monkeypatch.setenv("DAL_TEST_URL", text)
        message = refusal()
        assert message.startswith("DAL_TEST_URL")
        assert "secret" not in message

    def test_takes_no_options(self, monkeypatch):
        monkeypatch.setenv("DAL_TEST_URL", "mysql://root@127.0.0.1:1/")
        assert "runs already" in refusal(options=["--max-connections=5"])
        assert "runs already" in refusal(files={"ca.pem": b""})

    def test_does_not_climb_on_past_a_server_that_was_named(self, monkeypatch):
        monkeypatch.delenv("DAL_TEST_RUNG")
        monkeypatch.setenv("DAL_TEST_URL", "mysql://root:secret@127.0.0.1:1/")
        message = refusal()
        assert "DAL_TEST_URL names a server that does not let us in" in message
        assert "secret" not in message


class TestTheContainerRung:
    @pytest.fixture(autouse=True)
    def only_this_rung(self, monkeypatch):
        monkeypatch.setenv("DAL_TEST_RUNG", "container")

    def test_does_not_wait_for_an_engine_that_never_answers(self, monkeypatch):
        monkeypatch.setattr(_container, "_ENGINE_LIMIT", 1)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
            started = time.monotonic()
            assert "no Docker engine answers" in refusal()
        assert time.monotonic() - started < 30  # Docker's client alone would wait for 60

    def test_says_so_where_testcontainers_is_not_installed(self):
        code = (
            "import sys; sys.modules['testcontainers'] = None\n"
            "from dal.testing.server import start_server\n"
            "start_server()"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )
        assert "testcontainers cannot be used" in run.stderr


class TestThePrivateRungs:
    def test_mysqld_that_is_mariadb_by_another_name_is_not_mysql(self, monkeypatch, a_bare_machine):
        monkeypatch.setenv("DAL_TEST_RUNG", "mysqld")
        mysqld = program(a_bare_machine, "mysqld", "echo 'mysqld Ver 10.11.19-MariaDB'")
        assert f"{mysqld} is MariaDB, not MySQL" in refusal()

    def test_mariadbd_is_left_alone_where_it_will_not_do(self, monkeypatch, a_bare_machine):
        started = a_bare_machine / "started"
        program(a_bare_machine, "mariadbd", f": > {started}; echo 'mariadbd Ver 10.11.19-MariaDB'")
        assert "mariadbd: MariaDB will not do here" in refusal(accept_mariadb=False)
        assert not started.exists()

    def test_mariadbd_without_its_installer_is_named(self, monkeypatch, a_bare_machine):
        monkeypatch.setenv("DAL_TEST_RUNG", "mariadbd")
        program(a_bare_machine, "mariadbd", "echo 'mariadbd Ver 10.11.19-MariaDB'")
        assert "mariadb-install-db" in refusal()

    def test_a_program_that_cannot_run_counts_as_none(self, monkeypatch, a_bare_machine):
        program(a_bare_machine, "mysqld", "exit 127")
        assert "mysqld: mysqld is not installed" in refusal()


def a_server(**changed):
    facts = {
        "rung": "url",
        "reason": "because.",
        "host": "127.0.0.1",
        "port": 3307,
        "user": "root",
        "password": "p@ss:w/rd%",
        "version": "9.7.4",
        "is_mariadb": False,
        "has_tls": True,
        "_stop": lambda: None,
    }
    return Server(**(facts | changed))


class TestAServer:
    def test_gives_urls_that_read_back_as_they_were_meant(self):
        administrator = make_url(a_server().url("shop"))
        assert administrator.drivername == "mysql+pymysql"
        assert administrator.password == "p@ss:w/rd%"
        assert (administrator.host, administrator.port) == ("127.0.0.1", 3307)
        assert administrator.database == "shop"
        other = make_url(a_server(host="::1").url(user="a:b", password="@"))
        assert (other.username, other.password, other.host) == ("a:b", "@", "::1")
        assert other.database is None

    def test_never_lends_another_account_the_administrators_password(self):
        assert make_url(a_server().url(user="guest")).password is None

    def test_says_of_tls_only_what_the_defaults_would_get_wrong(self):
        assert a_server().environment("shop").keys() == {"DATABASE_URL"}
        assert a_server(has_tls=False).environment("shop")["DAL_TLS"] == "disabled"
        beside = a_server(rung="container", host="172.17.0.2")
        assert beside.environment("shop")["DAL_TLS"] == "unverified"

    def test_shows_no_password(self):
        assert "p@ss" not in repr(a_server())


def test_import_loads_neither_docker_nor_testcontainers():
    code = "import dal.testing.server, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "dal.testing.server" in run.stdout.split()
    assert not {"docker", "testcontainers", "requests"} & set(run.stdout.split())
