"""Every rung of the server ladder as it really runs; one that this machine lacks is skipped."""

import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import pymysql
import pytest
import trustme

from dal.testing import _private
from dal.testing.server import NoServer, start_server

RUNGS = ["container", "mysqld", "mariadbd"]

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("localhost", "127.0.0.1")
FILES = {
    "ca.pem": AUTHORITY.cert_pem.bytes(),
    "cert.pem": CERTIFICATE.cert_chain_pems[0].bytes(),
    "key.pem": CERTIFICATE.private_key_pem.bytes(),
}
OPTIONS = [
    "--ssl-ca={files}/ca.pem",
    "--ssl-cert={files}/cert.pem",
    "--ssl-key={files}/key.pem",
    "--max-connections=17",
]


def start(rung, **asked):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAL_TEST_RUNG", rung)
        return start_server(**asked)


@pytest.fixture(scope="module", params=RUNGS)
def furnished(request):
    """A server of each rung that this machine has, with options and files of its own."""
    only = os.environ.get("DAL_TEST_RUNG")
    if only not in (None, request.param):
        pytest.skip(f"DAL_TEST_RUNG={only}")
    try:
        server = start(request.param, options=OPTIONS, files=FILES)
    except NoServer as reason:
        pytest.skip(str(reason).splitlines()[1].strip())
    with server:
        yield server


@pytest.fixture(scope="module")
def rung(furnished):
    return furnished.rung


@pytest.fixture
def ask(furnished):
    with furnished.connect() as connection, connection.cursor() as cursor:

        def run(sql):
            cursor.execute(sql)
            return cursor.fetchone()

        yield run


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where private servers put their directories, under a path too long for a Unix socket."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.setenv("TMPDIR", str(deep))
    return deep


def answers(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


class TestEveryRung:
    def test_says_what_it_is(self, furnished, rung, ask):
        assert furnished.rung == rung
        assert furnished.version == ask("SELECT VERSION()")[0]
        assert furnished.is_mariadb == (rung == "mariadbd") == ("MariaDB" in furnished.version)
        assert furnished.version in furnished.reason
        assert furnished.reason.endswith(f", as DAL_TEST_RUNG={rung} asks.")

    def test_gives_an_administrator(self, furnished, ask):
        ask("CREATE USER guest@'%' IDENTIFIED BY 'guest'")
        with furnished.connect(user="guest", password="guest") as guest:
            ask(f"KILL {guest.thread_id()}")
            with pytest.raises(pymysql.err.OperationalError):
                guest.ping(reconnect=False)
        ask("DROP USER guest@'%'")

    def test_behaves_like_mysql_8_where_it_matters(self, ask):
        modes = set(ask("SELECT @@GLOBAL.sql_mode")[0].split(","))
        assert modes == {
            "ONLY_FULL_GROUP_BY",
            "STRICT_TRANS_TABLES",
            "NO_ZERO_IN_DATE",
            "NO_ZERO_DATE",
            "ERROR_FOR_DIVISION_BY_ZERO",
            "NO_ENGINE_SUBSTITUTION",
        }
        assert ask("SELECT @@character_set_server")[0] == "utf8mb4"
        ask("CREATE DATABASE words")
        ask("CREATE TABLE words.t (word VARCHAR(9)) AS SELECT 'a' AS word")
        found = ask("SELECT word = 'Ä', word = 'a ' FROM words.t")
        ask("DROP DATABASE words")
        assert found == (1, 0)

    def test_takes_options_and_files(self, furnished, ask):
        assert ask("SELECT @@max_connections")[0] == 17
        context = ssl.create_default_context(cadata=FILES["ca.pem"].decode())
        with furnished.connect(ssl=context, host="127.0.0.1") as connection:
            assert connection.ping(reconnect=False) is None
        assert furnished.has_tls

    def test_is_reached_from_this_machine_only(self, furnished):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            own = probe.getsockname()[0]
        assert answers(furnished.host, furnished.port)
        assert not answers(own, furnished.port)

    def test_is_named_as_the_url_of_the_next(self, furnished, monkeypatch):
        monkeypatch.delenv("DAL_TEST_RUNG", raising=False)
        monkeypatch.setenv("DAL_TEST_URL", furnished.url())
        with start_server() as again:
            assert (again.rung, again.port) == ("url", furnished.port)
            assert again.version == furnished.version
        assert answers(furnished.host, furnished.port)

    def test_is_passed_by_where_a_wrong_option_keeps_it_from_starting(self, rung, scratch):
        with pytest.raises(NoServer, match=rf"{rung}: .*\[ERROR\].*nonsense"):
            start(rung, options=["--nonsense=1"])
        assert list(scratch.iterdir()) == []

    def test_is_gone_after_stop(self, rung, scratch):
        server = start(rung)
        assert answers(server.host, server.port)
        server.stop()
        assert not answers(server.host, server.port)
        assert list(scratch.iterdir()) == []
        server.stop()

    def test_needs_no_variable_and_is_gone_when_its_process_is_killed(self, rung, scratch):
        code = (
            "import time; from dal.testing.server import start_server\n"
            "server = start_server(); print(server.host, server.port, flush=True); time.sleep(60)"
        )
        ours = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TESTCONTAINERS_", "TC_", "DAL_"))
        }
        with subprocess.Popen(
            [sys.executable, "-c", code],
            env={**ours, "DAL_TEST_RUNG": rung},
            stdout=subprocess.PIPE,
            text=True,
        ) as asker:
            host, port = asker.stdout.readline().split()
            assert answers(host, int(port))
            asker.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while answers(host, int(port)) or list(scratch.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.05)


class TestDatabases:
    def test_are_empty_and_quoted(self, server):
        name = f"dal `{secrets.token_hex(4)}`"
        server.create_database(name)
        with server.connect(name) as connection, connection.cursor() as cursor:
            assert cursor.execute("SHOW TABLES") == 0
        with pytest.raises(pymysql.err.ProgrammingError, match="1007"):
            server.create_database(name)
        server.drop_database(name)
        with pytest.raises(pymysql.err.OperationalError, match="1049"):
            server.connect(name)

    def test_are_dropped_though_a_transaction_is_open_in_them(self, server):
        name = f"dal_{secrets.token_hex(6)}"
        server.create_database(name)
        with server.connect(name, autocommit=False) as left, left.cursor() as cursor:
            cursor.execute("CREATE TABLE t (id INT PRIMARY KEY)")
            cursor.execute("SELECT * FROM t")
            started = time.monotonic()
            server.drop_database(name)
            assert time.monotonic() - started < 5
            with pytest.raises(pymysql.err.OperationalError):
                left.ping(reconnect=False)


class TestTheLadder:
    def test_goes_down_to_the_first_rung_there_is(self, monkeypatch):
        monkeypatch.setenv("DAL_TEST_IMAGE", "mysql:no-such-tag")
        for name in ("DAL_TEST_URL", "DAL_TEST_RUNG"):
            monkeypatch.delenv(name, raising=False)
        started = time.monotonic()
        try:
            server = start_server()
        except NoServer as nothing:
            pytest.skip(str(nothing))
        with server:
            assert server.rung in ("mysqld", "mariadbd")
            assert "DAL_TEST_URL is not set" in server.reason
        assert time.monotonic() - started < 20

    def test_refuses_a_mariadb_where_mysql_is_needed(self, server, monkeypatch):
        if not server.is_mariadb:
            pytest.skip("the session's server is MySQL")
        monkeypatch.setenv("DAL_TEST_RUNG", "url")
        monkeypatch.setenv("DAL_TEST_URL", server.url())
        with pytest.raises(NoServer, match="it is MariaDB"):
            start_server(accept_mariadb=False)

    def test_does_not_climb_past_a_named_server_that_refuses_the_login(self, server, monkeypatch):
        monkeypatch.delenv("DAL_TEST_RUNG", raising=False)
        monkeypatch.setenv("DAL_TEST_URL", server.url(user="root", password="wrong"))
        with pytest.raises(NoServer, match="1045"):
            start_server()

    def test_prefers_mysql_of_this_machine_to_mariadb(self, monkeypatch):
        monkeypatch.setenv("DOCKER_HOST", "unix:///no/engine.sock")
        for name in ("DAL_TEST_URL", "DAL_TEST_RUNG"):
            monkeypatch.delenv(name, raising=False)
        program = _private._program("mysqld")
        if program is None or program.is_mariadb:
            pytest.skip("no MySQL program here")
        with start_server() as server:
            assert server.rung == "mysqld"
