"""Logins that rotate: none fails, and a refused one is never sent again."""

import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import pymysql
import pytest
import sqlalchemy as sa
from moto.server import ThreadedMotoServer

from dal import AccessDenied, ConfigurationError, ConnectError, Database
from dal.aws.credentials import ParameterStore, SecretsManager
from dal.credentials import Login
from dal.wire import logins


@pytest.fixture
def account(admin, database):
    """Make an account on the test's database; all are dropped at the end."""
    made = []

    def account(name, password, more=""):
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE USER '{name}'@'%%' IDENTIFIED BY %s {more}", (password,))
            cursor.execute(f"GRANT ALL ON `{database}`.* TO '{name}'@'%'")
        made.append(name)
        return Login(name, password)

    yield account
    with admin.cursor() as cursor:
        for name in made:
            cursor.execute(f"DROP USER '{name}'@'%'")


@pytest.fixture
def through(environment, server, database):
    """A database that logs in by these credentials."""
    logins._refusals.clear()
    others = {name: value for name, value in environment.items() if name.startswith("DAL_")}
    address = {"DB_HOST": server.host, "DB_PORT": str(server.port), "DB_NAME": database}

    def through(credentials, **settings):
        return Database.from_env({**others, **address}, credentials=credentials, **settings)

    yield through
    logins._refusals.clear()


def who(db):
    with db.scope(read_only=True) as session:
        return session.scalar(sa.text("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)"))


class Stored:
    """A secret with a cache before it, and a list of what was asked."""

    def __init__(self, login):
        self.current = self.cached = login
        self.asked = []

    def __call__(self, address, refused):
        self.asked.append((address, refused))
        if refused == self.cached:
            self.cached = self.current
        return self.cached


def test_are_asked_with_the_address_for_each_connection(through, account, server):
    stored = Stored(account("rotating", "first"))
    db = through(stored)
    assert who(db) == who(db) == "rotating"
    assert stored.asked == [(f"{server.host}:{server.port}", None)] * 2


def test_a_refused_login_is_asked_for_past_the_cache(through, account, admin):
    stored = Stored(account("rotating", "first"))
    db = through(stored)
    assert who(db) == "rotating"
    stored.current = account("alternate", "second")
    with admin.cursor() as cursor:
        cursor.execute("ALTER USER 'rotating'@'%' IDENTIFIED BY 'gone'")
    assert who(db) == "alternate"
    assert stored.asked[-1][1].user == "rotating"


def test_a_secret_that_comes_later_is_waited_for(through, account, admin):
    stored = Stored(account("rotating", "first"))
    with admin.cursor() as cursor:
        cursor.execute("ALTER USER 'rotating'@'%' IDENTIFIED BY 'second'")
    db = through(stored)
    later = threading.Timer(1, lambda: setattr(stored, "current", Login("rotating", "second")))
    later.start()
    assert who(db) == "rotating"
    assert len(stored.asked) > 2


@pytest.mark.mysql("MariaDB has no FAILED_LOGIN_ATTEMPTS")
def test_a_login_is_refused_once_and_never_sent_again(through, account, admin):
    wrong = account("careful", "right", "FAILED_LOGIN_ATTEMPTS 2 PASSWORD_LOCK_TIME 1")
    stored = Stored(Login("careful", "wrong"))
    db = through(stored, connect_timeout=0.4)
    for _ in range(4):
        with pytest.raises(AccessDenied) as denied:
            who(db)
        assert denied.value.errno == 1045  # 3955 would be the account that is locked
    assert not denied.value.transient
    stored.current = wrong
    assert who(db) == "careful"


def test_a_wait_for_another_login_ends_with_the_deadline(through, account):
    account("rotating", "right")
    db = through(Stored(Login("rotating", "wrong")))
    began = time.monotonic()
    with pytest.raises(AccessDenied), db.scope(deadline=0.5) as session:
        session.execute(sa.text("SELECT 1"))
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("strategy", ["single", "alternating"])
@pytest.mark.parametrize("lag", [0.0, 0.5])
def test_no_unit_fails_while_passwords_rotate(through, account, server, strategy, lag):
    """The server knows the new password `lag` seconds before the secret does."""
    account("one", "0")
    account("two", "0")
    stored = Stored(Login("one", "0"))
    done = threading.Event()

    def rotate():
        users = ["one"] if strategy == "single" else ["two", "one"]
        with server.connect("mysql") as connection, connection.cursor() as cursor:
            for number in range(1, 4):
                user, password = users[number % len(users)], secrets.token_hex(8)
                cursor.execute(f"ALTER USER '{user}'@'%%' IDENTIFIED BY %s", (password,))
                time.sleep(lag)
                before, stored.current = stored.current, Login(user, password)
                if strategy == "alternating":  # and the other one's goes, as a leaked one's would
                    gone = secrets.token_hex(8)
                    cursor.execute(f"ALTER USER '{before.user}'@'%%' IDENTIFIED BY %s", (gone,))
                time.sleep(0.7)
        done.set()

    def work(db):
        units = 0
        while not done.is_set():
            assert who(db) in {"one", "two"}
            units += 1
        return units

    databases = [through(stored) for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        rotation = pool.submit(rotate)
        try:
            assert all(units > 3 for units in pool.map(work, databases))
        finally:
            done.set()
        rotation.result()


class TestWhatFails:
    def test_is_a_connect_error_with_its_cause(self, through):
        def broken(address, refused):
            raise LookupError("s3cret")

        with pytest.raises(ConnectError, match="credentials raised LookupError") as failed:
            who(through(broken))
        assert "s3cret" not in str(failed.value)

    def test_is_a_wrong_setting_where_no_login_comes(self, through):
        with pytest.raises(ConfigurationError, match="gave a tuple"):
            who(through(lambda address, refused: ("shop", "s3cret")))

    def test_says_what_to_check_where_no_other_login_comes(self, through):
        db = through(lambda address, refused: Login("nobody", "s3cret"), connect_timeout=0.3)
        with pytest.raises(AccessDenied, match="DAL_CREDENTIALS") as denied:
            who(db)
        assert "s3cret" not in str(denied.value)
        assert isinstance(denied.value.__cause__, pymysql.Error)


@pytest.fixture(scope="module")
def aws():
    """The address of moto's server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


class TestFromAWS:
    """Against moto's server, by boto3 as it is."""

    @pytest.fixture(autouse=True)
    def region(self, aws, monkeypatch):
        for name, value in {
            "AWS_ENDPOINT_URL": aws,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }.items():
            monkeypatch.setenv(name, value)

    def test_a_secret_that_rotates_is_followed(self, through, account, admin):
        client, name = boto3.Session().client("secretsmanager"), secrets.token_hex(4)
        client.create_secret(Name=name, SecretString=pair(account("aws", "first")))
        db = through(f"secretsmanager:{name}")
        assert who(db) == "aws"
        client.put_secret_value(SecretId=name, SecretString=pair(Login("aws", "second")))
        assert who(db) == "aws"  # by what is kept
        with admin.cursor() as cursor:
            cursor.execute("ALTER USER 'aws'@'%' IDENTIFIED BY 'second'")
        assert who(db) == "aws"

    def test_a_secret_is_kept_for_an_hour(self, monkeypatch):
        client, name = boto3.Session().client("secretsmanager"), secrets.token_hex(4)
        client.create_secret(Name=name, SecretString=pair(Login("aws", "first")))
        stored, now = SecretsManager(name), time.time()
        assert stored("db:3306").password == "first"
        client.put_secret_value(SecretId=name, SecretString=pair(Login("aws", "second")))
        assert stored("db:3306").password == "first"
        monkeypatch.setattr("dal.aws.credentials.time.time", lambda: now + 3700)
        assert stored("db:3306").password == "second"

    @pytest.mark.parametrize("value", ['{"username": "aws", "password": "p"}', "p"])
    def test_a_parameter_is_a_pair_or_a_password(self, value):
        name = f"/{secrets.token_hex(4)}"
        boto3.Session().client("ssm").put_parameter(Name=name, Value=value, Type="SecureString")
        login = ParameterStore(name, user="aws")("db:3306")
        assert (login.user, login.password) == ("aws", "p")

    @pytest.mark.parametrize("value", ["bare", '{"user": "aws"}', "[]", '{"username": "aws"}'])
    def test_what_is_no_login_is_refused_without_being_shown(self, value):
        name = f"/{secrets.token_hex(4)}"
        boto3.Session().client("ssm").put_parameter(Name=name, Value=value, Type="SecureString")
        with pytest.raises(ConfigurationError, match="username and password") as refused:
            ParameterStore(name)("db:3306")
        assert value not in str(refused.value)

    def test_a_secret_that_is_not_there_is_a_connect_error(self, through):
        with pytest.raises(ConnectError, match="credentials raised ResourceNotFoundException"):
            who(through("secretsmanager:missing"))


def pair(login):
    return json.dumps({"username": login.user, "password": login.password})
