"""Every check of a real server: configured wrongly on purpose, then rightly."""

import contextlib
import dataclasses
import json
import re
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta

import pymysql
import pytest
import trustme

from dal import Database
from dal.doctor import Verdict, examine
from dal.doctor.pins import pins_of
from dal.engine import Settings
from dal.testing.proxy import Proxy
from dal.testing.server import start_server

AUTHORITY = trustme.CA()
SOON = datetime.now(UTC) + timedelta(days=10)
CERTIFICATE = AUTHORITY.issue_cert("localhost", "127.0.0.1", not_after=SOON)

#: What cannot be set while a server runs; right here, wrong on the session's own server.
OPTIONS = [
    "--max-user-connections=1000",  # MariaDB cannot leave or take up 0 while it runs
    "--log-bin=binlog",
    "--server-id=1",
    "--performance-schema=ON",
    "--innodb-rollback-on-timeout=ON",
    "--ssl-ca={files}/ca.pem",
    "--ssl-cert={files}/cert.pem",
    "--ssl-key={files}/key.pem",
]
FILES = {
    "ca.pem": AUTHORITY.cert_pem.bytes(),
    "cert.pem": CERTIFICATE.cert_chain_pems[0].bytes(),
    "key.pem": CERTIFICATE.private_key_pem.bytes(),
}


@pytest.fixture(scope="module")
def patient(tell):
    """A server of this module's own, for whatever has to be set for all its sessions."""
    with start_server(options=OPTIONS, files=FILES, say=tell) as started:
        started.create_database("shop")
        with started.connect("shop") as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE items (id INT PRIMARY KEY, n INT)")
            cursor.execute("INSERT INTO items VALUES (1, 0), (2, 0)")
        yield started


@pytest.fixture
def root(patient):
    """An administrator's cursor on it."""
    with patient.connect("shop") as connection, connection.cursor() as cursor:
        yield cursor


@pytest.fixture
def shop(patient):
    """Its settings; TLS without verification, as is the default on loopback."""
    return Settings.from_env(patient.environment("shop"))


@pytest.fixture
def ask(shop):
    """Examine it, and give the finding of one check."""

    def finding(check, settings=shop, **asked):
        return _of(check, examine(Database(settings), **asked))

    return finding


def _of(check, report):
    (found,) = (one for one in report.findings if one.check == check)
    return found


@pytest.fixture
def set_global(root, patient):
    """Set global variables, back to what they were at the end."""
    before = {}

    def change(name, value):
        if name == "isolation":  # which MariaDB 10 calls by its old name
            name = f"{'tx' if patient.is_mariadb else 'transaction'}_isolation"
        if name not in before:
            root.execute(f"SELECT @@global.{name}")
            (before[name],) = root.fetchone()
        root.execute(f"SET GLOBAL {name} = {value}")

    yield change
    for name, value in before.items():
        root.execute(f"SET GLOBAL {name} = %s", (value,))


@pytest.fixture
def account(patient, root, shop):
    """Make an account with the grants given, and return its settings."""
    made = []

    def create(*grants, plugin="", role=None):
        name = f"app_{secrets.token_hex(4)}"
        root.execute(f"CREATE USER {name} IDENTIFIED {plugin} BY 'sesame'")
        made.append(name)
        for grant in grants:
            what, _, option = grant.partition(" WITH ")
            root.execute(f"GRANT {what} TO {name}" + (f" WITH {option}" if option else ""))
        return dataclasses.replace(shop, user=name, password="sesame")

    yield create
    for name in made:
        root.execute(f"DROP USER {name}")


# What can be set while the server runs -----------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "setting", "expected"),
    [
        ("redo log", ("innodb_flush_log_at_trx_commit", "0", "1"), "FAIL"),
        ("redo log", ("innodb_flush_log_at_trx_commit", "2", "1"), "FAIL"),
        ("binary log", ("sync_binlog", "0", "1"), "FAIL"),
        ("binary log", ("sync_binlog", "1000", "1"), "FAIL"),
        ("binlog format", ("binlog_format", "'STATEMENT'", "'ROW'"), "FAIL"),
        ("binlog format", ("binlog_format", "'STATEMENT'", "'MIXED'"), "FAIL"),
        ("writer", ("read_only", "1", "0"), "FAIL"),
        ("isolation", ("isolation", "'SERIALIZABLE'", "'REPEATABLE-READ'"), "WARN"),
        ("isolation", ("isolation", "'READ-UNCOMMITTED'", "'READ-COMMITTED'"), "WARN"),
        ("strict mode", ("sql_mode", "''", "'STRICT_ALL_TABLES'"), "WARN"),
        ("character set", ("character_set_server", "'latin1'", "'utf8mb4'"), "WARN"),
        ("time zone", ("time_zone", "'+02:00'", "'+00:00'"), "WARN"),
        ("packet size", ("max_allowed_packet", "65536", "67108864"), "FAIL"),
        ("budget", ("max_connections", "50", "100"), "FAIL"),
        ("account limit", ("max_user_connections", "40", "41"), "FAIL"),
        ("TLS required", ("require_secure_transport", "0", "1"), "WARN"),
    ],
)
def test_a_server_that_is_set_wrongly_is_found_out(ask, set_global, check, setting, expected):
    variable, wrong, right = setting
    set_global(variable, wrong)
    found = ask(check, concurrency=41, reserve=10)
    assert found.verdict == expected, found
    assert found.advice
    set_global(variable, right)
    assert ask(check, concurrency=41, reserve=10).verdict == "OK"


@pytest.mark.parametrize(
    ("check", "setting"),
    [
        ("redo log", ("innodb_flush_log_at_trx_commit", "2")),
        ("binary log", ("sync_binlog", "0")),
        ("binlog format", ("binlog_format", "'STATEMENT'")),
        ("isolation", ("isolation", "'SERIALIZABLE'")),
        ("character set", ("character_set_server", "'latin1'")),
        ("time zone", ("time_zone", "'+02:00'")),
        ("packet size", ("max_allowed_packet", "65536")),
        ("budget", ("max_connections", "50")),
        ("TLS required", ("require_secure_transport", "0")),
    ],
)
def test_what_is_advised_makes_it_right(ask, root, set_global, check, setting):
    set_global(*setting)
    advice = ask(check, concurrency=41, reserve=10).advice
    (statement,) = re.findall(r"SET (?:PERSIST|GLOBAL) \w+ = (?:'[^']*'|\w+)", advice)
    root.execute(statement)
    assert ask(check, concurrency=41, reserve=10).verdict == "OK"


def test_a_session_that_may_idle_for_hours_is_found_out(ask, set_global, shop):
    patient_ones = dataclasses.replace(shop, idle_timeout=None)
    set_global("wait_timeout", "28800")
    assert ask("idle timeout", patient_ones).verdict == "WARN"
    assert ask("idle timeout", shop).verdict == "OK"
    set_global("wait_timeout", "300")
    assert ask("idle timeout", patient_ones).verdict == "OK"


def test_a_server_on_which_the_pool_keeps_nothing_is_found_out(ask, set_global, shop):
    warm = dataclasses.replace(shop, pool="warm")
    set_global("init_connect", "'SET @a = 1'")
    assert ask("pool", warm).verdict == "WARN"
    assert ask("pool", shop).verdict == "SKIP"
    set_global("init_connect", "''")
    assert ask("pool", warm).verdict == "OK"


def test_a_database_of_another_character_set_is_found_out(ask, root):
    root.execute("ALTER DATABASE shop CHARACTER SET latin1")
    found = ask("character set")
    root.execute("ALTER DATABASE shop CHARACTER SET utf8mb4")
    assert found.verdict == "WARN"
    assert "new tables of shop get latin1" in found.found
    assert ask("character set").verdict == "OK"


def test_a_server_that_others_fill_is_found_out(ask, patient, set_global):
    with contextlib.ExitStack() as room:
        for _ in range(8):
            room.enter_context(patient.connect())
        set_global("max_connections", "30")
        found = ask("budget", concurrency=22, reserve=0)
        assert found.verdict == "WARN"
        assert "open now" in found.found
        set_global("max_connections", "11")  # of which nine were open at once
        assert ask("budget").verdict == "WARN"
        set_global("max_connections", "200")
        assert ask("budget", concurrency=22, reserve=0).verdict == ask("budget").verdict == "OK"


def test_refused_logins_are_found_out(ask, account, patient, set_global):
    assert ask("refused").verdict == "OK"
    app = account("SELECT ON shop.*")
    set_global("max_connections", "10")
    login = {"user": app.user, "password": app.password}
    with contextlib.ExitStack() as room:
        for _ in range(9):  # beside the administrator, who may have an eleventh
            room.enter_context(patient.connect(**login))
        room.enter_context(patient.connect())
        with pytest.raises(pymysql.err.OperationalError, match="1040"):
            patient.connect(**login)
    set_global("max_connections", "100")
    found = ask("refused")
    assert found.verdict == "WARN"
    assert found.found.startswith("1 login refused")


# What is fixed at the start ----------------------------------------------------------------------


def test_whether_a_lock_timeout_undoes_all_is_found_out(ask, environment):
    assert ask("lock timeout").verdict == "OK"
    assert ask("lock timeout", Settings.from_env(environment)).verdict == "WARN"


def test_a_server_without_a_binary_log_is_not_blamed_for_it(ask, environment):
    session_one = Settings.from_env(environment)
    assert ask("binary log", session_one).verdict == "SKIP"
    assert ask("binlog format", session_one).verdict == "SKIP"


@pytest.mark.mysql("MariaDB 10 makes no certificate for itself")
def test_a_certificate_that_ends_soon_is_found_out(ask, environment):
    found = ask("certificate")
    assert found.verdict == "WARN"
    assert f"ends on {SOON:%Y-%m-%d}" in found.found
    assert ask("certificate", Settings.from_env(environment)).verdict == "OK"


def test_the_version_of_the_server_is_judged(ask, patient):
    found = ask("version")
    if patient.is_mariadb:
        assert found.verdict == "WARN"
        assert "MariaDB is a stand-in" in found.found
    else:
        assert found.verdict == "OK"
        assert found.found.startswith("MySQL ")


def test_what_tls_is_really_used_is_found_out(ask, shop, tmp_path):
    ask("TLS")  # and with it the account's login is in the server's cache
    plain = ask("TLS", dataclasses.replace(shop, tls="disabled"))
    assert plain.verdict == "WARN"
    assert "not encrypted" in plain.found
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    verified = ask("TLS", dataclasses.replace(shop, tls="verify", tls_ca=tmp_path / "ca.pem"))
    assert verified.verdict == "OK"
    assert verified.found.startswith("TLSv1.")
    assert verified.found.endswith("verified")


# Accounts ----------------------------------------------------------------------------------------


@pytest.mark.mysql("MariaDB's plugins are others, none of which is on the way out")
def test_a_login_by_an_old_plugin_is_found_out(ask, account):
    old = account("SELECT ON shop.*", plugin="WITH sha256_password")
    found = ask("login", old)
    assert found.verdict == "WARN"
    assert "sha256_password" in found.found
    assert ask("login", account("SELECT ON shop.*")).verdict == "OK"


def test_an_account_that_must_use_tls_makes_up_for_a_server_that_does_not_ask(ask, account, root):
    app = account("SELECT ON shop.*")
    assert ask("TLS required", app).verdict == "WARN"
    root.execute(f"ALTER USER {app.user} REQUIRE SSL")
    assert ask("TLS required", app).verdict == "OK"


@pytest.mark.parametrize(
    ("grant", "named"),
    [
        ("ALL ON *.*", "on every database"),
        ("SELECT ON *.*", "SELECT on every database"),
        ("SUPER ON *.*", "SUPER on every database"),
        ("FILE ON *.*", "FILE on every database"),
        ("SELECT ON shop.* WITH GRANT OPTION", "GRANT OPTION on shop.*"),
        ("ALL ON shop.*", "on shop.*"),
        ("SELECT ON mysql.*", "SELECT on mysql"),
    ],
)
def test_grants_beyond_a_services_needs_are_found_out(ask, account, grant, named):
    found = ask("grants", account("SELECT ON shop.*", grant))
    assert found.verdict == "WARN"
    assert named in found.found


def test_grants_that_come_by_a_role_are_found_out(ask, account, root):
    app = account("SELECT ON shop.*")
    root.execute("CREATE ROLE doer")
    try:
        root.execute("GRANT DROP ON shop.* TO doer")
        root.execute(f"GRANT doer TO {app.user}")
        assert ask("grants", app).verdict == "OK"  # a role that nobody puts on
        root.execute("SELECT VERSION() LIKE '%MariaDB%'")
        on = "FOR" if root.fetchone()[0] else "TO"
        root.execute(f"SET DEFAULT ROLE doer {on} {app.user}")
        assert "DROP on shop.*" in ask("grants", app).found
    finally:
        root.execute("DROP ROLE doer")


def test_what_a_service_needs_is_not_too_much(ask, account):
    app = account("SELECT, INSERT, UPDATE, DELETE, EXECUTE ON shop.*", "SELECT (n) ON shop.items")
    assert ask("grants", app).verdict == "OK"


def test_an_account_without_any_privilege_gets_a_useful_answer(account):
    report = examine(Database(account("SELECT ON shop.*")), concurrency=100)
    skipped = {one.check: one.advice for one in report.findings if one.verdict is Verdict.SKIP}
    assert set(skipped) - {"certificate"} == {
        *("proxy", "pool", "long transactions"),
        "bytecode",
    }
    assert "PROCESS" in skipped["long transactions"]
    assert report.account.startswith("app_")


def test_a_report_holds_no_secret(account):
    app = account("SELECT ON shop.*", plugin="")
    report = examine(Database(app))
    text = json.dumps(report.as_dict())
    assert app.password not in text
    assert "$A$" not in text
    assert app.password not in repr(report)


# This moment -------------------------------------------------------------------------------------


def test_a_transaction_that_is_open_for_long_is_found_out(ask, patient):
    with patient.connect("shop", autocommit=False) as open_one, open_one.cursor() as cursor:
        cursor.execute("UPDATE items SET n = n + 1 WHERE id = 1")
        _until(lambda: ask("long transactions", long_transaction=0).verdict == "WARN")
        found = ask("long transactions", long_transaction=0)
        assert f"connection {open_one.thread_id()} of root@" in found.found
        assert "1 changed" in found.found
        assert ask("long transactions", long_transaction=3600).verdict == "OK"
    _until(lambda: ask("long transactions", long_transaction=0).verdict == "OK")


def test_the_age_of_a_transaction_is_right_in_every_time_zone(ask, patient, set_global):
    set_global("time_zone", "'-11:00'")
    with patient.connect("shop", autocommit=False) as open_one, open_one.cursor() as cursor:
        cursor.execute("UPDATE items SET n = n + 1 WHERE id = 1")
        _until(lambda: ask("long transactions", long_transaction=0).verdict == "WARN")
        assert ask("long transactions", long_transaction=3600).verdict == "OK"


def test_who_waits_for_whom_is_found_out(ask, account, patient):
    app = account("SELECT ON shop.*")
    with (
        patient.connect("shop", autocommit=False) as holder,
        patient.connect("shop", autocommit=False) as waiter,
        patient.connect() as witness,
        holder.cursor() as holding,
        waiter.cursor() as waiting,
        witness.cursor() as watching,
    ):
        holding.execute("SELECT * FROM items WHERE id = 1 FOR UPDATE")
        wait = threading.Thread(
            target=waiting.execute, args=("SELECT * FROM items WHERE id = 1 FOR UPDATE",)
        )
        wait.start()
        try:
            _until(lambda: watching.execute(ONE_WAITS) and watching.fetchone()[0])
            found, counted = ask("lock waits"), ask("lock waits", app)
        finally:
            holder.rollback()
            wait.join()
            waiter.rollback()
    assert found.verdict == counted.verdict == "WARN"
    assert f"connection {waiter.thread_id()} of root@" in found.found
    assert found.found.endswith(f"connection {holder.thread_id()} holds it")
    assert counted.found == "1 wait for a row's lock"
    _until(lambda: ask("lock waits").verdict == ask("lock waits", app).verdict == "OK")


ONE_WAITS = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"


def _until(is_so):
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        # InnoDB makes this table anew only for who has not asked for a tenth of a second.
        time.sleep(0.15)


# No answer ---------------------------------------------------------------------------------------


def test_a_server_that_cannot_be_reached_is_the_finding(shop):
    report = examine(Database(dataclasses.replace(shop, port=1, connect_timeout=0.05)))
    assert not report.connected
    assert (report.server, report.account, report.verdict) == (None, None, Verdict.FAIL)
    (found,) = report.findings
    assert found.check == "connection"
    assert "security group" in found.found


def test_a_login_that_is_refused_is_the_finding(shop):
    report = examine(Database(dataclasses.replace(shop, password="sesame")))
    (found,) = report.findings
    assert "DB_PASSWORD" in found.found
    assert "sesame" not in json.dumps(report.as_dict())


def test_a_server_that_goes_away_meanwhile_is_the_finding(shop):
    with Proxy(shop.host, shop.port) as proxy:
        proxy.on(4, "cut")
        through = dataclasses.replace(shop, host=proxy.host, port=proxy.port)
        report = examine(Database(through))
    assert not report.connected
    assert report.findings[0].verdict is Verdict.FAIL


def test_a_deadline_ends_the_waiting(shop):
    with Proxy(shop.host, shop.port) as proxy:
        proxy.on(4, "stall", times=None)
        through = dataclasses.replace(shop, host=proxy.host, port=proxy.port)
        started = time.monotonic()
        report = examine(Database(through), deadline=0.5)
        assert time.monotonic() - started < 5
    assert "deadline" in report.findings[0].found


# What is sent ------------------------------------------------------------------------------------


def test_an_examination_pins_nothing_behind_a_proxy(ask, shop):
    ask("TLS")  # and with it the account's login is in the server's cache
    with Proxy(shop.host, shop.port) as proxy:
        through = dataclasses.replace(
            shop, host=proxy.host, port=proxy.port, tls="disabled", proxy=True
        )
        report = examine(Database(through))
        (trace,) = proxy.connections
    assert report.connected
    assert report.server.endswith("behind RDS Proxy")
    assert _of("proxy", report).verdict == "OK"
    assert len(trace.statements) > 5
    assert pins_of(trace.statements) == []


# Beside a unit of work ---------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["none", "warm"])
def test_an_examination_is_apart_from_the_scope_that_it_is_called_in(shop, patient, pool):
    db = Database(dataclasses.replace(shop, pool=pool))
    with db.scope() as session:
        session.connection().exec_driver_sql("UPDATE items SET n = 7 WHERE id = 2")
        _until(lambda: _of("long transactions", examine(db, long_transaction=0)).verdict == "WARN")
        db.rollback_only()
    db.engine.dispose()
    with patient.connect("shop") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n FROM items WHERE id = 2")
        assert cursor.fetchone() == (0,)


def test_an_examination_leaves_no_connection_and_changes_no_variable(shop, root):
    root.execute("SHOW GLOBAL VARIABLES")
    before = dict(root.fetchall())
    examine(Database(shop), concurrency=3)
    root.execute("SHOW GLOBAL VARIABLES")
    after = dict(root.fetchall())
    moving = {"timestamp", "gtid_executed", "gtid_binlog_pos", "gtid_current_pos"}
    assert {k: v for k, v in after.items() if k not in moving} == {
        k: v for k, v in before.items() if k not in moving
    }
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        root.execute(
            "SELECT COUNT(*) FROM information_schema.processlist "
            "WHERE db = 'shop' AND id <> CONNECTION_ID()"
        )
        if root.fetchone() == (0,):
            return
        time.sleep(0.01)
    raise AssertionError("its connection is still there")
