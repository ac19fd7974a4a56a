"""What code that knows SQLAlchemy and not `dal` does: its URL, and its errors."""

import pickle
import subprocess
import sys

import pymysql
import pytest
import sqlalchemy as sa
from accounts import Account
from sqlalchemy import exc
from sqlalchemy.engine import make_url

import dal
from dal import ConfigurationError, DuplicateKey, LockWaitTimeout, NotNullViolation
from dal.engine import Settings


@pytest.fixture
def url(environment, db):
    return make_url(environment["DATABASE_URL"]).set(drivername="mysql+dal")


class TestAnEngineOfSQLAlchemysOnTheUrl:
    @pytest.fixture
    def tls(self, environment):
        return {"tls": Settings.from_env(environment).tls}  # the stand-in has none

    @pytest.fixture
    def engine(self, url, tls):
        return sa.create_engine(url, connect_args=tls)

    def test_has_the_state_that_is_promised(self, engine, server):
        old = "tx" if server.is_mariadb else "transaction"
        with engine.connect() as connection:
            found = connection.execute(
                sa.text(f"SELECT @@{old}_isolation, @@time_zone, @@innodb_lock_wait_timeout")
            ).one()
        assert found == ("READ-COMMITTED", "+00:00", 2)

    def test_is_made_in_a_process_that_never_imports_dal(self, url, tls):
        program = (
            "import sqlalchemy as sa\n"
            f"engine = sa.create_engine({url.render_as_string(hide_password=False)!r},"
            f" connect_args={tls!r})\n"
            "with engine.connect() as connection:\n"
            "    print(connection.scalar(sa.text('SELECT @@time_zone')))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.stderr) == ("+00:00\n", "")

    def test_reads_what_was_committed_since(self, engine, admin):
        with engine.connect() as connection:
            count = sa.select(sa.func.count()).select_from(Account)
            assert connection.scalar(count) == 0
            with admin.cursor() as cursor:
                cursor.execute("INSERT INTO account (owner, balance) VALUES ('ada', 0)")
            assert connection.scalar(count) == 1

    def test_keeps_no_connection(self, engine, connections):
        with engine.connect() as connection:
            connection.scalar(sa.select(1))
        assert connections() == 0

    def test_names_errors_and_hides_values(self, engine):
        row = sa.insert(Account).values(owner="a secret", balance=0)
        with pytest.raises(DuplicateKey) as caught, engine.begin() as connection:
            connection.execute(row)
            connection.execute(row)
        assert "a secret" not in str(caught.value)

    def test_commits_and_rolls_back_as_it_is_told(self, engine, admin):
        with engine.begin() as connection:
            connection.execute(sa.insert(Account).values(owner="kept", balance=0))
        with engine.connect() as connection:
            connection.execute(sa.insert(Account).values(owner="left", balance=0))
        with admin.cursor() as cursor:
            cursor.execute("SELECT owner FROM account")
            assert cursor.fetchall() == (("kept",),)

    def test_takes_settings_as_connect_args(self, url, tls):
        engine = sa.create_engine(url, connect_args={"lock_wait_timeout": 1, **tls})
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT @@innodb_lock_wait_timeout")) == 1

    def test_refuses_what_is_no_setting(self, url):
        engine = sa.create_engine(url, connect_args={"read_default_file": "x"})
        with pytest.raises(ConfigurationError, match="read_default_file"):
            engine.connect()


class TestAnError:
    def test_is_caught_as_sqlalchemys_and_says_what_that_would(self, db):
        with db.scope() as session:
            session.add(Account(owner="ada"))
        with pytest.raises(exc.IntegrityError) as caught, db.scope() as session:
            session.execute(sa.insert(Account).values(owner="ada", balance=0))
        error = caught.value
        assert isinstance(error, DuplicateKey)
        assert isinstance(error.orig, pymysql.IntegrityError)
        assert error.orig is error.__cause__
        assert error.orig.args[0] == error.errno == 1062
        assert error.statement.startswith("INSERT INTO account")
        assert error.params is None
        assert not error.connection_invalidated

    def test_lets_the_scope_go_on_where_it_is_caught_as_sqlalchemys(self, db, admin):
        row = sa.insert(Account).values(owner="ada", balance=0)
        with db.scope() as session:
            session.execute(row)
            with pytest.raises(exc.IntegrityError):
                session.execute(row)
            session.execute(sa.insert(Account).values(owner="bob", balance=0))
        with admin.cursor() as cursor:
            assert cursor.execute("SELECT owner FROM account") == 2

    def test_of_a_flush_by_autoflush_is_the_same(self, db):
        with pytest.raises(exc.IntegrityError) as caught, db.scope() as session:
            session.add_all([Account(owner="ada"), Account(owner="ada")])
            session.execute(sa.select(Account)).all()
        assert isinstance(caught.value, DuplicateKey)
        assert str(caught.value).startswith("another row has this value")

    def test_of_a_value_is_an_integrity_error_or_a_data_error(self, db):
        with pytest.raises(exc.IntegrityError) as null, db.scope() as session:
            session.execute(sa.text("INSERT INTO account (owner, balance) VALUES (NULL, 0)"))
        assert isinstance(null.value, NotNullViolation)
        with pytest.raises(exc.DataError), db.scope() as session:
            session.execute(sa.insert(Account).values(owner="x" * 500, balance=0))

    def test_of_a_lock_is_an_operational_error(self, db, environment):
        with db.scope() as session:
            session.add(Account(owner="ada"))
        other = dal.Database.from_env(environment, lock_wait_timeout=1)
        update = sa.update(Account).values(balance=1)
        with db.scope() as session:
            session.execute(update)
            with pytest.raises(exc.OperationalError) as caught, other.scope() as second:
                second.execute(update)
        assert isinstance(caught.value, LockWaitTimeout)

    def test_arrives_whole_in_another_process(self, db):
        with pytest.raises(DuplicateKey) as caught, db.scope() as session:
            session.execute(sa.insert(Account).values(owner="ada", balance=0))
            session.execute(sa.insert(Account).values(owner="ada", balance=0))
        arrived = pickle.loads(pickle.dumps(caught.value))
        assert type(arrived) is DuplicateKey
        assert str(arrived) == str(caught.value)
        assert arrived.constraint == "uq_account_owner"
        assert arrived.orig is None

    def test_of_the_driver_without_a_name_stays_sqlalchemys(self, db):
        with pytest.raises(exc.ProgrammingError) as caught, db.scope() as session:
            session.execute(sa.text("SELECT nothing FROM nowhere"))
        assert not isinstance(caught.value, dal.Error)
