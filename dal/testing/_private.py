"""A private server, from a program of this machine, in a directory that goes when it does."""

import contextlib
import os
import random
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pymysql

from dal.testing._keeper import Keeper
from dal.testing._rung import (
    FAST_OPTIONS,
    MYSQL_OPTIONS,
    Answer,
    Running,
    Unavailable,
    Wanted,
    ask,
    complaint,
)
from dal.testing._template import lay_out

_START_LIMIT = 60.0
_HOST = "127.0.0.1"
_ADMIN = "root"

# Where systems keep servers that the PATH of a user does not name.
_SBIN = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/mysql/bin")

# Options that shape the data directory: given when it is made, and part of its key in the cache.
_AT_BIRTH = (
    "--innodb-doublewrite",
    "--innodb-log-file-size",
    "--innodb-page-size",
    "--loose-innodb-redo-log-capacity",
    "--lower-case-table-names",
)

# MariaDB's own defaults are latin1 and a laxer sql_mode; its nearest collation to MySQL 8's
# utf8mb4_0900_ai_ci also ignores case and accents and does not pad.
_LIKE_MYSQL = (
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_unicode_520_nopad_ci",
    "--sql-mode=ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
    "--max-allowed-packet=64M",
    "--explicit-defaults-for-timestamp=ON",
    "--loose-innodb-snapshot-isolation=OFF",
    "--innodb-log-file-size=8M",
)


@dataclass(frozen=True)
class _Program:
    path: str
    version: str  # the whole line that --version gives

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in self.version.lower()


def mysqld(wanted: Wanted) -> Running:
    """Start a private MySQL.

    Raises:
        Unavailable: this machine has none, or it does not start.
    """
    program = _program("mysqld")
    if program is None:
        raise Unavailable("mysqld is not installed")
    if program.is_mariadb:
        raise Unavailable(f"{program.path} is MariaDB, not MySQL")
    born_with = [program.path, "--no-defaults", "--initialize-insecure", *_as_root()]
    # No directory for LOAD DATA and INTO OUTFILE: the built-in one may not exist, which is fatal.
    options = (*MYSQL_OPTIONS, "--secure-file-priv=NULL")
    return _start(program, born_with, options, wanted)


def mariadbd(wanted: Wanted) -> Running:
    """Start a private MariaDB, set up like MySQL where it can be.

    Raises:
        Unavailable: this machine has none, or it does not start.
    """
    program = _program("mariadbd") or _program("mysqld")
    if program is None or not program.is_mariadb:
        raise Unavailable("mariadbd is not installed")
    installer = _which("mariadb-install-db") or _which("mysql_install_db")
    if installer is None:
        raise Unavailable(f"mariadb-install-db, which {program.path} needs, is not installed")
    born_with = [installer, "--no-defaults", "--skip-test-db", *_as_root()]
    options = (*FAST_OPTIONS, *_LIKE_MYSQL)
    return _start(program, born_with, options, wanted)


def _which(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *_SBIN)))


def _program(name: str) -> _Program | None:
    path = _which(name)
    if path is None:
        return None
    try:
        # --no-defaults must be first: the files of this machine are for its own server. The version
        # must be asked: where MariaDB is installed, mysqld is another name for it.
        said = subprocess.run(
            [path, "--no-defaults", "--version"],
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return _Program(path, said.stdout.strip())


def _as_root() -> list[str]:
    # Both servers refuse root's account unless it is named.
    return ["--user=root"] if os.geteuid() == 0 else []


def _start(
    program: _Program, born_with: list[str], options: tuple[str, ...], wanted: Wanted
) -> Running:
    every_option = [*options, *wanted.options()]
    at_birth = [o for o in every_option if o.replace("_", "-").startswith(_AT_BIRTH)]

    def initialise(data: Path) -> list[str]:
        return [*born_with, *at_birth, f"--datadir={data}"]

    password = secrets.token_hex(16)
    directory = Path(tempfile.mkdtemp(prefix="dal-"))
    try:
        lay_out(directory / "data", program.version, initialise, wanted.say)
        _write_files(directory, wanted.files, password)
    except BaseException as error:
        shutil.rmtree(directory)
        if isinstance(error, OSError | subprocess.SubprocessError):
            raise Unavailable(f"{program.path} got no data directory: {_why(error)}") from error
        raise
    port = _free_port()
    keeper = Keeper(
        "process",
        str(directory),
        program.path,
        "--no-defaults",
        *_as_root(),
        f"--datadir={directory / 'data'}",
        f"--pid-file={directory / 'pid'}",
        f"--init-file={directory / 'init.sql'}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        # No Unix socket: its path would have to be short, which TMPDIR need not be.
        "--socket=",
        *options,
        *wanted.options(str(directory / "files")),
    )
    address, login = (_HOST, port), (_ADMIN, password)
    try:
        answer = _first_answer(keeper, address, login)
    except BaseException:
        keeper.end()
        raise
    return Running(
        what=f"a private server from {program.path}, version {answer.version}",
        address=address,
        login=login,
        answer=answer,
        stop=keeper.end,
    )


def _write_files(directory: Path, files: dict[str, bytes], password: str) -> None:
    (directory / "files").mkdir()
    for name, content in files.items():
        (directory / "files" / name).write_bytes(content)
    # 'root'@'localhost' alone would not do: without name resolution 127.0.0.1 is not it.
    (directory / "init.sql").write_text(
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';\n"
        f"CREATE USER '{_ADMIN}'@'%' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON *.* TO '{_ADMIN}'@'%' WITH GRANT OPTION;\n"
    )


def _why(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return complaint(error.output)
    return str(error)


def _free_port() -> int:
    # Below the ports that systems give to outgoing connections: one of those could take it between
    # here and the server's start. Not from `random`: test runs seed it alike in every worker.
    for port in random.SystemRandom().sample(range(20000, 30000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((_HOST, port))
            return port
    raise Unavailable("none of a hundred ports between 20000 and 30000 is free")


def _first_answer(keeper: Keeper, address: tuple[str, int], login: tuple[str, str]) -> Answer:
    deadline = time.monotonic() + _START_LIMIT
    while True:
        if keeper.ended:
            raise Unavailable(f"the private server did not start: {complaint(keeper.log())}")
        try:
            return ask(address, login)
        except pymysql.err.OperationalError as error:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the private server did not answer in {_START_LIMIT:.0f} s: {error}"
                ) from error
        time.sleep(0.01)
