"""A server that cannot be reached, or not be trusted: an error that says what to do, in time."""

import datetime
import threading
import time

import pymysql
import pytest
import sqlalchemy as sa
import trustme

from dal import AccessDenied, ConnectError, Database, TLSError, TooManyConnections, UnknownDatabase
from dal.engine import Settings, create_engine
from dal.testing.proxy import Proxy
from dal.testing.server import start_server

LIMIT = 1.0


def ask(db):
    with db.scope(read_only=True) as session:
        return session.scalar(sa.text("SELECT 1"))


def fails(db, error, *words):
    """Connecting fails with `error`, saying `words`, within the limit; nothing else is shown."""
    began = time.monotonic()
    with pytest.raises(error) as caught:
        ask(db)
    assert time.monotonic() - began < LIMIT + 0.5
    for word in words:
        assert word in str(caught.value)
    assert isinstance(caught.value.__cause__, pymysql.Error)
    return caught.value


@pytest.fixture
def through(server, environment):
    with Proxy(server.host, server.port) as proxy:
        yield (
            proxy,
            Database.from_env(environment, host=proxy.host, port=proxy.port, connect_timeout=LIMIT),
        )


@pytest.mark.parametrize("moment", ["accept", "greeting", "tls", "login", 1])
def test_a_server_that_falls_silent_is_given_up_in_time(through, moment, server):
    if moment == "tls" and server.is_mariadb:
        pytest.skip("the stand-in has no TLS")
    proxy, db = through
    proxy.on(moment, "stall")
    fails(db, ConnectError, "no complete answer within 1 s", f"127.0.0.1:{proxy.port}")
    proxy.release()
    assert ask(db) == 1


@pytest.mark.parametrize("moment", ["greeting", "login"])
def test_a_server_that_drips_is_given_up_in_time(through, moment):
    proxy, db = through
    proxy.on(moment, "drip", answer=moment != "greeting", interval=0.2)
    fails(db, ConnectError, "no complete answer within 1 s")


@pytest.mark.parametrize("action", ["cut", "reset"])
@pytest.mark.parametrize("moment", ["accept", "greeting", "login", 1])
def test_a_server_that_hangs_up_once_is_tried_again(through, moment, action):
    proxy, db = through
    fault = proxy.on(moment, action)
    assert ask(db) == 1
    assert fault.fired


@pytest.mark.parametrize("moment", ["accept", "greeting", "login", 1])
def test_a_server_that_always_hangs_up_is_given_up_in_time(through, moment):
    proxy, db = through
    proxy.on(moment, "reset", times=None)
    assert fails(db, ConnectError, f"127.0.0.1:{proxy.port}").transient
    assert len(proxy.connections) > 1


def test_a_port_without_a_server(through):
    proxy, db = through
    proxy.refuse()
    assert fails(db, ConnectError, "Connection refused", "security group").transient


def test_a_server_that_comes_back_in_time_is_reached(through):
    proxy, db = through
    proxy.refuse()
    threading.Timer(0.3, proxy.release).start()
    assert ask(db) == 1


def test_a_host_without_an_address(environment):
    db = Database.from_env(
        environment, host="no-such-host.invalid", connect_timeout=LIMIT, tls="disabled"
    )
    with pytest.raises(ConnectError, match="its name cannot be resolved; check DB_HOST"):
        ask(db)


def test_a_wrong_password_is_not_shown(environment):
    db = Database.from_env(environment, password="wr0ng-secret", connect_timeout=LIMIT)
    error = fails(db, AccessDenied, "check DB_USER and DB_PASSWORD")
    assert not error.transient
    assert error.errno == 1045
    assert "wr0ng-secret" not in repr(error) + repr(error.__cause__)


def test_an_unknown_database(environment):
    db = Database.from_env(environment, database="nowhere", connect_timeout=LIMIT)
    assert fails(db, UnknownDatabase, "check DB_NAME").errno == 1049


def test_a_full_server(environment, server, database, admin):
    with admin.cursor() as cursor:
        cursor.execute("CREATE USER 'few'@'%' IDENTIFIED BY 'few' WITH MAX_USER_CONNECTIONS 1")
        cursor.execute(f"GRANT ALL ON `{database}`.* TO 'few'@'%'")
    try:
        db = Database.from_env(environment, user="few", password="few", connect_timeout=LIMIT)
        with db.scope(read_only=True) as session:
            session.scalar(sa.text("SELECT 1"))
            other = Database.from_env(
                environment, user="few", password="few", connect_timeout=LIMIT
            )
            assert fails(other, TooManyConnections, "concurrency").transient
    finally:
        with admin.cursor() as cursor:
            cursor.execute("DROP USER 'few'@'%'")


def address(environment):
    url = sa.make_url(environment["DATABASE_URL"])
    return url.host, url.port


@pytest.fixture
def few(environment, database, admin):
    """Settings of an account that may have one connection, and its one connection."""
    with admin.cursor() as cursor:
        cursor.execute("CREATE USER 'few'@'%' IDENTIFIED BY 'few' WITH MAX_USER_CONNECTIONS 1")
        cursor.execute(f"GRANT ALL ON `{database}`.* TO 'few'@'%'")
    account = Database.from_env(environment, user="few", password="few", connect_timeout=0.2)
    engine = create_engine(Settings.from_env(environment, user="few", password="few"))
    occupant = engine.connect()
    yield account, occupant
    occupant.close()
    with admin.cursor() as cursor:
        cursor.execute("DROP USER 'few'@'%'")


def test_a_full_server_is_waited_for_beyond_the_connect_timeout_while_the_deadline_allows(few):
    db, occupant = few
    leaving = threading.Timer(1.0, occupant.close)
    leaving.start()
    with db.scope(read_only=True, deadline=30.0) as session:
        assert session.scalar(sa.text("SELECT 1")) == 1
    leaving.join()


@pytest.mark.usefixtures("few")
def test_a_server_that_was_full_and_then_is_gone_is_given_up_after_the_connect_timeout(
    environment,
):
    with Proxy(*address(environment)) as proxy:
        db = Database.from_env(
            environment,
            user="few",
            password="few",
            host=proxy.host,
            port=proxy.port,
            connect_timeout=0.5,
        )
        threading.Timer(0.7, proxy.refuse).start()
        began = time.monotonic()
        with pytest.raises(ConnectError), db.scope(read_only=True, deadline=60.0) as session:
            session.scalar(sa.text("SELECT 1"))
        assert 0.7 < time.monotonic() - began < 30


def test_a_server_full_until_the_deadline_is_named_so(few):
    db, _ = few
    began = time.monotonic()
    with pytest.raises(TooManyConnections), db.scope(read_only=True, deadline=2.0) as session:
        session.scalar(sa.text("SELECT 1"))
    assert time.monotonic() - began < 2.0 + 0.5


def test_what_an_account_may_do_in_an_hour_is_not_waited_for(through, environment, admin):
    proxy, _ = through
    with admin.cursor() as cursor:
        cursor.execute("CREATE USER 'once'@'%' IDENTIFIED BY 'o' WITH MAX_CONNECTIONS_PER_HOUR 1")
        cursor.execute("GRANT SELECT ON *.* TO 'once'@'%'")
    try:
        db = Database.from_env(
            environment, user="once", password="o", host=proxy.host, port=proxy.port
        )
        assert ask(db) == 1
        with pytest.raises(TooManyConnections, match="per_hour") as caught:
            ask(db)
        assert not caught.value.transient
        assert len(proxy.connections) == 2
    finally:
        with admin.cursor() as cursor:
            cursor.execute("DROP USER 'once'@'%'")


def test_the_server_as_a_whole_full(server, environment, admin):
    with admin.cursor() as cursor:
        cursor.execute("SELECT @@max_connections")
        (usual,) = cursor.fetchone()
        cursor.execute("CREATE USER 'plain'@'%' IDENTIFIED BY 'plain'")
        cursor.execute("SET GLOBAL max_connections = 10")
    held = []
    try:
        with pytest.raises(pymysql.OperationalError, match="Too many connections"):
            while True:
                held.append(server.connect(user="plain", password="plain"))
        db = Database.from_env(environment, user="plain", password="plain", connect_timeout=LIMIT)
        assert fails(db, TooManyConnections, "max_connections").errno == 1040
    finally:
        for connection in held:
            connection.close()
        with admin.cursor() as cursor:
            cursor.execute("SET GLOBAL max_connections = %s", (usual,))
            cursor.execute("DROP USER 'plain'@'%'")


def test_the_password_callable_is_asked_at_each_connect(environment, server):
    asked = []

    def password():
        asked.append(1)
        return server.password

    db = Database.from_env(environment, password=password)
    assert ask(db) == ask(db) == 1
    assert len(asked) == 2


def test_a_refused_password_is_asked_for_once_more(environment, server):
    passwords = iter(["rotated away", server.password])
    db = Database.from_env(environment, password=lambda: next(passwords), connect_timeout=LIMIT)
    assert ask(db) == 1


@pytest.mark.parametrize("passwords", [["old", "old"], ["old", "older", "oldest"]])
def test_a_password_that_stays_refused_is_given_up(environment, passwords):
    asked = iter(passwords)
    db = Database.from_env(environment, password=lambda: next(asked), connect_timeout=LIMIT)
    fails(db, AccessDenied)
    assert len(list(asked)) == len(passwords) - 2


def test_a_password_of_any_characters(environment, server, admin, database):
    password = "p%40ss/w@rd: ünï\N{SNOWMAN}'"
    with admin.cursor() as cursor:
        cursor.execute("CREATE USER 'odd'@'%%' IDENTIFIED BY %s", (password,))
        cursor.execute(f"GRANT ALL ON `{database}`.* TO 'odd'@'%'")
    try:
        url = server.url(database, user="odd", password=password)
        assert ask(Database.from_env(environment | {"DATABASE_URL": url})) == 1
    finally:
        with admin.cursor() as cursor:
            cursor.execute("DROP USER 'odd'@'%'")


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def certified(server, authority):
    """Start servers of our own, each with a certificate for 127.0.0.1 alone, by its last day."""
    if server.is_mariadb:
        pytest.skip("the stand-in's TLS says nothing about MySQL's")
    started = {}

    def serve(days):
        if days not in started:
            last_day = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
            certificate = authority.issue_cert("127.0.0.1", not_after=last_day)
            chain = [pem.bytes() for pem in certificate.cert_chain_pems]
            started[days] = start_server(
                options=["--ssl-cert={files}/server.pem", "--ssl-key={files}/server.key"],
                files={
                    "server.pem": b"".join(chain),
                    "server.key": certificate.private_key_pem.bytes(),
                },
                accept_mariadb=False,
            )
        return started[days]

    yield serve
    for running in started.values():
        running.stop()


@pytest.fixture
def bundle(authority, tmp_path):
    path = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(path)
    return path


class TestTLS:
    def verified(self, running, bundle, **settings):
        return Database(
            running.url("mysql"), tls="verify", tls_ca=bundle, connect_timeout=LIMIT, **settings
        )

    def test_a_good_certificate_is_trusted(self, certified, bundle):
        with self.verified(certified(1), bundle).scope(read_only=True) as session:
            _, cipher = session.execute(sa.text("SHOW STATUS LIKE 'Ssl_cipher'")).one()
        assert cipher

    def test_a_session_is_resumed_by_the_next_connection(self, certified, bundle):
        resumed = []
        db = self.verified(certified(1), bundle)
        for _ in range(3):
            with db.scope(read_only=True) as session:
                _, reused = session.execute(sa.text("SHOW STATUS LIKE 'Ssl_sessions_reused'")).one()
                resumed.append(reused)
        assert resumed[1:] == ["1", "1"]

    def test_an_expired_one_is_to_be_renewed(self, certified, bundle):
        error = fails(
            self.verified(certified(-1), bundle), TLSError, "expired", "renew it on the server"
        )
        assert not error.transient

    def test_one_for_another_host_says_which_name_to_use(self, certified, bundle):
        db = self.verified(certified(1), bundle, host="localhost")
        fails(db, TLSError, "connect by the name that the certificate is for")

    def test_one_of_an_unknown_authority_names_rdss_bundle(self, certified, tmp_path):
        foreign = tmp_path / "foreign.pem"
        trustme.CA().cert_pem.write_to_path(foreign)
        for authorities in (foreign, None):
            db = self.verified(certified(1), authorities)
            fails(db, TLSError, "not trusted", "global-bundle.pem", "DAL_TLS_CA")

    def test_unverified_encrypts_whatever_the_certificate(self, certified):
        db = Database(certified(-1).url("mysql"), tls="unverified")
        with db.scope(read_only=True) as session:
            _, version = session.execute(sa.text("SHOW STATUS LIKE 'Ssl_version'")).one()
        assert version in {"TLSv1.2", "TLSv1.3"}

    def test_disabled_sends_in_the_clear(self, certified):
        db = Database(certified(1).url("mysql"), tls="disabled")
        with db.scope(read_only=True) as session:
            _, version = session.execute(sa.text("SHOW STATUS LIKE 'Ssl_version'")).one()
        assert version == ""

    def test_a_first_login_works_over_tls_and_says_that_it_wants_rsa_without(
        self, certified, cold_user
    ):
        url = certified(1).url("", user=cold_user, password="cold")
        settings = {"database": "information_schema", "connect_timeout": LIMIT}
        fails(Database(url, tls="disabled", **settings), TLSError, "RSA", "TLS")
        assert ask(Database(url, tls="unverified", **settings)) == 1

    @pytest.fixture
    def cold_user(self, certified):
        with certified(1).connect() as connection, connection.cursor() as cursor:
            cursor.execute("CREATE USER 'cold'@'%' IDENTIFIED BY 'cold'")
            yield "cold"
            cursor.execute("DROP USER 'cold'@'%'")


@pytest.mark.mysql("the stand-in's native passwords need no clear text")
def test_a_server_without_tls_is_refused(environment):
    with start_server(options=["--tls-version="], accept_mariadb=False) as bare:
        db = Database(bare.url("mysql"), tls="unverified", connect_timeout=LIMIT)
        fails(db, TLSError, "DAL_TLS")
