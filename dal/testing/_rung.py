"""What every rung of the server ladder is asked for, what it gives, and how it says no."""

import functools
import ipaddress
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pymysql
from pymysql.constants import CR

FAST_OPTIONS = (
    "--innodb-flush-log-at-trx-commit=0",
    "--sync-binlog=0",
    "--skip-log-bin",
    "--innodb-doublewrite=OFF",
    "--performance-schema=OFF",
    "--skip-name-resolve",
)
"""Options of MySQL and MariaDB for a server whose data need not survive it."""

MYSQL_OPTIONS = (*FAST_OPTIONS, "--loose-mysqlx=OFF", "--loose-innodb-redo-log-capacity=8M")
"""The same with MySQL's own; `loose` for the versions that lack one."""


class Unavailable(Exception):
    """A rung that cannot be had here; the text is the reason, as a clause without a full stop."""


class Wanted:
    """What a caller of the ladder asks of a server.

    Raises:
        ValueError: a name in `files` is more than a file name.
    """

    def __init__(
        self,
        options: Sequence[str],
        files: Mapping[str, bytes],
        say: Callable[[str], None],
    ) -> None:
        for name in files:
            if PurePath(name).name != name:
                raise ValueError(f"files: {name!r} is not a plain file name")
        self.files = dict(files)
        self.say = say
        self._options = tuple(options)

    @property
    def a_server_of_its_own(self) -> bool:
        """Whether a server that runs already cannot serve."""
        return bool(self._options or self.files)

    def options(self, directory: str = "") -> list[str]:
        """The server options, with `{files}` read as the directory."""
        return [option.replace("{files}", directory) for option in self._options]


@dataclass(frozen=True)
class Answer:
    """What a server says of itself at login."""

    version: str
    tls: bool


@dataclass(frozen=True)
class Running:
    """A server that answers, and how to end it."""

    what: str
    address: tuple[str, int]
    login: tuple[str, str]
    answer: Answer
    stop: Callable[[], None]

    @property
    def is_mariadb(self) -> bool:
        """Whether it is a stand-in for MySQL."""
        return "mariadb" in self.answer.version.lower()


@functools.cache
def _any_certificate() -> ssl.SSLContext:
    # One for the process: building a context costs more than the connection.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(address: tuple[str, int], login: tuple[str, str], *, tls: bool, **kwargs: Any) -> Any:
    """Open an autocommitting connection; a server certificate is not verified.

    Raises:
        pymysql.err.OperationalError: nothing answers, or the login is refused.
    """
    # Always said: PyMySQL, told nothing of TLS, reads the CA bundle at each connect.
    encryption = {"ssl": _any_certificate()} if tls else {"ssl_disabled": True}
    settings: dict[str, Any] = {
        "host": address[0],
        "port": address[1],
        "user": login[0],
        "password": login[1],
        "autocommit": True,
        "charset": "utf8mb4",
        **encryption,
    }
    return pymysql.connect(**(settings | kwargs))


def ask(address: tuple[str, int], login: tuple[str, str]) -> Answer:
    """Log in once and read what the server is; within seconds where nothing answers.

    Raises:
        pymysql.err.OperationalError: nothing answers, or the login is refused.
    """
    tls = True
    # connect_timeout ends with the TCP handshake; the rest is for a port where no MySQL listens.
    limits = {"connect_timeout": 5, "read_timeout": 10, "write_timeout": 10}
    try:
        connection = connect(address, login, tls=tls, **limits)
    except pymysql.err.OperationalError as error:
        if error.args[0] != CR.CR_SSL_CONNECTION_ERROR:
            raise
        tls = False
        connection = connect(address, login, tls=tls, **limits)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        return Answer(version=cursor.fetchone()[0], tls=tls)


def complaint(log: str) -> str:
    """The line of a server's log that says why it stopped, or the last one."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "[ERROR]" in line]
    return next(iter(errors or lines[-1:]), "it said nothing")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
