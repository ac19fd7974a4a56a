"""What the checks make of facts: a recording of MySQL 9.7, and of it what differs elsewhere.

Aurora and RDS Proxy run nowhere but at AWS; their variables here follow AWS's guides. Checks of a
real server that was configured wrongly are in tests/integration/tools/test_doctor.py.
"""

import dataclasses
import json
from datetime import date
from pathlib import Path

import pytest

from dal.doctor import Verdict
from dal.doctor.checks import CHECKS
from dal.doctor.examining import judged
from dal.doctor.facts import Account, Asked, Facts, Transaction, Unreadable, Wait
from dal.engine import Settings

RECORDED = json.loads((Path(__file__).parent / "recordings/mysql-9.7.4.json").read_text())
SETTINGS = Settings(host="db.example.com", user="app", password="sesame", database="shop")
NARROW = ("GRANT USAGE ON *.* TO `app`@`%`", "GRANT SELECT, INSERT ON `shop`.* TO `app`@`%`")
MAY_NOT_LOOK = Unreadable("this account may not look", "run it with an account that may")


def facts(*, variables=(), session=(), status=(), host=None, **changes):
    """The facts of a good MySQL 9.7 on the day of the table of releases, with some changed."""
    settings = changes.pop("settings", SETTINGS)
    if host:
        settings = dataclasses.replace(settings, host=host)
    given = {
        "settings": settings,
        "today": date(2026, 11, 22),
        "seconds_to_connect": 0.012,
        "variables": RECORDED["variables"] | dict(variables),
        "session": RECORDED["session"] | dict(session),
        "status": RECORDED["status"] | dict(status),
        "tls": ("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        "account": Account("app@%", "caching_sha2_password", requires_tls=True),
        "grants": NARROW,
        "transactions": (),
        "waits": (),
    }
    return Facts(**given | changes)


def finding(check, seen):
    (found,) = (
        one for one in judged(seen, "db.example.com:3306/shop").findings if one.check == check
    )
    return found


def verdict(check, seen):
    return finding(check, seen).verdict


AURORA = {
    "aurora_version": "3.10.1",
    "version": "8.0.42",
    "basedir": "/rdsdbbin/oscar-8.0.mysql_aurora.3.10.1.0.0/",
    "datadir": "/rdsdbdata/db/",
    "log_bin": "OFF",
    "sync_binlog": "1",
}
WRITER = "shop.cluster-c1x.eu-west-1.rds.amazonaws.com"
PROXY = "shop.proxy-c1x.eu-west-1.rds.amazonaws.com"
RDS = {"version": "8.4.7", "basedir": "/rdsdbbin/mysql-8.4.7.R1/", "datadir": "/rdsdbdata/db/"}


class TestAGoodServer:
    def test_has_nothing_but_what_others_may_do_there(self):
        report = judged(facts(), "db.example.com:3306/shop")
        bad = {one.check for one in report.findings if one.verdict in {"WARN", "FAIL"}}
        assert bad == {"lock timeout"}
        assert report.server == "MySQL 9.7.4"

    def test_names_what_to_do_wherever_something_is_wrong_and_nowhere_else(self):
        seen = facts(
            variables={"sync_binlog": "0", "read_only": "ON", "max_allowed_packet": "1024"},
            session={"sql_mode": "", "time_zone": "SYSTEM"},
            transactions=MAY_NOT_LOOK,
        )
        for one in judged(seen, "").findings:
            if one.verdict in {"WARN", "FAIL"}:
                assert one.advice
            if one.verdict == "OK":
                assert not one.advice

    def test_is_told_in_every_check_and_in_their_order(self):
        findings = judged(facts(), "").findings
        names = [(topic, name) for topic, checks in CHECKS.items() for name in checks]
        assert [(one.topic, one.check) for one in findings] == names


class TestVersion:
    @pytest.mark.parametrize(
        ("version", "expected"),
        [
            ("9.7.4", "OK"),
            ("8.4.9", "OK"),
            ("8.0.46", "WARN"),
            ("9.6.1", "WARN"),
            ("5.7.44", "FAIL"),
            ("10.3.0", "OK"),
            ("10.11.19-MariaDB-0+deb12u1", "WARN"),
        ],
    )
    def test_is_judged_by_the_end_of_its_support(self, version, expected):
        assert verdict("version", facts(variables={"version": version})) == expected

    def test_says_when_the_support_ended(self):
        found = finding("version", facts(variables={"version": "8.0.46"})).found
        assert "support of MySQL 8.0 ended on 2026-04-30" in found

    def test_warns_half_a_year_before(self):
        assert (
            verdict("version", facts(today=date(2031, 10, 1), variables={"version": "8.4.9"}))
            == "OK"
        )
        late = facts(today=date(2031, 12, 1), variables={"version": "8.4.9"})
        assert finding("version", late).advice == "plan the upgrade"

    def test_that_the_table_does_not_know_is_named_with_the_tables_date(self):
        assert "November 2026" in finding("version", facts(variables={"version": "10.3.0"})).found

    def test_of_rds_ends_with_the_standard_support(self):
        seen = facts(variables=RDS | {"version": "8.0.44"}, today=date(2026, 7, 1))
        assert (
            "RDS standard support of RDS for MySQL 8.0 ends on 2026-07-31"
            in finding("version", seen).found
        )
        assert finding("version", facts(variables=RDS)).found.startswith("RDS for MySQL 8.4.7, ")

    @pytest.mark.parametrize(("aurora", "expected"), [("3.10.1", "OK"), ("2.12.5", "FAIL")])
    def test_of_aurora_is_auroras_own(self, aurora, expected):
        seen = facts(variables=AURORA | {"aurora_version": aurora}, host=WRITER)
        assert verdict("version", seen) == expected
        assert f"Aurora MySQL {aurora} (8.0.42)" in finding("version", seen).found


class TestAurora:
    @pytest.mark.parametrize(
        ("aurora", "value", "expected"),
        [
            ("3.10.1", "0", "FAIL"),
            ("3.10.1", "1", "OK"),
            ("3.10.1", "2", "OK"),
            ("2.12.5", "0", "FAIL"),
            ("2.12.5", "1", "OK"),
            ("2.12.5", "2", "FAIL"),
        ],
    )
    def test_waits_for_its_storage_by_rules_of_its_own(self, aurora, value, expected):
        variables = AURORA | {"aurora_version": aurora, "innodb_flush_log_at_trx_commit": value}
        assert verdict("redo log", facts(variables=variables)) == expected

    def test_makes_no_use_of_sync_binlog(self):
        seen = facts(variables=AURORA | {"log_bin": "ON", "sync_binlog": "0"})
        assert verdict("binary log", seen) == "SKIP"

    def test_refuses_writes_with_a_binary_log_of_statements_all_the_same(self):
        seen = facts(variables=AURORA | {"log_bin": "ON", "binlog_format": "STATEMENT"})
        assert verdict("binlog format", seen) == "FAIL"
        assert "DB cluster parameter group" in finding("binlog format", seen).advice

    def test_reader_is_no_place_for_dal(self):
        found = finding("writer", facts(variables=AURORA | {"innodb_read_only": "ON"}))
        assert found.verdict == "FAIL"
        assert "READ COMMITTED" in found.found
        assert "cluster endpoint" in found.advice


class TestRDS:
    def test_is_set_by_its_parameter_group(self):
        advice = finding("binary log", facts(variables=RDS | {"sync_binlog": "0"})).advice
        assert advice == "set sync_binlog = 1 in the DB parameter group"

    def test_is_told_in_its_own_words(self):
        seen = facts(
            variables=RDS | {"system_time_zone": "CET", "transaction_isolation": "SERIALIZABLE"},
            transactions=[Transaction(9, 300, False, 0, 0, None)],
        )
        assert finding("time zone", seen).advice == "set time_zone = UTC in the DB parameter group"
        assert "set transaction_isolation = READ-COMMITTED in" in finding("isolation", seen).advice
        assert finding("lock timeout", seen).advice.endswith("and reboot")
        assert "CALL mysql.rds_kill(9)" in finding("long transactions", seen).advice

    def test_is_known_by_its_address_too(self):
        assert facts(host="shop.c1x.eu-west-1.rds.amazonaws.com").server == "RDS for MySQL 9.7.4"

    def test_masters_role_is_wider_than_a_service_needs(self):
        grants = (*NARROW, "GRANT `rds_superuser_role`@`%` TO `admin`@`%`")
        assert verdict("grants", facts(variables=RDS, grants=grants)) == "WARN"


class TestRDSProxy:
    @pytest.mark.parametrize(
        "host", [PROXY, "reader.endpoint.proxy-c1x.eu-west-1.rds.amazonaws.com"]
    )
    def test_is_known_by_its_address(self, host):
        assert facts(host=host).behind_proxy
        assert "behind RDS Proxy" in facts(host=host).server

    @pytest.mark.parametrize("host", [WRITER, "db.example.com", "proxy-1.example.com"])
    def test_is_not_seen_where_there_is_none(self, host):
        assert verdict("proxy", facts(host=host)) == "SKIP"

    def test_wants_the_setting_for_it(self):
        assert finding("proxy", facts(host=PROXY)).advice == "set DAL_PROXY=true"
        told = dataclasses.replace(SETTINGS, proxy=True)
        assert verdict("proxy", facts(settings=told, host=PROXY)) == "OK"
        assert verdict("proxy", facts(settings=told)) == "OK"  # a name of one's own for it

    def test_ends_what_is_idle_by_itself(self):
        idle = {"wait_timeout": "28800"}
        assert verdict("idle timeout", facts(host=PROXY, session=idle)) == "SKIP"
        assert verdict("idle timeout", facts(session=idle)) == "WARN"

    def test_takes_the_arithmetic_of_connections_upon_itself(self):
        asked = Asked(concurrency=10_000)
        assert verdict("budget", facts(host=PROXY, asked=asked)) == "SKIP"
        assert verdict("account limit", facts(host=PROXY, asked=asked)) == "OK"

    def test_has_a_certificate_that_the_server_knows_nothing_of(self):
        seen = facts(host=PROXY, status={"Ssl_server_not_after": "Nov 20 09:12:31 2020 GMT"})
        assert verdict("certificate", seen) == "SKIP"


class TestSessions:
    """What is between `dal` and the server may change a session: a proxy that swallows its SET."""

    @pytest.mark.parametrize(
        ("check", "session"),
        [
            ("isolation", {"transaction_isolation": "REPEATABLE-READ"}),
            ("strict mode", {"sql_mode": "NO_ENGINE_SUBSTITUTION"}),
            ("character set", {"character_set_connection": "latin1"}),
            ("time zone", {"time_zone": "SYSTEM"}),
        ],
    )
    def test_that_are_not_as_dal_set_them_break_the_promise(self, check, session):
        assert verdict(check, facts()) == "OK"
        assert verdict(check, facts(session=session)) == "FAIL"

    def test_of_a_server_in_local_time_are_in_utc_alone(self):
        found = finding("time zone", facts(variables={"system_time_zone": "CET"}))
        assert found.verdict == "WARN"
        assert "CET" in found.found


class TestTLS:
    def test_to_another_machine_must_be(self):
        assert verdict("TLS", facts(tls=None)) == "FAIL"
        assert verdict("TLS", facts()) == "OK"

    def test_on_this_machine_should_be(self):
        assert verdict("TLS", facts(tls=None, host="127.0.0.1")) == "WARN"

    def test_to_another_machine_is_verified(self):
        unverified = dataclasses.replace(SETTINGS, tls="unverified")
        assert verdict("TLS", facts(settings=unverified)) == "WARN"
        assert verdict("TLS", facts(settings=unverified, host="localhost")) == "OK"

    @pytest.mark.parametrize(
        ("ends", "expected"),
        [
            ("Nov 21 09:12:31 2026 GMT", "WARN"),
            ("Dec  1 09:12:31 2026 GMT", "WARN"),
            ("Jan 20 09:12:31 2027 GMT", "OK"),
            ("", "SKIP"),
        ],
    )
    def test_ends_with_the_servers_certificate(self, ends, expected):
        assert verdict("certificate", facts(status={"Ssl_server_not_after": ends})) == expected

    def test_is_required_by_the_server_or_by_the_account(self):
        free = Account("app@%", "caching_sha2_password", requires_tls=False)
        on = {"require_secure_transport": "ON"}
        assert verdict("TLS required", facts(account=free)) == "WARN"
        assert verdict("TLS required", facts(account=MAY_NOT_LOOK)) == "WARN"
        assert verdict("TLS required", facts(account=free, variables=on)) == "OK"
        assert verdict("TLS required", facts()) == "OK"


class TestLogin:
    @pytest.mark.parametrize(
        ("plugin", "expected"),
        [
            ("caching_sha2_password", "OK"),
            ("AWSAuthenticationPlugin", "OK"),
            ("mysql_native_password", "WARN"),
            ("sha256_password", "WARN"),
        ],
    )
    def test_is_by_a_plugin_that_lasts(self, plugin, expected):
        assert (
            verdict("login", facts(account=Account("app@%", plugin, requires_tls=False)))
            == expected
        )


class TestGrants:
    @pytest.mark.parametrize(
        "line",
        [
            "GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE, SHOW VIEW ON `shop`.* TO `app`@`%`",
            "GRANT SELECT (`id`, `name`), UPDATE (`name`) ON `shop`.`users` TO `app`@`%`",
            "GRANT EXECUTE ON PROCEDURE `shop`.`sum_up` TO `app`@`%`",
            "GRANT SELECT ON `other`.* TO `app`@`%`",
            "GRANT `readers`@`%` TO `app`@`%`",
            "GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*81F5E21E35407D884A6'",
        ],
    )
    def test_of_a_service_are_enough(self, line):
        assert verdict("grants", facts(grants=(line,))) == "OK"

    @pytest.mark.parametrize(
        ("line", "named"),
        [
            ("GRANT ALL PRIVILEGES ON *.* TO `app`@`%`", "ALL PRIVILEGES on every database"),
            ("GRANT SELECT, SUPER, FILE ON *.* TO `app`@`%`", "SUPER, FILE, SELECT on every"),
            ("GRANT BINLOG_ADMIN,AUDIT_ADMIN ON *.* TO `app`@`%`", "BINLOG_ADMIN, AUDIT_ADMIN on"),
            ("GRANT PROCESS ON *.* TO `app`@`%`", "PROCESS on every database"),
            ("GRANT SELECT ON `shop`.* TO `app`@`%` WITH GRANT OPTION", "GRANT OPTION on shop.*"),
            ("GRANT ALL PRIVILEGES ON `shop`.* TO `app`@`%`", "ALL PRIVILEGES on shop.*"),
            ("GRANT SELECT, DROP, ALTER ON `shop`.* TO `app`@`%`", "DROP, ALTER on shop.*"),
            ("GRANT DROP ON `shop`.`my table` TO `app`@`%`", "DROP on shop.my table"),
            (
                "GRANT SELECT ON `shop`.* TO `app`@`%` WITH MAX_USER_CONNECTIONS 5 GRANT OPTION",
                "GRANT OPTION on shop.*",
            ),
            ("GRANT SELECT ON `mysql`.* TO `app`@`%`", "SELECT on mysql, the accounts' own"),
            ("GRANT SELECT ON `mysql`.`user` TO `app`@`%`", "SELECT on mysql, the accounts' own"),
        ],
    )
    def test_that_reach_further_are_named(self, line, named):
        found = finding("grants", facts(grants=(line,)))
        assert found.verdict == "WARN"
        assert named in found.found

    def test_do_not_hide_behind_an_account_called_on(self):
        grants = ("GRANT SUPER ON *.* TO ` ON x TO `@`%`",)
        assert verdict("grants", facts(grants=grants)) == "WARN"


class TestConnections:
    def test_are_enough_up_to_the_last_one(self):
        limit = int(RECORDED["variables"]["max_connections"])
        fits = Asked(concurrency=(limit - 10) // 2, processes=2, reserve=10)
        assert verdict("budget", facts(asked=fits)) == "OK"
        assert verdict("budget", facts(asked=dataclasses.replace(fits, reserve=11))) == "FAIL"

    def test_are_counted_with_their_processes(self):
        found = finding("budget", facts(asked=Asked(concurrency=200, processes=4))).found
        assert found.startswith("max_connections = 100, 810 wanted (200 functions at once x 4 +")

    def test_are_enough_beside_those_that_are_open_now(self):
        asked = Asked(concurrency=60, reserve=0)
        busy = facts(asked=asked, status={"Threads_connected": "42"})
        assert verdict("budget", busy) == "WARN"
        assert "unless the 41 open now are those functions" in finding("budget", busy).found
        assert verdict("budget", facts(asked=asked, status={"Threads_connected": "41"})) == "OK"

    def test_that_were_nearly_used_up_are_too_few(self):
        assert verdict("budget", facts(status={"Max_used_connections": "80"})) == "WARN"
        assert verdict("budget", facts(status={"Max_used_connections": "79"})) == "OK"

    def test_of_the_account_are_enough_as_well(self):
        few = {"max_user_connections": "20"}
        assert verdict("account limit", facts(session=few)) == "OK"
        assert verdict("account limit", facts(session=few, asked=Asked(20))) == "OK"
        assert verdict("account limit", facts(session=few, asked=Asked(21))) == "FAIL"

    def test_that_were_refused_are_counted(self):
        found = finding("refused", facts(status={"Connection_errors_max_connections": "7"}))
        assert found.verdict == "WARN"
        assert found.found.startswith("7 logins refused")

    @pytest.mark.parametrize(
        ("uptime", "said"),
        [(30, "just now"), (600, "10 min ago"), (10_000, "2 h ago"), (900_000, "10 days ago")],
    )
    def test_are_counted_since_the_servers_start(self, uptime, said):
        assert said in finding("refused", facts(status={"Uptime": str(uptime)})).found


class TestConnecting:
    def test_that_takes_half_of_its_limit_is_slow(self):
        assert verdict("connection", facts(seconds_to_connect=2.4)) == "OK"
        assert verdict("connection", facts(seconds_to_connect=2.6)) == "WARN"


class TestAFunction:
    def test_that_compiles_its_packages_at_each_cold_start_is_told_so(self):
        assert verdict("bytecode", facts(uncompiled=["dal", "sqlalchemy"])) == "WARN"
        assert (
            "dal, sqlalchemy" in finding("bytecode", facts(uncompiled=["dal", "sqlalchemy"])).found
        )
        assert verdict("bytecode", facts(uncompiled=[])) == "OK"

    def test_is_asked_only_where_it_is_one(self):
        assert verdict("bytecode", facts()) == "SKIP"


class TestThisMoment:
    def test_shows_the_oldest_transaction_and_how_many_more(self):
        seen = [
            Transaction(7, 61, False, 3, 0, None),
            Transaction(9, 300, False, 12, 5, "app@10.0.0.7"),
            Transaction(11, 2, False, 0, 0, None),
        ]
        found = finding("long transactions", facts(transactions=seen))
        assert found.verdict == "WARN"
        assert "connection 9 of app@10.0.0.7 is open for 300 s with 12 rows locked" in found.found
        assert found.found.endswith("and 1 more")
        assert "KILL 9" in found.advice

    def test_names_the_one_who_holds_what_all_others_wait_for(self):
        seen = [Transaction(7, 1, True, 1, 0, None), Transaction(8, 1, True, 1, 0, None)]
        chain = [Wait(7, 8), Wait(8, 5)]
        found = finding("lock waits", facts(transactions=seen, waits=chain))
        assert found.found.endswith("connection 5 holds it")

    def test_counts_the_waits_where_it_may_not_look(self):
        counted = {"Innodb_row_lock_current_waits": "3"}
        seen = facts(transactions=MAY_NOT_LOOK, waits=MAY_NOT_LOOK, status=counted)
        assert finding("lock waits", seen).found == "3 wait for a row's lock"
        assert verdict("lock waits", facts(transactions=MAY_NOT_LOOK)) == "OK"
        assert verdict("long transactions", seen) == "SKIP"


class TestAReport:
    def test_is_json(self):
        report = judged(facts(), "db.example.com:3306/shop")
        said = json.loads(json.dumps(report.as_dict()))
        assert said["verdict"] == "WARN"
        assert said["counts"]["FAIL"] == 0
        assert sum(said["counts"].values()) == len(said["findings"])
        assert set(said["findings"][0]) == {"topic", "check", "verdict", "found", "advice"}

    def test_is_as_bad_as_its_worst_finding(self):
        def worst(**changes):
            return judged(facts(**changes), "").verdict

        assert worst(variables={"innodb_rollback_on_timeout": "ON"}) is Verdict.OK
        assert worst() is Verdict.WARN
        assert worst(variables={"read_only": "ON"}) is Verdict.FAIL

    def test_of_a_server_that_lacks_something_skips_that_alone(self):
        without = {k: v for k, v in RECORDED["variables"].items() if k != "max_connections"}
        seen = dataclasses.replace(facts(), variables=without)
        assert finding("budget", seen).found == "this server has no variable max_connections"
        assert verdict("redo log", seen) == "OK"

    def test_of_a_server_that_answers_strangely_skips_that_alone(self):
        strange = {"Ssl_server_not_after": "2036-11-20"}
        assert verdict("certificate", facts(status=strange)) == "SKIP"
        assert verdict("packet size", facts(variables={"max_allowed_packet": "64M"})) == "SKIP"

    def test_without_the_servers_counters_has_the_rest(self):
        seen = dataclasses.replace(facts(), status=MAY_NOT_LOOK)
        assert verdict("refused", seen) == verdict("certificate", seen) == "SKIP"
        assert verdict("redo log", seen) == "OK"


class TestThePage:
    PAGE = (Path(__file__).parents[3] / "docs/doctor.md").read_text()

    def test_has_every_check_in_its_order(self):
        table = self.PAGE.partition("| Check |")[2].partition("\n\n")[0]
        names = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
        assert names == [name for checks in CHECKS.values() for name in checks]

    def test_shows_a_run_with_every_check(self):
        shown = self.PAGE.partition("$ dal doctor --concurrency 200\n")[2].partition("```")[0]
        for checks in CHECKS.values():
            for name in checks:
                assert f"  {name} " in shown
