"""What `dal` needs to know to reach a server, checked before anything is opened."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from dal.credentials import SHAPES, Credentials, is_known
from dal.errors import ConfigurationError

TLSMode = Literal["verify", "unverified", "disabled"]
Report = Literal["off", "log", "emf"]
Pool = Literal["none", "warm"]
Password = str | bytes | Callable[[], str | bytes]

_DRIVERS = {"mysql", "mysql+pymysql", "mysql+dal"}
# 64 characters are the most that a table's name may have.
_PREFIX = re.compile(r"[A-Za-z0-9_]{1,40}")
_FROM_URL = ("host", "port", "user", "password", "database")
_NUMBERS: dict[str, type[int] | type[float]] = {
    "port": int,
    "connect_timeout": float,
    "statement_timeout": float,
    "lock_wait_timeout": int,
    "idle_timeout": int,
    "max_statement_bytes": int,
    "max_result_bytes": int,
    "slow_statement": float,
    "max_idle_seconds": int,
    "max_age_seconds": int,
}
_MAY_BE_NONE = {"statement_timeout", "idle_timeout", "slow_statement"}
_LOWEST = {int: 1, float: 0.001}
_HIGHEST = {"port": 65535, "max_result_bytes": 2**40}
# The tests' own, and those of dal.migrate, which reads them itself.
_OF_OTHERS = ("DAL_TEST_", "DAL_MIGRATE_")
_SHORTEST_KEY = 16
_SWITCH = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}
_URL_SHAPE = "mysql://USER:PASSWORD@HOST:3306/DATABASE, with special characters percent-encoded"


#: What the names of `dal`'s own tables begin with.
TABLE_PREFIX = "dal_"

#: RDS Proxy pins a connection whose statement has more than 16 KB, its guide says.
UNPINNED_BYTES = 16_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the database is and how long anything may take.

    Built by `from_env()`, `from_url()` or by keywords; a wrong value fails here, with the name of
    the setting and of its environment variable. The password is in no `repr` and no message.

    Attributes:
        host, port, user, database: The address, as in the URL.
        password: Text, UTF-8 bytes, or a callable asked at each connect.
        credentials: In place of a password: "secretsmanager:NAME_OR_ARN", "ssm:PARAMETER", "iam",
            or a callable `(address, refused) -> Login`. Asked again where the server refuses the
            login, until another one comes.
        tls: "verify" checks the certificate's chain and host name, and is the default for every
            host but loopback; "unverified" encrypts without checking, the default on loopback,
            whose certificates MySQL makes itself; "disabled" sends everything in the clear.
        tls_ca: File of the certificates to trust, PEM; default: those of the operating system.
        connect_timeout: Seconds for TCP, greeting, TLS and login together, all tries included; a
            server that is full is waited for until the deadline, where there is one.
        statement_timeout: Seconds for one statement, its whole result included; None: no limit.
            The server ends a SELECT by itself then; the client gives up a second later.
        lock_wait_timeout: Whole seconds to wait for a row lock or a table's metadata lock; InnoDB
            looks once a second, so that a row may take one more. What a frozen function holds goes
            so much later.
        idle_timeout: Whole seconds after which the server drops a connection that went silent, and
            its locks; counted from the last statement. A deadline takes its place. None: the
            server's own.
        max_statement_bytes: Bytes that a statement of many rows may have; more are sent as
            several. Behind RDS Proxy 16,000: a longer one pins its connection.
        max_result_bytes: Bytes that a result may have on the wire; of a stream, one row. As objects
            of Python it takes several times as much.
        report: "log" writes a line for each unit of work to the logger `dal.report`, "emf" writes
            it to stdout in CloudWatch's embedded metric format; "off", the default, nothing.
        slow_statement: Seconds from which on a statement is reported to the logger `dal.slow`,
            without its parameters; None: none is.
        pool: "none" makes a new connection for each scope; "warm" keeps one session per process
            and lends it to one scope at a time.
        max_idle_seconds: Whole seconds that a kept session may wait for its next scope.
        max_age_seconds: Whole seconds after its login until a session is not kept any more.
        proxy: Whether this is an RDS Proxy: nothing is sent that would pin its connection, hence
            none of the server's own limits.
        table_prefix: What the names of `dal`'s own tables begin with: letters, digits and _.
        json_serializer: Makes the text of a JSON document; None: `dal`'s own, which refuses what
            would not come back as it is, and makes a number of a Decimal.
        json_deserializer: Makes the document of the text; None: `json.loads`.
        page_token_key: Signs the tokens of pages; text or bytes, 16 bytes or more. A token that
            it did not sign is refused. None: tokens are not signed.
        commit_marker: Whether each scope that writes has a row in `dal`'s own table, by which the
            outcome of a COMMIT is found out whose answer was lost; a round trip more.
    """

    host: str
    port: int = 3306
    user: str
    password: Password = field(default=b"", repr=False)
    credentials: Credentials | str | None = field(default=None, repr=False)
    database: str
    tls: TLSMode | None = None
    tls_ca: str | Path | None = None
    connect_timeout: float = 5.0
    statement_timeout: float | None = 30.0
    lock_wait_timeout: int = 2
    idle_timeout: int | None = 60
    max_statement_bytes: int = 1_000_000
    max_result_bytes: int = 256_000_000
    report: Report = "off"
    slow_statement: float | None = None
    pool: Pool = "none"
    max_idle_seconds: int = 60
    max_age_seconds: int = 600
    proxy: bool = False
    table_prefix: str = TABLE_PREFIX
    json_serializer: Callable[[Any], str] | None = None
    json_deserializer: Callable[[str], Any] | None = None
    page_token_key: str | bytes | None = field(default=None, repr=False)
    commit_marker: bool = False

    def __post_init__(self) -> None:
        for name in ("host", "user", "database"):
            value = getattr(self, name)
            may_be_empty = name == "user" and self._credentials_name_the_user
            if not isinstance(value, str) or not (value or may_be_empty):
                raise _wrong(name, "is missing")
        for name, kind in _NUMBERS.items():
            value = getattr(self, name)
            if value is not None or name not in _MAY_BE_NONE:
                object.__setattr__(self, name, _number(name, value, kind))
        self._check_tls()
        if self.report not in get_args(Report):
            raise _wrong(
                "report", f"is {self.report!r}; write one of {', '.join(get_args(Report))}"
            )
        self._check_pool()
        if not isinstance(self.table_prefix, str) or not _PREFIX.fullmatch(self.table_prefix):
            raise _wrong("table_prefix", "is not 1 to 40 letters, digits and _")
        self._check_values()
        if not isinstance(self.password, str | bytes) and not callable(self.password):
            raise _wrong("password", "is neither text nor bytes nor a callable")
        self._check_credentials()

    @property
    def _credentials_name_the_user(self) -> bool:
        return self.credentials is not None and self.credentials != "iam"

    def _check_credentials(self) -> None:
        given = self.credentials
        if given is None:
            return
        if isinstance(given, str):
            if not is_known(given):
                raise _wrong("credentials", f"is none of {SHAPES}")
        elif not callable(given):
            raise _wrong("credentials", f"is neither a callable nor one of {SHAPES}")
        if self.password:
            raise _wrong("credentials", "and a password are both set; unset one of them")
        if given == "iam" and self.tls != "verify":
            # The server asks for the token in clear text.
            raise _wrong("credentials", f"is 'iam', which needs tls='verify', not {self.tls!r}")

    def wrong_credentials(self, came: str) -> ConfigurationError:
        """Return the error for credentials that give a `came` in place of a `Login`."""
        return _wrong("credentials", f"gave a {came}, not a dal.credentials.Login")

    def _check_values(self) -> None:
        for name in ("json_serializer", "json_deserializer"):
            given = getattr(self, name)
            if given is not None and not callable(given):
                raise _wrong(name, "is no callable; it is given as a keyword")
        key = self.page_token_key
        if isinstance(key, str):
            key = key.encode("utf-8", "surrogateescape")
            object.__setattr__(self, "page_token_key", key)
        if key is not None and (not isinstance(key, bytes) or len(key) < _SHORTEST_KEY):
            raise _wrong("page_token_key", f"is no text or bytes of {_SHORTEST_KEY} bytes or more")

    def _check_tls(self) -> None:
        if self.tls is None:
            object.__setattr__(self, "tls", "unverified" if is_loopback(self.host) else "verify")
        elif self.tls not in get_args(TLSMode):
            raise _wrong("tls", f"is {self.tls!r}; write one of {', '.join(get_args(TLSMode))}")
        if self.tls_ca is not None:
            if self.tls != "verify":
                raise _wrong("tls_ca", f"has no meaning while tls is {self.tls!r}")
            if not Path(self.tls_ca).is_file():
                raise _wrong("tls_ca", f"names {str(self.tls_ca)!r}, which is not a file")

    def _check_pool(self) -> None:
        for name in ("proxy", "commit_marker"):
            object.__setattr__(self, name, _switch(name, getattr(self, name)))
        if self.pool not in get_args(Pool):
            raise _wrong("pool", f"is {self.pool!r}; write one of {', '.join(get_args(Pool))}")
        if self.proxy and self.pool == "warm":
            # Nobody says what COM_RESET_CONNECTION does there.
            raise _wrong("pool", "is 'warm' in front of a proxy, which is a pool itself; use one")
        if self.proxy:
            fitting = min(self.max_statement_bytes, UNPINNED_BYTES)
            object.__setattr__(self, "max_statement_bytes", fitting)

    @classmethod
    def from_url(cls, url: str | URL, **settings: Any) -> Self:
        """Read the address from a URL; every other setting is a keyword.

        Raises:
            ConfigurationError: the URL or a setting is wrong; never shows the URL.
        """
        return cls._checked({**_from_url(url), **settings})

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """Read `DATABASE_URL`, or `DB_HOST`, `DB_PORT`, `DB_USER`, `DB_PASSWORD`, `DB_NAME`.

        Every other setting comes from `DAL_<NAME>`, such as `DAL_STATEMENT_TIMEOUT`. Keywords
        stand above variables.

        Raises:
            ConfigurationError: a variable is missing, wrong, or unknown.
        """
        environ = os.environ if environ is None else environ
        found: dict[str, Any] = {}
        for variable, value in environ.items():
            if variable.startswith("DAL_") and not variable.startswith(_OF_OTHERS):
                name = variable.removeprefix("DAL_").lower()
                if name in _FROM_URL or name not in _names(cls):
                    raise ConfigurationError(f"{variable} is no setting of dal{_near(name, cls)}")
                is_none = name in _MAY_BE_NONE and value.strip().lower() == "none"
                found[name] = None if is_none else value
        parts = {
            name: environ[variable]
            for name, variable in zip(_FROM_URL, _ADDRESS_VARIABLES, strict=True)
            if environ.get(variable)
        }
        if environ.get("DATABASE_URL"):
            for variable in _ADDRESS_VARIABLES:
                if environ.get(variable):
                    raise ConfigurationError(
                        f"DATABASE_URL and {variable} are both set; unset one of them"
                    )
            found |= _from_url(environ["DATABASE_URL"])
        elif parts or not settings:
            found |= parts
            if "host" not in found and "host" not in settings:
                raise ConfigurationError(
                    "the database is not named: set DATABASE_URL, or DB_HOST with DB_USER, "
                    "DB_PASSWORD and DB_NAME"
                )
        return cls._checked({**found, **settings})

    @classmethod
    def _checked(cls, values: dict[str, Any]) -> Self:
        for name in values:
            if name not in _names(cls):
                raise ConfigurationError(f"{name} is no setting of dal{_near(name, cls)}")
        for name in ("host", "user", "database"):
            values.setdefault(name, "")
        return cls(**values)

    def for_migrations(self) -> Self:
        """Return the profile of migrations: no limit on statements, a short one on lock waits.

        A read timeout in the middle of an ALTER would leave it applied and not recorded, and an
        ALTER that waits behind one forgotten transaction makes everybody else wait behind it. That
        limit pins the one connection of a migration behind a proxy, which costs nobody anything.
        """
        return dataclasses.replace(
            self,
            statement_timeout=None,
            idle_timeout=None,
            lock_wait_timeout=10,
            pool="none",
            proxy=False,
        )

    def current_password(self) -> bytes:
        """Return the password as UTF-8; PyMySQL would make Latin-1 of text."""
        password = self.password() if callable(self.password) else self.password
        if not isinstance(password, str | bytes):
            raise _wrong("password", f"came as {type(password).__name__} from its callable")
        # Bytes that are not UTF-8 come from the environment as surrogates.
        return (
            password.encode("utf-8", "surrogateescape") if isinstance(password, str) else password
        )

    def url(self) -> URL:
        """Return the address as SQLAlchemy shows it, without the password."""
        return URL.create(
            "mysql+dal",
            username=self.user or None,
            host=self.host,
            port=self.port,
            database=self.database,
        )


def settings_of(url: str | URL | Settings, **settings: Any) -> Settings:
    """Return ready settings as they are, or those of a URL with keywords.

    Raises:
        ConfigurationError: a setting is wrong, or there are keywords beside ready settings.
    """
    if not isinstance(url, Settings):
        return Settings.from_url(url, **settings)
    if settings:
        raise ConfigurationError("give either Settings or keywords, not both")
    return url


_ADDRESS_VARIABLES = ("DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME")


def _from_url(url: str | URL) -> dict[str, Any]:
    # `from None`: the causes of these errors quote parts of the URL, which may be the password.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            f"DATABASE_URL is not a database URL; write {_URL_SHAPE}"
        ) from None
    if parsed.drivername not in _DRIVERS:
        raise ConfigurationError(
            f"DATABASE_URL is for {parsed.drivername!r}; dal speaks to MySQL: write {_URL_SHAPE}"
        )
    options = {name for name in parsed.query if name != "charset"}
    if any(name.startswith("ssl") for name in options):
        raise ConfigurationError(
            "DATABASE_URL holds ssl options, several spellings of which verify nothing; "
            "use DAL_TLS and DAL_TLS_CA"
        )
    if options or parsed.query.get("charset", "utf8mb4") != "utf8mb4":
        raise ConfigurationError(
            f"DATABASE_URL holds options ({', '.join(sorted(parsed.query))}); "
            "set them as DAL_<NAME>; the character set is always utf8mb4"
        )
    if "@" in (parsed.host or "") + (parsed.database or ""):
        raise ConfigurationError(
            f"DATABASE_URL has an @ too many, perhaps in the password; write {_URL_SHAPE}"
        )
    parts = {
        "host": parsed.host,
        "port": parsed.port,
        "user": parsed.username,
        "password": parsed.password,
        "database": parsed.database,
    }
    return {name: value for name, value in parts.items() if value is not None}


def _names(cls: type[Settings]) -> set[str]:
    return {item.name for item in dataclasses.fields(cls)}


def _near(name: str, cls: type[Settings]) -> str:
    import difflib  # noqa: PLC0415  # only to say what is wrong

    near = difflib.get_close_matches(name, sorted(_names(cls)), n=1)
    if near:
        return f"; did you mean {_variable(near[0])}?"
    return f"; there are {', '.join(sorted(_names(cls)))}"


def _variable(name: str) -> str:
    if name in _FROM_URL:
        return _ADDRESS_VARIABLES[_FROM_URL.index(name)]
    return f"DAL_{name.upper()}"


def _wrong(name: str, why: str) -> ConfigurationError:
    also = " (or that part of DATABASE_URL)" if name in _FROM_URL else ""
    return ConfigurationError(f"{name} {why}; its variable is {_variable(name)}{also}")


def _number(name: str, value: object, kind: type[int] | type[float]) -> float:
    low, high = _LOWEST[kind], _HIGHEST.get(name, 31_536_000)
    # `from None` and no value in the text: a badly quoted password ends up in the port.
    try:
        number = kind(cast("Any", value))
        exact = isinstance(value, str) or number == value  # int(2.5) is 2
        fits = exact and not isinstance(value, bool) and low <= number <= high
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        noun = "a whole number" if kind is int else "a number"
        raise _wrong(name, f"is not {noun} from {low:g} to {high}") from None
    return number


def _switch(name: str, value: object) -> bool:
    found = _SWITCH.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise _wrong(name, "is neither true nor false")
    return found


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine by its loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
