"""The server, its tables, and the lines of different length that lead to it."""

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.authority import Authority
from benchmarks.events import ACCOUNTS, LINES
from dal.testing.server import Server, start_server

ROOT = Path(__file__).parents[1]

_TABLES = (
    "CREATE TABLE account (id BIGINT AUTO_INCREMENT PRIMARY KEY, owner VARCHAR(50) NOT NULL,"
    " balance INT NOT NULL)",
    "CREATE TABLE transfer (id BIGINT AUTO_INCREMENT PRIMARY KEY, source BIGINT NOT NULL,"
    " target BIGINT NOT NULL, amount INT NOT NULL)",
    "CREATE TABLE entry (id BIGINT PRIMARY KEY, owner VARCHAR(50) NOT NULL, balance INT NOT NULL)",
    "CREATE TABLE line LIKE entry",
    "INSERT INTO account (owner, balance)"
    " WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)"
    f" SELECT CONCAT('owner number ', n), n FROM n WHERE n <= {ACCOUNTS}",
    "SET SESSION cte_max_recursion_depth = 2000",
    "INSERT INTO line"
    " WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)"
    " SELECT x.n * 1000 + y.n + 1, CONCAT('owner number ', x.n * 1000 + y.n + 1), y.n"
    f" FROM n x STRAIGHT_JOIN n y WHERE y.n < 1000 AND x.n * 1000 + y.n < {LINES}",
    "ANALYZE TABLE account, line",
)


@dataclass(frozen=True)
class Site:
    """A server with a verified certificate, and a database with the tables on it."""

    server: Server
    database: str
    bundle: Path

    def execute(self, *statements: str) -> None:
        """Run statements as the administrator."""
        with self.server.connect(self.database) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def environment(self, *, tls: bool, port: int | None = None) -> dict[str, str]:
        """Return the variables of a function; `port` is that of a longer line."""
        return {
            "DB_HOST": "127.0.0.1" if port else self.server.host,
            "DB_PORT": str(port or self.server.port),
            "DB_USER": self.server.user,
            "DB_PASSWORD": self.server.password,
            "DB_NAME": self.database,
            "DB_CA": str(self.bundle) if tls else "",
        }

    @contextlib.contextmanager
    def line(self, round_trip_ms: float) -> Iterator[int | None]:
        """Give the port of a line with this round trip; None for the server's own, at 0."""
        if not round_trip_ms:
            yield None
            return
        address = [self.server.host, str(self.server.port), str(round_trip_ms / 1000)]
        command = [sys.executable, "-m", "benchmarks.line", *address]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            yield int(process.stdout.readline())
            process.stdin.close()


@contextlib.contextmanager
def a_site(say: Callable[[str], Any]) -> Iterator[Site]:
    """Start a server, fill the tables, and take all of it away in the end."""
    authority = Authority()
    with (
        tempfile.TemporaryDirectory() as directory,
        start_server(options=authority.options, files=authority.files, say=say) as server,
    ):
        bundle = Path(directory, "bundle.pem")
        bundle.write_bytes(authority.bundle)
        site = Site(server, f"bench_{secrets.token_hex(4)}", bundle)
        server.create_database(site.database)
        say(f"filling the tables: {LINES:,} rows")
        site.execute(*_TABLES)
        yield site


def cleaned_environment() -> dict[str, str]:
    """Return this process's variables without any that would reach a function's settings."""
    ours = ("DB_", "DAL_", "DATABASE_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
