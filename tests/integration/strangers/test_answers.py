"""What a real server sends that is too much, of another character set, of an unknown type, late."""

import pickle
import time

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts

from dal import (
    ConnectionLost,
    Database,
    DeadlineExceeded,
    ResultTooLarge,
    StatementTooLarge,
    TLSError,
    UnreadableValue,
)
from dal.testing.proxy import Proxy


def many(number):
    return (
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < "
        f"{number}) SELECT n, REPEAT('x', 1000) AS filler FROM t"
    )


@pytest.fixture
def make(environment, db):
    return lambda **settings: Database.from_env(environment, **settings)


class TestAResultAboveItsLimit:
    def test_is_given_up_by_name(self, make):
        with (
            pytest.raises(ResultTooLarge, match="DAL_MAX_RESULT_BYTES") as failed,
            make(max_result_bytes=100_000).scope() as session,
        ):
            session.execute(sa.text(many(500))).all()
        assert not failed.value.transient

    def test_undoes_the_scope(self, make, admin):
        database = make(max_result_bytes=100_000)
        with pytest.raises(ResultTooLarge), database.scope() as session:
            Accounts(database).add(Account(owner="ada"))
            with pytest.raises(ResultTooLarge):
                session.execute(sa.text(many(500)))
        with admin.cursor() as cursor:
            assert cursor.execute("SELECT * FROM account") == 0

    def test_may_be_streamed_as_long_as_each_row_is_below(self, make):
        with make(max_result_bytes=100_000).scope(read_only=True) as session:
            rows = session.execute(sa.text(many(900)), execution_options={"yield_per": 10})
            assert sum(1 for _ in rows) == 900

    def test_may_be_read_in_chunks_by_a_repository(self, make):
        database = make(max_result_bytes=20_000)
        accounts = Accounts(database)
        with database.scope():
            accounts.insert_many({"owner": f"{n:0>40}"} for n in range(900))
        with database.scope(read_only=True):
            assert sum(1 for _ in accounts.stream(chunk=100)) == 900
        with pytest.raises(ResultTooLarge), database.scope(read_only=True):
            accounts.find(limit=900)
        with database.scope(read_only=True):
            assert accounts.count() == 900


class TestAValueThatIsNotOfItsType:
    @pytest.mark.parametrize("options", [{}, {"yield_per": 1}])
    def test_is_named_by_column_and_type_without_it_and_the_scope_goes_on(
        self, make, admin, options
    ):
        database = make()
        with admin.cursor() as cursor:
            cursor.execute("CREATE PROCEDURE latin() SET character_set_results = latin1")
        with database.scope() as session:
            Accounts(database).add(Account(owner="ada"))
            session.execute(sa.text("CALL latin()"))
            with pytest.raises(UnreadableValue, match="the column n") as failed:
                session.execute(sa.text("SELECT 'é' AS n"), execution_options=options).all()
            assert "é" not in str(failed.value)
            assert "STRING" in str(failed.value)
            assert failed.value.columns == ("n",)
            assert session.scalar(sa.text("SELECT 7")) == 7
        with admin.cursor() as cursor:
            assert cursor.execute("SELECT * FROM account") == 1

    @pytest.mark.mysql("it has no VECTOR of this kind")
    def test_of_a_type_that_the_driver_does_not_know_is_bytes(self, make):
        with make().scope(read_only=True) as session:
            value = session.scalar(sa.text("SELECT STRING_TO_VECTOR('[1, -2.5]')"))
            assert value == b"\x00\x00\x80?\x00\x00 \xc0"
            assert session.scalar(sa.text("SELECT 7")) == 7


class TestAStatementAboveMaxAllowedPacket:
    @pytest.fixture
    def smallest(self, admin):
        with admin.cursor() as cursor:
            cursor.execute("SELECT @@GLOBAL.max_allowed_packet")
            (usual,) = cursor.fetchone()
            cursor.execute("SET GLOBAL max_allowed_packet = 1048576")
            yield
            cursor.execute("SET GLOBAL max_allowed_packet = %s", (usual,))

    @pytest.mark.usefixtures("smallest")
    @pytest.mark.parametrize("size", [1_100_000, 5_000_000, 20_000_000])
    def test_is_named_with_its_size_and_not_run_again(self, make, size):
        database, ran = make(), []

        def unit():
            ran.append(1)
            database.session.execute(sa.text("SELECT LENGTH(:text)"), {"text": "x" * size})

        with pytest.raises(StatementTooLarge, match="max_allowed_packet") as failed:
            database.run(unit, attempts=3)
        assert ran == [1]
        assert f"{size // 100_000 / 10:.1f}"[0] in str(failed.value)
        assert "a statement of " in str(failed.value)

    def test_is_told_from_a_connection_that_was_lost(self, server, environment, db):
        with Proxy(server.host, server.port) as proxy:
            database = Database.from_env(
                environment, host=proxy.host, port=proxy.port, tls="disabled"
            )
            proxy.on(b"LENGTH", "reset")
            with pytest.raises(ConnectionLost), database.scope() as session:
                session.execute(sa.text("SELECT LENGTH(:text)"), {"text": "x" * 1_100_000})

    def test_may_be_one_of_two_where_the_server_cannot_be_asked(self, server, environment, db):
        with Proxy(server.host, server.port) as proxy:
            database = Database.from_env(
                environment, host=proxy.host, port=proxy.port, tls="disabled", connect_timeout=0.5
            )
            with (
                pytest.raises(ConnectionLost, match="max_allowed_packet"),
                database.scope() as session,
            ):
                session.execute(sa.text("SELECT 1"))
                proxy.refuse()
                proxy.on(b"LENGTH", "reset")
                session.execute(sa.text("SELECT LENGTH(:text)"), {"text": "x" * 1_100_000})


@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.45, 0.6])
def test_a_select_that_the_deadline_ends_is_always_named_so(make, seconds):
    database = make()
    for _ in range(3):
        began = time.monotonic()
        with (
            pytest.raises(DeadlineExceeded, match="the scope"),
            database.scope(deadline=seconds) as session,
        ):
            session.execute(sa.text("SELECT SLEEP(2) FROM DUAL"))
        assert time.monotonic() - began < seconds + 0.25


@pytest.mark.mysql("sha256_password is MySQL's")
def test_a_login_works_whose_method_the_server_switches(make, admin, database):
    with admin.cursor() as cursor:
        cursor.execute("CREATE USER switched IDENTIFIED WITH sha256_password BY 'w'")
        cursor.execute(f"GRANT ALL ON {database}.* TO switched")
    try:
        account = make(user="switched", password="w", tls="unverified")
        with account.scope(read_only=True) as session:
            assert session.scalar(sa.text("SELECT 1")) == 1
        clear = make(user="switched", password="w", tls="disabled", connect_timeout=1.0)
        with pytest.raises(TLSError, match="RSA"), clear.scope(read_only=True) as session:
            session.scalar(sa.text("SELECT 1"))
    finally:
        with admin.cursor() as cursor:
            cursor.execute("DROP USER switched")


def test_an_error_of_connecting_survives_pickling_without_a_secret(environment, db):
    database = Database.from_env(environment, password="wr0ng-secret")
    with pytest.raises(Exception, match="cannot connect") as failed, database.scope() as session:
        session.execute(sa.text("SELECT 1"))
    for error in (failed.value, failed.value.__cause__):
        copied = pickle.dumps(error)
        assert b"wr0ng" not in copied
        again = pickle.loads(copied)
        assert (type(again), again.args) == (type(error), error.args)
