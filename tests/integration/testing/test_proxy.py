"""The proxy before a real server and a real client: what it counts, and what its faults do."""

import secrets
import ssl
import time

import pymysql
import pytest

from dal.testing.proxy import Proxy

TLS_VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def proxy(server):
    with Proxy(server.host, server.port) as proxy:
        yield proxy


@pytest.fixture
def connect(server, database, proxy, admin):
    """Connect through the proxy; the admin's login has warmed the server's login cache."""
    opened = []

    def open_connection(**options):
        address = {"host": proxy.host, "port": proxy.port, "autocommit": False}
        connection = server.connect(database, **address | options)
        opened.append(connection)
        return connection

    yield open_connection
    for connection in opened:
        if connection.open:
            connection.close()


@pytest.fixture
def table(admin):
    with admin.cursor() as cursor:
        cursor.execute("CREATE TABLE item (id INT PRIMARY KEY, n INT NOT NULL DEFAULT 0)")


def rows(admin):
    with admin.cursor() as cursor:
        cursor.execute("SELECT id, n FROM item ORDER BY id")
        return list(cursor.fetchall())


def run(connection, *statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def unverified(version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


class TestCounting:
    def test_a_connection_of_pymysql_costs_three_round_trips(self, connect, proxy):
        connection = connect(ssl_disabled=True, ssl=None)
        (trace,) = proxy.connections
        assert trace.round_trips == 3
        assert trace.statements == ["SET NAMES utf8mb4", "SET AUTOCOMMIT = 0"]
        run(connection, "SELECT 1", "SELECT 2")
        connection.commit()
        connection.close()
        assert proxy.wait_closed()
        assert trace.statements[2:] == ["SELECT 1", "SELECT 2", "COMMIT"]
        assert (trace.round_trips, trace.packets) == (6, 7)

    @pytest.mark.parametrize("version", TLS_VERSIONS)
    @pytest.mark.parametrize("latency", [0.0, 0.003])
    def test_tls_costs_the_same_and_hides_the_statements(
        self, server, connect, proxy, version, latency
    ):
        if not server.has_tls:
            pytest.skip("the server has no TLS")
        proxy.latency = latency
        for _ in range(5):  # the handshake's records do not always fall the same way
            proxy.reset()
            connection = connect(ssl=unverified(version))
            assert proxy.round_trips == 3
            run(connection, "SELECT 1", "SELECT 2")
            connection.commit()
            connection.close()
            assert proxy.wait_closed()
            (trace,) = proxy.connections
            assert (trace.round_trips, trace.packets) == (6, 7)
            assert trace.tls
            assert trace.statements == []

    @pytest.mark.mysql("the login cache belongs to caching_sha2_password")
    @pytest.mark.parametrize("version", TLS_VERSIONS)
    def test_the_first_login_of_a_user_costs_one_more(self, proxy, admin, version):
        account = {"user": f"cold_{secrets.token_hex(4)}", "password": secrets.token_hex(8)}
        run(admin, "CREATE USER {user} IDENTIFIED BY '{password}'".format(**account))
        try:
            for expected in (4, 3):
                proxy.reset()
                context = unverified(version)
                pymysql.connect(host=proxy.host, port=proxy.port, ssl=context, **account).close()
                assert proxy.round_trips == expected
        finally:
            run(admin, f"DROP USER {account['user']}")

    def test_an_error_is_an_answer(self, connect, proxy):
        connection = connect()
        with pytest.raises(pymysql.err.ProgrammingError):
            run(connection, "SELECT * FROM absent")
        assert proxy.round_trips == 4

    def test_a_large_result_arrives_whole_in_one_round_trip(self, connect, proxy):
        connection = connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT REPEAT('x', 5000000), REPEAT('y', 5000000)")
            assert cursor.fetchone() == ("x" * 5_000_000, "y" * 5_000_000)
        assert proxy.round_trips == 4
        assert proxy.connections[0].bytes_down > 10_000_000


@pytest.mark.usefixtures("table")
class TestFaults:
    def test_a_cut_before_the_statement_leaves_no_row(self, connect, proxy, admin):
        connection = connect(autocommit=True)
        proxy.on(2, "cut")  # 1 is PyMySQL's SET NAMES
        with pytest.raises(pymysql.err.OperationalError, match="2013"):
            run(connection, "INSERT INTO item VALUES (1, 1)")
        assert rows(admin) == []

    def test_a_reset_at_the_answer_leaves_the_row(self, connect, proxy, admin):
        connection = connect(autocommit=True)
        proxy.on(2, "reset", answer=True)
        with pytest.raises(pymysql.err.OperationalError, match="2013"):
            run(connection, "INSERT INTO item VALUES (1, 1)")
        assert rows(admin) == [(1, 1)]

    def test_a_swallowed_commit_is_stored_while_its_client_hangs(self, connect, proxy, admin):
        connection = connect(ssl_disabled=True, ssl=None, read_timeout=0.3)
        fault = proxy.on(b"COMMIT", "swallow")
        run(connection, "INSERT INTO item VALUES (1, 1)")
        with pytest.raises(pymysql.err.OperationalError, match="timed out"):
            connection.commit()
        assert fault.fired == 1
        assert rows(admin) == [(1, 1)]

    def test_behind_a_stall_the_locks_of_a_dead_client_stay(self, connect, proxy, admin):
        run(admin, "INSERT INTO item VALUES (1, 1)")
        connection = connect(ssl_disabled=True, ssl=None, read_timeout=0.2)
        run(connection, "UPDATE item SET n = 2 WHERE id = 1")
        proxy.on(b"SELECT 1", "stall")
        with pytest.raises(pymysql.err.OperationalError, match="timed out"):
            run(connection, "SELECT 1")
        assert not connection.open

        assert is_locked(admin)
        proxy.release()
        end = time.monotonic() + 5.0
        while is_locked(admin):
            assert time.monotonic() < end, "the server never noticed"
            time.sleep(0.01)
        assert rows(admin) == [(1, 1)]

    @pytest.mark.parametrize("moment", ["accept", "greeting", "login"])
    def test_connecting_to_a_mute_server_times_out(self, connect, proxy, moment):
        proxy.on(moment, "stall")
        with pytest.raises(pymysql.err.OperationalError, match="timed out"):
            connect(read_timeout=0.2)

    def test_a_dripping_greeting_defeats_the_read_timeout(self, connect, proxy):
        fault = proxy.on("greeting", "drip", interval=0.01)
        started = time.monotonic()
        connect(ssl_disabled=True, ssl=None, read_timeout=0.3).close()
        assert time.monotonic() - started > 0.6
        assert fault.fired == 1

    def test_the_end_of_a_killed_session_reaches_the_client(self, connect, admin):
        connection = connect()
        run(admin, f"KILL {connection.thread_id()}")
        with pytest.raises(pymysql.err.OperationalError, match=r"2013|2006"):
            run(connection, "SELECT 1")


def is_locked(admin):
    try:
        run(admin, "SELECT * FROM item WHERE id = 1 FOR UPDATE NOWAIT")
    except pymysql.err.OperationalError as error:
        assert error.args[0] in {3572, 1205}  # MySQL's, MariaDB's  # noqa: PT017
        return True
    return False
