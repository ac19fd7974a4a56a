"""Settings: every way to give them, every wrong value named, the secret in no text at all."""

import dataclasses
import decimal
import logging
import math
import pickle
import ssl
import traceback

import pytest
import sqlalchemy as sa

from dal import ConfigurationError, ConnectError, Database, Error
from dal.engine import Settings, create_engine
from dal.wire.backoff import Backoff
from dal.wire.network.tls import context_for
from dal.wire.purpose import Purpose
from dal.wire.session.state import session_state

SECRET = "Pa55w0rd"
URL = f"mysql://app:{SECRET}@db.example/shop"
ENVIRON = {
    "DB_HOST": "db.example",
    "DB_USER": "app",
    "DB_PASSWORD": SECRET,
    "DB_NAME": "shop",
}
ADDRESS = {"host": "db.example", "user": "app", "password": SECRET, "database": "shop"}


@pytest.fixture(autouse=True)
def _connecting_is_tried_once(monkeypatch):
    monkeypatch.setattr(Backoff, "wait", lambda *_: False)


def everything_told(error):
    """All that a log or an error tracker could show of `error` and what led to it."""
    told = "".join(traceback.format_exception(error, chain=True))
    seen = error
    while seen is not None:
        told += f"{seen} {seen!r} {seen.args!r} {getattr(seen, '__notes__', '')}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return told


@pytest.fixture
def authority(tmp_path):
    import trustme

    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    return file


class TestAddress:
    def assert_is_the_address(self, settings, port=3306):
        assert (settings.host, settings.port, settings.user, settings.database) == (
            "db.example",
            port,
            "app",
            "shop",
        )
        assert settings.current_password() == SECRET.encode()

    def test_is_read_from_a_url(self):
        self.assert_is_the_address(Settings.from_url(URL))

    @pytest.mark.parametrize("driver", ["mysql", "mysql+pymysql", "mysql+dal"])
    def test_is_read_from_a_url_of_every_driver_that_means_pymysql(self, driver):
        self.assert_is_the_address(Settings.from_url(URL.replace("mysql", driver)))

    def test_is_read_from_sqlalchemys_url(self):
        self.assert_is_the_address(Settings.from_url(sa.make_url(URL)))

    def test_is_read_from_a_url_with_a_port_and_the_only_character_set(self):
        settings = Settings.from_url(URL.replace("/shop", ":3307/shop?charset=utf8mb4"))
        self.assert_is_the_address(settings, port=3307)

    def test_is_read_from_database_url(self):
        self.assert_is_the_address(Settings.from_env({"DATABASE_URL": URL}))

    def test_is_read_from_the_db_variables(self):
        self.assert_is_the_address(Settings.from_env(ENVIRON))
        self.assert_is_the_address(Settings.from_env({**ENVIRON, "DB_PORT": "3307"}), port=3307)

    def test_is_read_from_the_environment_of_the_process(self, monkeypatch):
        for name in ("DATABASE_URL", "DB_PORT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in ENVIRON.items():
            monkeypatch.setenv(name, value)
        self.assert_is_the_address(Settings.from_env())

    def test_is_given_by_keywords(self):
        self.assert_is_the_address(Settings(**ADDRESS))
        self.assert_is_the_address(Settings.from_env({}, **ADDRESS))

    def test_empty_variables_count_as_missing_ones(self):
        environ = {**ENVIRON, "DATABASE_URL": "", "DB_PORT": ""}
        self.assert_is_the_address(Settings.from_env(environ))

    def test_keywords_stand_above_variables(self):
        settings = Settings.from_env(
            {"DATABASE_URL": URL, "DAL_CONNECT_TIMEOUT": "1"}, connect_timeout=2, host="replica"
        )
        assert (settings.host, settings.connect_timeout) == ("replica", 2.0)

    def test_keywords_stand_above_the_url(self):
        assert Settings.from_url(URL, database="other").database == "other"

    def test_one_keyword_does_not_stand_in_for_the_address(self):
        with pytest.raises(ConfigurationError, match="DB_HOST"):
            Settings.from_env({}, tls="verify")

    @pytest.mark.parametrize("environ", [{}, {"DB_USER": "app"}, {"HOME": "/root"}])
    def test_where_there_is_none_both_ways_to_give_it_are_named(self, environ):
        with pytest.raises(ConfigurationError, match=r"DATABASE_URL.*DB_HOST"):
            Settings.from_env(environ)

    @pytest.mark.parametrize("variable", ["DB_USER", "DB_NAME"])
    def test_a_missing_part_is_named_by_its_variable(self, variable):
        environ = {name: value for name, value in ENVIRON.items() if name != variable}
        with pytest.raises(ConfigurationError, match=f"is missing.*{variable}"):
            Settings.from_env(environ)

    @pytest.mark.parametrize(
        ("url", "variable"),
        [
            (f"mysql://app:{SECRET}@db.example", "DB_NAME"),
            (f"mysql://app:{SECRET}@db.example/", "DB_NAME"),
            ("mysql://db.example/shop", "DB_USER"),
            ("mysql:///shop", "DB_HOST"),
        ],
    )
    def test_a_missing_part_of_a_url_is_named_too(self, url, variable):
        with pytest.raises(ConfigurationError, match=f"is missing.*{variable}.*DATABASE_URL"):
            Settings.from_url(url)

    def test_a_url_and_a_host_together_are_refused(self):
        with pytest.raises(ConfigurationError, match="DATABASE_URL and DB_HOST"):
            Settings.from_env({"DATABASE_URL": URL, "DB_HOST": "other"})

    @pytest.mark.parametrize("variable", ["DB_USER", "DB_PASSWORD", "DB_NAME", "DB_PORT"])
    def test_a_url_and_any_other_part_together_are_refused(self, variable):
        with pytest.raises(ConfigurationError, match=variable):
            Settings.from_env({"DATABASE_URL": URL, variable: "3307"})

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://app:Pa55w0rd@db.example/shop",
            "mysql+aiomysql://app:Pa55w0rd@db.example/shop",
            "mysql+mysqldb://app:Pa55w0rd@db.example/shop",
            "mariadb://app:Pa55w0rd@db.example/shop",
            "sqlite:///shop.db",
        ],
    )
    def test_another_database_or_driver_is_refused(self, url):
        with pytest.raises(ConfigurationError, match=r"URL is for .*mysql://") as refused:
            Settings.from_url(url)
        assert SECRET not in everything_told(refused.value)

    @pytest.mark.parametrize("option", ["ssl_ca=x.pem", "ssl=true", "ssl_verify_cert=false"])
    def test_ssl_options_of_a_url_are_refused_and_the_settings_named(self, option):
        with pytest.raises(ConfigurationError, match="DAL_TLS and DAL_TLS_CA"):
            Settings.from_url(f"{URL}?{option}")

    @pytest.mark.parametrize(
        "option",
        [
            "charset=latin1",
            "charset=utf8mb4&charset=latin1",
            "connect_timeout=5",
            "init_command=SELECT+1",
            "unix_socket=/tmp/mysql.sock",
            "local_infile=1",
            "read_default_file=/etc/my.cnf",
        ],
    )
    def test_other_options_of_a_url_are_refused_by_name(self, option):
        with pytest.raises(ConfigurationError, match=f"options .*{option.split('=')[0]}"):
            Settings.from_url(f"{URL}?{option}")

    @pytest.mark.parametrize("url", [None, 5, b"mysql://a:b@c/d", "", "db.example", "mysql:"])
    def test_what_is_no_url_is_refused_with_the_shape_of_one(self, url):
        with pytest.raises(ConfigurationError, match="write mysql://USER:PASSWORD@HOST"):
            Settings.from_url(url)


class TestUnknownSettings:
    @pytest.mark.parametrize(
        ("variable", "meant"),
        [
            ("DAL_STATEMNT_TIMEOUT", "DAL_STATEMENT_TIMEOUT"),
            ("DAL_LOCK_TIMEOUT", "DAL_LOCK_WAIT_TIMEOUT"),
            ("DAL_HOST", "DB_HOST"),
            ("DAL_PASSWORD", "DB_PASSWORD"),
            ("DAL_TSL", "DAL_TLS"),
        ],
    )
    def test_a_variable_that_is_nearly_one_is_refused_with_a_suggestion(self, variable, meant):
        with pytest.raises(ConfigurationError, match=f"^{variable} .*did you mean {meant}"):
            Settings.from_env({**ENVIRON, variable: "5"})

    def test_a_variable_that_is_like_none_is_refused_with_the_list(self):
        with pytest.raises(ConfigurationError, match=r"^DAL_COLOUR .*statement_timeout.*tls"):
            Settings.from_env({**ENVIRON, "DAL_COLOUR": "red"})

    def test_a_keyword_is_refused_with_a_suggestion(self):
        with pytest.raises(ConfigurationError, match=r"statment_timeout .*STATEMENT_TIMEOUT"):
            Settings.from_url(URL, statment_timeout=5)

    def test_variables_of_the_tests_are_none_of_the_settings(self):
        Settings.from_env({**ENVIRON, "DAL_TEST_URL": "anything"})


class TestReport:
    def test_is_off_unless_asked_for(self):
        assert Settings(**ADDRESS).report == "off"

    @pytest.mark.parametrize("report", ["off", "log", "emf"])
    def test_is_one_of_three(self, report):
        assert Settings.from_env({**ENVIRON, "DAL_REPORT": report}).report == report

    @pytest.mark.parametrize("report", ["on", "EMF", "", None, True, 1, []], ids=repr)
    def test_is_nothing_else(self, report):
        with pytest.raises(ConfigurationError, match=r"^report .*off, log, emf.* DAL_REPORT"):
            Settings(**ADDRESS, report=report)


class TestNumbers:
    @pytest.mark.parametrize(
        "name",
        [
            *("connect_timeout", "statement_timeout", "lock_wait_timeout", "idle_timeout", "port"),
            "slow_statement",
        ],
    )
    @pytest.mark.parametrize(
        "value",
        [
            *(0, -1, -0.5, 10**12, math.nan, math.inf, -math.inf, True, False, 1j),
            *("", "soon", "5s", "nan", "inf", "-1", "0", "1e99", b"x", [], {}),
        ],
        ids=repr,
    )
    def test_a_wrong_one_is_refused_by_name_and_variable(self, name, value):
        variable = "DB_PORT" if name == "port" else f"DAL_{name.upper()}"
        with pytest.raises(ConfigurationError, match=f"^{name} is not a .*number.* {variable}"):
            Settings(**ADDRESS, **{name: value})

    @pytest.mark.parametrize("name", ["lock_wait_timeout", "idle_timeout", "port"])
    @pytest.mark.parametrize("value", [2.5, "2.5", "2.0", 0.999])
    def test_a_fraction_is_refused_where_mysql_knows_none(self, name, value):
        with pytest.raises(ConfigurationError, match=f"^{name} is not a whole number from 1"):
            Settings(**ADDRESS, **{name: value})

    def test_a_fraction_of_another_type_is_refused_as_well(self):
        with pytest.raises(ConfigurationError, match="lock_wait_timeout is not a whole number"):
            Settings(**ADDRESS, lock_wait_timeout=decimal.Decimal("2.5"))

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("connect_timeout", "2.5", 2.5),
            ("statement_timeout", "0.001", 0.001),
            ("lock_wait_timeout", "7", 7),
            ("idle_timeout", " 30 ", 30),
            ("slow_statement", "0.5", 0.5),
        ],
    )
    def test_a_good_one_of_the_environment_becomes_a_number(self, name, value, expected):
        settings = Settings.from_env({**ENVIRON, f"DAL_{name.upper()}": value})
        assert getattr(settings, name) == expected
        assert type(getattr(settings, name)) is type(expected)

    def test_a_whole_float_is_a_whole_number(self):
        settings = Settings(**ADDRESS, lock_wait_timeout=5.0)
        assert repr(settings.lock_wait_timeout) == "5"

    @pytest.mark.parametrize("name", ["statement_timeout", "idle_timeout", "slow_statement"])
    @pytest.mark.parametrize("value", ["none", "None", " NONE "])
    def test_none_switches_off_the_limits_that_may_be_off(self, name, value):
        assert getattr(Settings.from_env({**ENVIRON, f"DAL_{name.upper()}": value}), name) is None

    @pytest.mark.parametrize("name", ["connect_timeout", "lock_wait_timeout"])
    def test_none_is_refused_for_the_others(self, name):
        with pytest.raises(ConfigurationError, match=f"DAL_{name.upper()}"):
            Settings.from_env({**ENVIRON, f"DAL_{name.upper()}": "none"})

    @pytest.mark.parametrize("port", ["65536", "99999", "0", "-1", "3306x"])
    def test_a_wrong_port_is_refused_by_its_variable(self, port):
        with pytest.raises(ConfigurationError, match="DB_PORT"):
            Settings.from_env({**ENVIRON, "DB_PORT": port})

    def test_every_wait_has_a_limit_by_default(self):
        settings = Settings(**ADDRESS)
        limits = (
            settings.connect_timeout,
            settings.statement_timeout,
            settings.lock_wait_timeout,
            settings.idle_timeout,
        )
        assert all(limit is not None and 0 < limit <= 60 for limit in limits)


class TestPoolAndProxy:
    def test_neither_is_the_default(self):
        settings = Settings(**ADDRESS)
        assert (settings.pool, settings.proxy) == ("none", False)

    @pytest.mark.parametrize("pool", ["none", "warm"])
    def test_the_pool_is_chosen_by_its_name(self, pool):
        assert Settings.from_env({**ENVIRON, "DAL_POOL": pool}).pool == pool

    @pytest.mark.parametrize("pool", ["", "Warm", "5", None, True])
    def test_another_pool_is_refused(self, pool):
        with pytest.raises(ConfigurationError, match="none, warm; its variable is DAL_POOL"):
            Settings(**ADDRESS, pool=pool)

    @pytest.mark.parametrize(
        ("text", "proxy"),
        [("true", True), (" On ", True), ("1", True), ("FALSE", False), ("off", False)],
    )
    def test_a_proxy_is_said_in_the_environment(self, text, proxy):
        assert Settings.from_env({**ENVIRON, "DAL_PROXY": text}).proxy is proxy

    @pytest.mark.parametrize("proxy", ["", "ja", "none", 1, None])
    def test_another_word_for_it_is_refused(self, proxy):
        with pytest.raises(ConfigurationError, match="its variable is DAL_PROXY"):
            Settings(**ADDRESS, proxy=proxy)

    def test_a_pool_before_a_pool_is_refused(self):
        with pytest.raises(ConfigurationError, match="DAL_POOL"):
            Settings(**ADDRESS, pool="warm", proxy=True)

    def test_behind_a_proxy_statements_of_many_rows_do_not_pin(self):
        assert Settings(**ADDRESS, proxy=True).max_statement_bytes == 16_000
        small = Settings(**ADDRESS, proxy=True, max_statement_bytes=2_000)
        assert small.max_statement_bytes == 2_000

    def test_migrations_keep_no_session_and_their_limit_on_locks(self):
        assert Settings(**ADDRESS, pool="warm").for_migrations().pool == "none"
        behind = Settings(**ADDRESS, proxy=True).for_migrations()
        sent = session_state(behind, Purpose(), is_mariadb=False)
        assert " lock_wait_timeout=10" in sent


class TestTLS:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
    def test_on_loopback_is_not_verified_by_default(self, host):
        assert Settings(**{**ADDRESS, "host": host}).tls == "unverified"

    @pytest.mark.parametrize(
        "host",
        [
            *("db.example", "localhost.example", "xlocalhost", "127.0.0.1.example"),
            *("10.0.0.5", "128.0.0.1", "0.0.0.0", "::", "fe80::1", "2130706433"),
        ],
    )
    def test_everywhere_else_is_verified_by_default(self, host):
        assert Settings(**{**ADDRESS, "host": host}).tls == "verify"

    def test_of_a_url_with_an_ipv6_address_follows_the_address(self):
        assert Settings.from_url("mysql://a:b@[::1]:3306/d").tls == "unverified"
        assert Settings.from_url("mysql://a:b@[2001:db8::1]/d").tls == "verify"

    @pytest.mark.parametrize("mode", ["verify", "unverified", "disabled"])
    def test_is_what_the_variable_says(self, mode):
        assert Settings.from_env({**ENVIRON, "DAL_TLS": mode}).tls == mode

    @pytest.mark.parametrize("mode", ["", "off", "VERIFY", "true", "0", "required"])
    def test_of_another_kind_is_refused_with_the_choices(self, mode):
        with pytest.raises(ConfigurationError, match=r"verify, unverified, disabled.*DAL_TLS"):
            Settings.from_env({**ENVIRON, "DAL_TLS": mode})

    @pytest.mark.parametrize("mode", ["unverified", "disabled"])
    def test_refuses_a_bundle_that_nobody_would_look_at(self, mode, authority):
        with pytest.raises(ConfigurationError, match=rf"'{mode}'.*DAL_TLS_CA"):
            Settings(**ADDRESS, tls=mode, tls_ca=authority)

    @pytest.mark.parametrize("name", ["missing.pem", "."])
    def test_refuses_a_bundle_that_is_no_file(self, name, tmp_path):
        with pytest.raises(ConfigurationError, match=r"is not a file.*DAL_TLS_CA"):
            Settings(**ADDRESS, tls_ca=tmp_path / name)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"not a certificate",
            b"\x30\x82\x01\x0a",
            b"-----BEGIN CERTIFICATE-----\nxxxx\n-----END CERTIFICATE-----\n",
        ],
    )
    def test_refuses_a_bundle_without_a_certificate_and_says_where_rds_has_its_own(
        self, content, tmp_path
    ):
        bundle = tmp_path / "bundle.pem"
        bundle.write_bytes(content)
        for build in (Database, create_engine):
            with pytest.raises(ConfigurationError, match=r"bundle.pem.*DAL_TLS_CA.*global-bundle"):
                build(Settings(**ADDRESS, tls_ca=bundle))

    def test_refuses_a_bundle_that_cannot_be_read(self, authority, monkeypatch):
        def no_permission(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(ssl, "create_default_context", no_permission)
        with pytest.raises(ConfigurationError, match="DAL_TLS_CA"):
            create_engine(Settings(**ADDRESS, tls_ca=authority))

    def test_verified_checks_chain_and_host_name(self, authority):
        context = context_for(Settings(**ADDRESS, tls_ca=authority))
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert len(context.get_ca_certs()) == 1

    def test_unverified_checks_nothing_and_still_encrypts(self):
        context = context_for(Settings(**{**ADDRESS, "host": "localhost"}))
        assert context.verify_mode is ssl.CERT_NONE
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2

    def test_disabled_has_no_context(self):
        assert context_for(Settings(**ADDRESS, tls="disabled")) is None

    def test_context_is_built_once_in_a_process(self, authority):
        settings = Settings(**ADDRESS, tls_ca=authority)
        assert context_for(settings) is context_for(Settings(**ADDRESS, tls_ca=str(authority)))


class TestPassword:
    @pytest.mark.parametrize(
        ("encoded", "password"),
        [
            ("p%25ss", "p%ss"),
            ("p%40ss", "p@ss"),
            ("p%2Fss", "p/ss"),
            ("p%3Ass", "p:ss"),
            ("p+ss", "p+ss"),
            ("p%20ss", "p ss"),
            ("p%25%40%2F%3A%23%3F", "p%@/:#?"),
            ("%C5%82%C3%B3d%C5%BA", "łódź"),
        ],
    )
    def test_of_a_url_is_percent_decoded(self, encoded, password):
        settings = Settings.from_url(f"mysql://app:{encoded}@db.example/shop")
        assert settings.current_password() == password.encode()

    @pytest.mark.parametrize("password", ["p%ss", "%(here)s", "p@s:s/w?o#rd", "łódź", "密碼", " "])
    def test_of_a_variable_is_taken_as_it_is(self, password):
        settings = Settings.from_env({**ENVIRON, "DB_PASSWORD": password})
        assert settings.current_password() == password.encode()

    def test_is_utf_8_whatever_its_characters(self):
        assert Settings(**{**ADDRESS, "password": "é"}).current_password() == b"\xc3\xa9"

    def test_of_bytes_is_taken_as_it_is(self):
        assert Settings(**{**ADDRESS, "password": b"\xff\x00"}).current_password() == b"\xff\x00"

    def test_may_be_missing(self):
        assert Settings(host="h", user="u", database="d").current_password() == b""

    def test_of_a_callable_is_asked_for_each_time(self):
        tokens = iter(["first", b"second"])
        settings = Settings(**{**ADDRESS, "password": lambda: next(tokens)})
        assert [settings.current_password(), settings.current_password()] == [b"first", b"second"]

    def test_of_a_callable_is_not_asked_for_before_a_connection_is_made(self):
        def never():
            raise AssertionError

        db = Database("mysql://app@127.0.0.1:1/shop", password=never)
        with db.scope():
            pass

    def test_of_a_callable_that_fails_fails_the_connection_with_its_own_error(self):
        def unreachable():
            raise LookupError("no such secret")

        db = Database("mysql://app@127.0.0.1:1/shop", password=unreachable)
        with pytest.raises(LookupError, match="no such secret"), db.scope() as session:
            session.connection()

    @pytest.mark.parametrize("answer", [None, 5, {"password": SECRET}], ids=repr)
    def test_of_a_callable_that_gives_no_text_is_refused(self, answer):
        settings = Settings(**{**ADDRESS, "password": lambda: answer})
        with pytest.raises(ConfigurationError, match="DB_PASSWORD") as refused:
            settings.current_password()
        assert SECRET not in everything_told(refused.value)

    @pytest.mark.parametrize("password", [5, None, ["x"], {"password": SECRET}], ids=repr)
    def test_of_another_type_is_refused_by_its_variable(self, password):
        with pytest.raises(ConfigurationError, match="DB_PASSWORD") as refused:
            Settings(**{**ADDRESS, "password": password})
        assert SECRET not in everything_told(refused.value)

    def test_that_is_no_utf_8_in_the_environment_is_sent_byte_by_byte(self):
        as_python_reads_it = b"Pa55\xff".decode("utf-8", "surrogateescape")
        settings = Settings.from_env({**ENVIRON, "DB_PASSWORD": as_python_reads_it})
        assert settings.current_password() == b"Pa55\xff"


class TestTheSecretIsShownNowhere:
    def test_in_what_stands_for_the_settings(self):
        settings = Settings.from_url(URL)
        db = Database(settings)
        shown = [settings, settings.url(), db, db.engine, db.engine.url, db.engine.pool]
        assert SECRET not in " ".join(f"{each} {each!r}" for each in shown)
        assert SECRET not in settings.url().render_as_string(hide_password=False)
        assert "db.example" in repr(db)
        assert "shop" in repr(db)

    def test_in_what_sqlalchemy_keeps_of_the_engine(self):
        engine = create_engine(URL)
        assert SECRET not in repr(vars(engine)) + repr(engine.url._asdict())
        assert engine.url.password is None
        assert engine.hide_parameters

    def test_in_what_is_logged(self, caplog):
        db = Database(URL.replace("db.example", "127.0.0.1:1"), connect_timeout=1)
        log = logging.getLogger("tests.settings")
        with caplog.at_level(logging.DEBUG):
            log.info("%s %r %s %r %s", db, db, db.engine, db.engine, db.engine.url)
            with pytest.raises(ConnectError), db.scope() as session:
                session.connection()
        assert "127.0.0.1" in caplog.text
        assert SECRET not in caplog.text

    @pytest.mark.parametrize(
        "url",
        [
            f"mysql://app:x@{SECRET}:y@db.example/shop",
            f"mysql://app:x:{SECRET}@db.example:33o6/shop",
            f"mysql://app:x@y:{SECRET}@db.example:3306/shop",
            f"mysql://app:p@db.example:{SECRET}/shop",
            f"mysql://app:{SECRET}@db.example:0/shop",
            f"mysql://app:{SECRET}@db.example:99999/shop",
            f"mysql://app:{SECRET}@/shop",
            f"mysql://app:{SECRET}@db.example/shop?password={SECRET}",
            f"mysql://app:{SECRET}@db.example/shop?ssl_key_password={SECRET}",
            f"mysql+{SECRET.lower()}",
            f"app:{SECRET}@db.example",
            f"mysql:/app:{SECRET}@db.example/shop",
        ],
    )
    def test_in_the_error_of_a_wrong_url(self, url):
        with pytest.raises(ConfigurationError) as refused:
            Settings.from_env({"DATABASE_URL": url})
        assert "DATABASE_URL" in str(refused.value)
        assert SECRET.lower() not in everything_told(refused.value).lower()

    @pytest.mark.parametrize(
        "url",
        [
            f"mysql://app:x@{SECRET}@db.example/shop",
            f"mysql://app:x@{SECRET}/y@db.example/shop",
            f"mysql://app:x@y/{SECRET}@db.example/shop",
        ],
    )
    def test_in_the_host_of_a_url_whose_password_holds_an_unquoted_at_sign(self, url):
        with pytest.raises(ConfigurationError, match=r"DATABASE_URL.*percent-encoded") as refused:
            Settings.from_url(url)
        assert SECRET not in everything_told(refused.value)

    @pytest.mark.parametrize("sign", [":", "/", "#", "?", "%", "[", "%zz", "="])
    def test_and_a_sign_that_is_clear_without_quoting_is_part_of_the_password(self, sign):
        settings = Settings.from_url(f"mysql://app:x{sign}{SECRET}@db.example/shop")
        assert settings.current_password() == f"x{sign}{SECRET}".encode()
        assert (settings.host, settings.database) == ("db.example", "shop")
        assert SECRET not in repr(settings)

    @pytest.mark.parametrize(
        "environ",
        [
            {**ENVIRON, "DB_PORT": f"x@{SECRET}"},
            {**ENVIRON, "DAL_CONNECT_TIMEOUT": SECRET},
            {**ENVIRON, "DAL_CONNECT_TIMEOUT": "-1"},
            {**ENVIRON, "DAL_COLOUR": SECRET},
            {**ENVIRON, "DB_HOST": ""},
            {**ENVIRON, "DB_USER": ""},
            {**ENVIRON, "DB_NAME": ""},
            {**ENVIRON, "DAL_TLS": "maybe"},
            {**ENVIRON, "DAL_TLS_CA": "/missing.pem"},
            {**ENVIRON, "DATABASE_URL": URL},
        ],
        ids=lambda environ: "-".join(set(environ) - set(ENVIRON)),
    )
    def test_in_the_error_of_a_wrong_variable(self, environ):
        with pytest.raises(ConfigurationError) as refused:
            Database.from_env(environ)
        assert SECRET not in everything_told(refused.value)

    def test_in_the_error_of_a_connection_that_fails(self):
        db = Database(URL.replace("db.example", "127.0.0.1:1"), connect_timeout=1)
        with pytest.raises(Error) as failed, db.scope() as session:
            session.connection()
        assert "127.0.0.1:1" in str(failed.value)
        assert SECRET not in everything_told(failed.value)


class TestWhoTakesSettings:
    @pytest.mark.parametrize("build", [Database, create_engine])
    def test_a_url_with_keywords(self, build):
        build(URL, statement_timeout=2.5)

    @pytest.mark.parametrize("build", [Database, create_engine])
    def test_ready_settings(self, build):
        build(Settings(**ADDRESS))

    @pytest.mark.parametrize("build", [Database, create_engine])
    def test_not_both_ready_settings_and_keywords(self, build):
        with pytest.raises(ConfigurationError, match="either Settings or keywords"):
            build(Settings(**ADDRESS), tls="verify")

    @pytest.mark.parametrize("build", [Database, create_engine, Settings.from_url])
    def test_and_check_them_before_anything_is_opened(self, build):
        with pytest.raises(ConfigurationError, match="DAL_STATEMENT_TIMEOUT"):
            build(URL, statement_timeout=-1)

    def test_a_configuration_error_is_a_value_error_of_dal(self):
        assert issubclass(ConfigurationError, Error)
        assert issubclass(ConfigurationError, ValueError)

    def test_settings_do_not_change(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            Settings(**ADDRESS).host = "other"

    def test_settings_survive_pickling(self):
        settings = Settings(**ADDRESS)
        assert pickle.loads(pickle.dumps(settings)) == settings


class TestTheProfileOfMigrations:
    def test_has_no_limit_on_statements_and_silence(self):
        profile = Settings(**ADDRESS).for_migrations()
        assert (profile.statement_timeout, profile.idle_timeout) == (None, None)

    def test_waits_for_locks_for_a_short_time_only(self):
        assert Settings(**ADDRESS, lock_wait_timeout=600).for_migrations().lock_wait_timeout == 10

    def test_keeps_address_password_and_tls(self, authority):
        settings = Settings(**ADDRESS, tls_ca=authority, port=3307, connect_timeout=3)
        profile = settings.for_migrations()
        for name in ("host", "port", "user", "password", "database", "tls", "tls_ca"):
            assert getattr(profile, name) == getattr(settings, name)
        assert profile.connect_timeout == 3

    def test_leaves_the_settings_that_it_was_made_of_alone(self):
        settings = Settings(**ADDRESS)
        settings.for_migrations()
        assert settings.statement_timeout is not None

    def test_keeps_a_percent_sign_in_the_password(self):
        settings = Settings.from_url("mysql://app:50%25%20off@db.example/shop")
        assert settings.for_migrations().current_password() == b"50% off"


class TestWhatIsDoneWithValues:
    @pytest.mark.parametrize("key", ["", "short", b"", b"x" * 15, 5, ["x" * 40]])
    def test_a_key_for_page_tokens_is_long_enough_to_be_one(self, key):
        with pytest.raises(ConfigurationError, match=r"page_token_key .* DAL_PAGE_TOKEN_KEY") as no:
            Settings(host="h", user="u", database="d", page_token_key=key)
        assert "short" not in str(no.value)

    def test_a_key_for_page_tokens_comes_from_the_environment_and_is_shown_nowhere(self):
        environ = {"DATABASE_URL": "mysql://u@h/d", "DAL_PAGE_TOKEN_KEY": "sesame" * 5}
        settings = Settings.from_env(environ)
        assert settings.page_token_key == b"sesame" * 5
        assert "sesame" not in repr(settings)

    @pytest.mark.parametrize("name", ["json_serializer", "json_deserializer"])
    def test_a_serializer_is_a_callable_given_as_a_keyword(self, name):
        for wrong in ("json.dumps", 5):
            with pytest.raises(ConfigurationError, match=f"{name} is no callable"):
                Settings(host="h", user="u", database="d", **{name: wrong})
        assert getattr(Settings(host="h", user="u", database="d", **{name: str}), name) is str
