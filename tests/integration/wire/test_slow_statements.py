"""The log of slow statements: which are told, and that no value is."""

import logging

import pytest
import sqlalchemy as sa
from accounts import Account

from dal import Database, DuplicateKey, StatementTimeout
from dal.engine import Settings, create_engine

HOSTILE = [
    "Pa55w0rd",
    "' OR 'Pa55w0rd",
    "\\' Pa55w0rd",
    "\\",
    "/* Pa55w0rd",
    "%(x)s Pa55w0rd",
    b"\0'Pa55w0rd",
]


@pytest.fixture
def database_telling(db, environment):
    return lambda limit: Database.from_env(environment, slow_statement=limit)


@pytest.fixture
def told(caplog):
    """What was logged, as a list of lines."""

    def lines():
        assert {record.name for record in caplog.records} <= {"dal.slow"}
        assert {record.levelno for record in caplog.records} <= {logging.WARNING}
        return [record.msg for record in caplog.records]

    return lines


def test_one_that_takes_long_is_told_with_its_time_and_rows(database_telling, told):
    with database_telling(0.05).scope() as session:
        session.execute(sa.text("SELECT SLEEP(0.06)"))
    (line,) = told()
    assert line["statement_ms"] >= 60
    assert line["rows"] == 1
    assert line["fingerprint"] == "SELECT SLEEP(...)"


def test_one_that_does_not_is_not(database_telling, told):
    with database_telling(30).scope() as session:
        session.add(Account(owner="ada"))
        session.flush()
        session.scalars(sa.select(Account)).all()
    assert told() == []


def test_one_that_is_given_up_is_told_with_the_name_of_its_error(db, environment, told):
    hasty = Database.from_env(environment, slow_statement=0.05, statement_timeout=0.05)
    with pytest.raises(StatementTimeout), hasty.scope() as session:
        session.execute(sa.text("DO SLEEP(5)"))
    (line,) = told()
    assert line["error"] == "StatementTimeout"
    assert line["fingerprint"] == "DO SLEEP(...)"


def test_one_that_the_server_refuses_names_no_value_though_the_server_does(
    database_telling, told, caplog
):
    with database_telling(30).scope() as session:
        session.add(Account(owner="Pa55w0rd"))
    with pytest.raises(DuplicateKey), database_telling(0.001).scope() as session:
        session.execute(sa.text("DO SLEEP(0.01)"))
        session.execute(
            sa.text("INSERT INTO account (owner, balance) SELECT :owner, SLEEP(0.01)"),
            {"owner": "Pa55w0rd"},
        )
    assert told()[-1]["error"] == "DuplicateKey"
    assert "Pa55w0rd" not in caplog.text


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
@pytest.mark.parametrize("is_literal", [False, True], ids=["bound", "in the text"])
def test_no_value_is_told(database_telling, told, caplog, value, is_literal):
    db = database_telling(0.001)
    with db.scope(read_only=True) as session:
        bound = sa.bindparam("secret", value, literal_execute=is_literal)
        statement = sa.select(Account.owner, sa.func.sleep(0.002)).where(
            sa.or_(Account.owner == bound, sa.func.sleep(0.002) == 0)
        )
        session.execute(statement).all()
        session.execute(sa.select(sa.func.sleep(0.002), bound)).all()
    assert told()
    assert "Pa55w0rd" not in caplog.text


def test_a_stream_is_told_without_the_rows_that_are_to_come(database_telling, told):
    with database_telling(0.001).scope(read_only=True) as session:
        session.execute(
            sa.text("SELECT SLEEP(0.01)"), execution_options={"stream_results": True}
        ).all()
    (line,) = told()
    assert line["rows"] is None


def test_an_engine_alone_tells_as_well(environment, told):
    engine = create_engine(Settings.from_env(environment, slow_statement=0.05))
    with engine.connect() as connection:
        connection.execute(sa.text("DO SLEEP(0.06)"))
    (line,) = told()
    assert line["fingerprint"] == "DO SLEEP(...)"
