"""The engine alone: the state of its sessions, its errors, and what it leaves to SQLAlchemy."""

import pymysql
import pytest
import sqlalchemy as sa
from accounts import Base

from dal import (
    CheckViolation,
    DataTooLong,
    DuplicateKey,
    ForeignKeyViolation,
    NotNullViolation,
    OutOfRange,
)
from dal.engine import Settings, create_engine


@pytest.fixture
def settings(environment):
    return Settings.from_env(environment)


@pytest.fixture
def engine(settings, db):
    return create_engine(settings)


def test_a_session_has_the_state_that_is_promised(engine, server):
    old = "tx" if server.is_mariadb else "transaction"
    with engine.connect() as connection:
        state = connection.execute(
            sa.text(
                f"SELECT @@{old}_isolation, @@autocommit, @@time_zone, @@character_set_client, "
                "@@innodb_lock_wait_timeout, @@lock_wait_timeout, @@wait_timeout, "
                "@@net_write_timeout, @@sql_mode"
            )
        ).one()
        assert state[:-1] == ("READ-COMMITTED", 0, "+00:00", "utf8mb4", 2, 2, 60, 60)
        assert "STRICT_TRANS_TABLES" in state[-1]
        assert "ONLY_FULL_GROUP_BY" in state[-1]


@pytest.mark.mysql("max_execution_time is MySQL's")
def test_the_server_ends_a_select_at_the_statement_timeout(engine):
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT @@max_execution_time")) == 30_000


def test_the_profile_of_migrations_has_no_limits_but_a_short_one_on_locks(settings, server, db):
    engine = create_engine(settings.for_migrations())
    with engine.connect() as connection, server.connect() as fresh:
        variables = "SELECT @@lock_wait_timeout, @@wait_timeout, @@net_write_timeout"
        found = connection.execute(sa.text(variables)).one()
        with fresh.cursor() as cursor:
            cursor.execute(variables)
            untouched = cursor.fetchone()
        assert found == (10, *untouched[1:])
        if not server.is_mariadb:
            assert connection.scalar(sa.text("SELECT @@max_execution_time")) == 0


def test_the_whole_of_unicode_comes_back_as_it_went(engine):
    text = "ünïcode \N{PILE OF POO} \u05d0\u05d1 nul\0 '\"\\%"
    with engine.begin() as connection:
        assert connection.scalar(sa.select(sa.literal(text))) == text
        assert connection.scalar(sa.text("SELECT :t").bindparams(t=text)) == text


def test_a_connection_lives_no_longer_than_its_use(engine, connections):
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    assert connections() == 0


def test_autocommit_of_sqlalchemy_works(engine, admin):
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("INSERT INTO account (owner, balance) VALUES ('ada', 0)"))
        with admin.cursor() as cursor:
            assert cursor.execute("SELECT owner FROM account") == 1


def test_reflection_knows_keys_and_foreign_keys(engine):
    inspector = sa.inspect(engine)
    assert {"account", "entry"} <= set(inspector.get_table_names())
    (foreign_key,) = inspector.get_foreign_keys("entry")
    assert foreign_key["referred_table"] == "account"
    metadata = sa.MetaData()
    metadata.reflect(engine)
    assert set(metadata.tables) == set(Base.metadata.tables)


VIOLATIONS = [
    ("INSERT INTO account VALUES (2, 'ada', 0)", DuplicateKey, 1062),
    ("INSERT INTO account VALUES (1, 'bob', 0)", DuplicateKey, 1062),
    ("INSERT INTO account (owner, balance) VALUES (NULL, 0)", NotNullViolation, 1048),
    ("INSERT INTO account (owner) VALUES ('bob')", NotNullViolation, 1364),
    ("INSERT INTO account (owner, balance) VALUES (REPEAT('x', 51), 0)", DataTooLong, 1406),
    ("INSERT INTO account (owner, balance) VALUES ('b', 99999999999)", OutOfRange, 1264),
    ("INSERT INTO entry (account_id, note) VALUES (99, '')", ForeignKeyViolation, 1452),
    ("DELETE FROM account WHERE id = 1", ForeignKeyViolation, 1451),
    ("UPDATE account SET balance = -1", CheckViolation, None),
]


@pytest.fixture
def ada(admin, db):
    with admin.cursor() as cursor:
        cursor.execute("INSERT INTO account VALUES (1, 'ada', 0)")
        cursor.execute("INSERT INTO entry VALUES (1, 1, '')")


@pytest.mark.parametrize(("statement", "error", "errno"), VIOLATIONS)
def test_a_violation_is_named_by_its_number(engine, ada, statement, error, errno):
    with engine.connect() as connection, pytest.raises(error) as caught:
        connection.execute(sa.text(statement))
    assert caught.value.errno in {errno or 3819, errno or 4025}
    assert caught.value.statement == statement
    assert isinstance(caught.value.__cause__, pymysql.Error)
    assert "ada" not in str(caught.value)
    assert not caught.value.transient


def test_the_names_that_the_server_gives_are_on_the_error(engine, ada):
    found = {}
    with engine.connect() as connection:
        for statement, error, errno in VIOLATIONS:
            with pytest.raises(error) as caught:
                connection.execute(sa.text(statement))
            found[errno] = caught.value
    assert found[1452].constraint == "fk_entry_account_id"
    assert (found[1452].table, found[1452].columns) == ("entry", ("account_id",))
    assert found[1451].constraint == "fk_entry_account_id"
    assert found[1048].columns == ("owner",)
    assert found[1364].columns == ("balance",)
    assert found[1406].columns == ("owner",)
    assert found[1264].columns == ("balance",)
    assert found[None].constraint == "ck_account_not_negative"


def test_what_has_no_name_stays_sqlalchemys(engine):
    with engine.connect() as connection, pytest.raises(sa.exc.ProgrammingError) as caught:
        connection.execute(sa.text("SELECT * FROM nowhere WHERE a = :a"), {"a": "secret"})
    assert caught.value.orig.args[0] == 1146
    assert "secret" not in str(caught.value)


def test_parameters_are_in_no_log(engine, ada, caplog):
    engine.echo = True
    with caplog.at_level("DEBUG"), engine.connect() as connection:
        connection.execute(sa.text("SELECT :a"), {"a": "secret"})
    assert "SELECT" in caplog.text
    assert "secret" not in caplog.text
