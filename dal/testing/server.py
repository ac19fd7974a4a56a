"""The server ladder: a MySQL server for tests and demos, from whatever this machine has.

The rungs, in order: a running server that `DAL_TEST_URL` names; a MySQL container
(`DAL_TEST_IMAGE`, else mysql:9.7) through testcontainers; a private `mysqld` of this machine; a
private `mariadbd`, the stand-in where no MySQL can run. `DAL_TEST_RUNG` names the one rung to take.

A server that the ladder started is reached by loopback where the engine is near, has a random
password, and ends with the process, whatever ends that.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self, TypeAlias, get_args

import pymysql
from pymysql.constants import ER
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from dal.testing import _private
from dal.testing._rung import Running, Unavailable, Wanted, ask, connect, is_loopback

Rung: TypeAlias = Literal["url", "container", "mysqld", "mariadbd"]
"""Where a server came from."""

_NO_FILES: Mapping[str, bytes] = MappingProxyType({})
_DROP_LIMIT = 10


class NoServer(RuntimeError):
    """No rung of the ladder can be had, or not the one that the environment asks for."""


@dataclass(frozen=True)
class Server:
    """A server that runs, and an administrator's account on it; as a context manager, it stops."""

    rung: Rung
    reason: str
    """One sentence: what this server is, and why the rungs above were not taken."""
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    version: str
    """As `SELECT VERSION()` gives it."""
    is_mariadb: bool
    has_tls: bool
    _stop: Callable[[], None] = field(repr=False, compare=False)

    def url(
        self, database: str = "", *, user: str | None = None, password: str | None = None
    ) -> str:
        """Return the quoted URL for SQLAlchemy; the administrator's where no user is named."""
        account = (self.user, self.password) if user is None else (user, password)
        url = URL.create("mysql+pymysql", *account, self.host, self.port, database or None)
        return url.render_as_string(hide_password=False)

    def environment(self, database: str) -> dict[str, str]:
        """Return the variables by which `Database.from_env()` reaches a database here."""
        variables = {"DATABASE_URL": self.url(database)}
        if not self.has_tls:
            variables["DAL_TLS"] = "disabled"
        elif self.rung == "container" and not is_loopback(self.host):
            # A container's certificate is made by itself, which `dal` takes on loopback only.
            variables["DAL_TLS"] = "unverified"
        return variables

    def connect(self, database: str | None = None, **kwargs: Any) -> Any:
        """Return a new `pymysql.Connection` of the administrator's, in autocommit.

        The certificate is not verified. `kwargs` are PyMySQL's own, and win.

        Raises:
            pymysql.err.OperationalError: the server is gone, or has no such database.
        """
        account = (self.user, self.password)
        return connect(
            (self.host, self.port), account, tls=self.has_tls, database=database, **kwargs
        )

    def create_database(self, name: str) -> None:
        """Create an empty database, of the server's default character set.

        Raises:
            pymysql.err.ProgrammingError: there is one of this name (1007).
        """
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {_quoted(name)}")

    def drop_database(self, name: str) -> None:
        """Drop a database with all that is in it, after ending the sessions that are in it.

        A transaction that a test left open would otherwise hold the DROP back for ever.

        Raises:
            pymysql.err.OperationalError: there is none (1008), or a session of another database
                holds one of its tables for over 10 seconds (1205).
        """
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW PROCESSLIST")
            for session in [row[0] for row in cursor.fetchall() if row[3] == name]:
                _kill(cursor, session)
            cursor.execute(f"SET SESSION lock_wait_timeout = {_DROP_LIMIT}")
            cursor.execute(f"DROP DATABASE {_quoted(name)}")

    def stop(self) -> None:
        """End the server and remove all of it; a server that `DAL_TEST_URL` named stays as it is.

        A second call does nothing.

        Raises:
            RuntimeError: something of it could not be removed; the message says what.
        """
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_server(
    *,
    options: Sequence[str] = (),
    files: Mapping[str, bytes] = _NO_FILES,
    say: Callable[[str], None] | None = None,
    accept_mariadb: bool = True,
) -> Server:
    """Start a server, or find the one that the environment names, and return it ready.

    `options` are mysqld's own, `--name=value`. `files` are put, by name, where the server can read
    them, and `{files}` in an option stands for that directory. `say` hears what takes long, and at
    the end which rung was taken and why.

    Raises:
        NoServer: no rung can be had, or not the one that `DAL_TEST_RUNG` or `DAL_TEST_URL` ask for;
            the message gives the reason of each and what to install.
        ValueError: `DAL_TEST_RUNG` names no rung, or `files` has a name with a directory in it.
    """
    say = say or _say_nothing
    wanted = Wanted(options, files, say)
    only = _asked_for()
    refusals: dict[str, str] = {}
    for rung, start in _RUNGS.items():
        if only not in (None, rung):
            continue
        try:
            if rung == "mariadbd" and not accept_mariadb:
                raise Unavailable("MariaDB will not do here")
            running = start(wanted)
            if running.is_mariadb and not accept_mariadb:
                running.stop()
                raise Unavailable(f"{running.what}, will not do here: it is MariaDB")
        except Unavailable as refusal:
            refusals[rung] = str(refusal)
            continue
        server = _server(rung, running, _reason(running, only, refusals))
        say(server.reason)
        return server
    raise NoServer(_nothing(only, refusals))


def _say_nothing(_: str) -> None:
    pass


def _asked_for() -> str | None:
    only = os.environ.get("DAL_TEST_RUNG")
    if only and only not in get_args(Rung):
        raise ValueError(f"DAL_TEST_RUNG is {only!r}; the rungs are {', '.join(get_args(Rung))}")
    return only or None


def _server(rung: Rung, running: Running, reason: str) -> Server:
    return Server(
        rung=rung,
        reason=reason,
        host=running.address[0],
        port=running.address[1],
        user=running.login[0],
        password=running.login[1],
        version=running.answer.version,
        is_mariadb=running.is_mariadb,
        has_tls=running.answer.tls,
        _stop=running.stop,
    )


def _reason(running: Running, only: str | None, refusals: Mapping[str, str]) -> str:
    if only:
        return f"{running.what}, as DAL_TEST_RUNG={only} asks."
    if refusals:
        return f"{running.what}, because {'; '.join(refusals.values())}."
    return f"{running.what}."


def _nothing(only: str | None, refusals: Mapping[str, str]) -> str:
    asked = f", where DAL_TEST_RUNG={only} allows one rung only" if only else ""
    reasons = "\n".join(f"  {rung}: {reason}" for rung, reason in refusals.items())
    return (
        f"No MySQL server can be had{asked}:\n{reasons}\n"
        "What helps: Docker and the image (docker pull mysql:9.7, or another in DAL_TEST_IMAGE);\n"
        "or a server on this machine (apt-get install mariadb-server; it need not run);\n"
        "or one that runs elsewhere (DAL_TEST_URL=mysql://root:PASSWORD@HOST:3306)."
    )


def _named_by_url(wanted: Wanted) -> Running:
    text = os.environ.get("DAL_TEST_URL")
    if not text:
        raise Unavailable("DAL_TEST_URL is not set")
    if wanted.a_server_of_its_own:
        raise Unavailable("DAL_TEST_URL names a server that runs already, with options of its own")
    try:
        url = make_url(text)
    except ArgumentError:
        # Without the cause, and without the text, which holds a password.
        raise NoServer("DAL_TEST_URL is not a URL: mysql://root:PASSWORD@HOST:3306") from None
    if url.get_backend_name() not in {"mysql", "mariadb"} or not url.host or url.query:
        raise NoServer("DAL_TEST_URL must read mysql://USER:PASSWORD@HOST:PORT, with no query")
    address = (url.host, url.port or 3306)
    login = (url.username or "root", url.password or "")
    try:
        answer = ask(address, login)
    except pymysql.err.OperationalError as error:
        # Not a reason to climb on: who names a server wants that one tested.
        raise NoServer(f"DAL_TEST_URL names a server that does not let us in: {error}") from error
    what = f"the server at {url.host}:{address[1]} that DAL_TEST_URL names, {answer.version}"
    return Running(what, address, login, answer, stop=_leave_it)


def _leave_it() -> None:
    """The end of a server that is not ours."""


def _in_a_container(wanted: Wanted) -> Running:
    try:
        from dal.testing import _container  # noqa: PLC0415 - takes half a second
    except ImportError as error:
        raise Unavailable(f"testcontainers cannot be used ({error})") from error
    return _container.container(wanted)


_RUNGS: Mapping[Rung, Callable[[Wanted], Running]] = {
    "url": _named_by_url,
    "container": _in_a_container,
    "mysqld": _private.mysqld,
    "mariadbd": _private.mariadbd,
}


def _kill(cursor: Any, session: int) -> None:
    try:
        cursor.execute(f"KILL {session}")
    except pymysql.err.OperationalError as error:
        if error.args[0] != ER.NO_SUCH_THREAD:  # it has ended by itself meanwhile
            raise


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
