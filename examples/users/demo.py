"""The stale read, reproduced and gone: the same two functions written in three ways.

    python -m examples.users.demo [--json]

One function stores a user, another reads it right after the first has answered. Both run warm, each
in a process of Lambda's own runtime client, against a real server. The exit status is 0 if the old
way read stale data and `dal` read none.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, median_low
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dal.testing.proxy import Proxy
from dal.testing.runtime import Function
from dal.testing.server import NoServer, Server, start_server

ROOT = Path(__file__).parents[2]
ROUNDS = 20

MODULES = {
    "naive": "examples.users.naive",
    "careful": "examples.users.careful",
    "dal": "examples.users.handlers",
}
TITLES = {"naive": "the old way", "careful": "by hand, carefully", "dal": "dal"}


@dataclass(frozen=True)
class Figures:
    """What one way of writing the functions came to; counts and times are of one invocation."""

    stale_reads: int
    connections_left: int
    create_round_trips: int
    read_round_trips: int
    create_ms: float
    read_ms: float
    user_stored: int
    answer_read: Any


@dataclass(frozen=True)
class Call:
    """One invocation."""

    answer: Any
    round_trips: int
    seconds: float


class Site:
    """A migrated database, and the proxy by which the functions reach it."""

    def __init__(self, server: Server, database: str, proxy: Proxy) -> None:
        self.server = server
        self.database = database
        self.proxy = proxy

    def environment(self) -> dict[str, str]:
        """Return the variables of the functions."""
        variables = self.server.environment(self.database)
        del variables["DATABASE_URL"]  # names the server, not the proxy
        return variables | {
            "DB_HOST": self.proxy.host,
            "DB_PORT": str(self.proxy.port),
            "DB_USER": self.server.user,
            "DB_PASSWORD": self.server.password,
            "DB_NAME": self.database,
        }

    def function(self, handler: str) -> Function:
        """Return a function as deployed."""
        return Function(handler, environment=self.environment(), path=[ROOT], timeout=10.0)

    def call(self, function: Function, event: object) -> Call:
        """Invoke, then freeze the process as Lambda does; a user that is not found is None."""
        before = self.proxy.round_trips
        invocation = function.invoke(event)
        function.freeze()
        missing = invocation.error is not None and invocation.error["errorType"] == "NotFound"
        return Call(
            answer=None if missing else invocation.answer(),
            round_trips=self.proxy.round_trips - before,
            seconds=invocation.duration,
        )

    def connections_left(self) -> int:
        """Return how many sessions the server still has for the functions, 1 s later at most."""
        deadline = time.monotonic() + 1
        with self.server.connect() as admin, admin.cursor() as cursor:
            while True:
                cursor.execute("SHOW PROCESSLIST")
                left = [row for row in cursor.fetchall() if row[3] == self.database]
                if not left or time.monotonic() > deadline:
                    return len(left)
                time.sleep(0.02)


@contextmanager
def a_site(server: Server) -> Iterator[Site]:
    """Make a database, migrate it, and drop it in the end."""
    database = f"dal_demo_{secrets.token_hex(4)}"
    server.create_database(database)
    try:
        migrate(server.environment(database))
        with Proxy(server.host, server.port) as proxy:
            yield Site(server, database, proxy)
    finally:
        server.drop_database(database)


def migrate(address: Mapping[str, str]) -> None:
    """Run Alembic as a team does."""
    settings = ("DATABASE_URL", "DB_", "DAL_")
    others = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env={**others, **address},
        stdout=sys.stderr,
        check=True,
    )


def measure(site: Site, way: str) -> Figures:
    """Write, then read what was written, again and again; the cold starts do not count."""
    creates: list[Call] = []
    reads: list[Call] = []
    with (
        site.function(f"{MODULES[way]}.create_user") as writer,
        site.function(f"{MODULES[way]}.read_user") as reader,
    ):
        for number in range(ROUNDS + 1):
            event = {"email": f"{way}-{number}@example.com", "name": "Ann"}
            creates.append(site.call(writer, event))
            reads.append(site.call(reader, {"id": creates[-1].answer["id"]}))
        connections_left = site.connections_left()
    del creates[0], reads[0]
    return Figures(
        stale_reads=sum(read.answer is None for read in reads),
        connections_left=connections_left,
        create_round_trips=median_low(call.round_trips for call in creates),
        read_round_trips=median_low(call.round_trips for call in reads),
        create_ms=round(1000 * median(call.seconds for call in creates), 1),
        read_ms=round(1000 * median(call.seconds for call in reads), 1),
        user_stored=creates[-1].answer["id"],
        answer_read=reads[-1].answer,
    )


def verdict(ways: Mapping[str, Figures]) -> str | None:
    """Return what keeps the run from showing what it is for, or None."""
    if ways["dal"].stale_reads:
        return "dal read stale data"
    if ways["dal"].connections_left:
        return "dal left connections open"
    if not ways["naive"].stale_reads:
        return "the old way read nothing stale, so this run proves nothing"
    return None


def show(server: Server, ways: Mapping[str, Figures]) -> None:
    """Print the figures as a table, and an example of what they count."""
    console = Console(highlight=False)
    product = "MariaDB" if server.is_mariadb else "MySQL"
    title = f"{ROUNDS} rounds for each way, on {product} {server.version} ({server.rung})"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("")
    for way in ways:
        table.add_column(TITLES[way], justify="right")

    def row(label: str, cell: Callable[[Figures], str]) -> None:
        table.add_row(label, *map(cell, ways.values()))

    row("stale reads", lambda way: _wanted_none(way.stale_reads, f" of {ROUNDS}"))
    row("connections left open", lambda way: _wanted_none(way.connections_left))
    row("round trips to create a user", lambda way: str(way.create_round_trips))
    row("round trips to read it", lambda way: str(way.read_round_trips))
    row("time to create, median", lambda way: f"{way.create_ms:.1f} ms")
    row("time to read, median", lambda way: f"{way.read_ms:.1f} ms")
    console.print(table)
    console.print("The last read, after create_user had answered with this id:")
    for way, figures in ways.items():
        label = f"{TITLES[way]}, id {figures.user_stored}"
        console.print(
            f"  {label:<26}{json.dumps(figures.answer_read)}", markup=False, soft_wrap=True
        )
    console.print()


def _wanted_none(count: int, unit: str = "") -> str:
    return f"[{'red' if count else 'green'}]{count}{unit}"


def meaning(ways: Mapping[str, Figures]) -> str:
    """Return what the figures say, where there is no problem."""
    naive, careful, dal = ways["naive"], ways["careful"], ways["dal"]
    times_longer = (careful.create_ms + careful.read_ms) / (dal.create_ms + dal.read_ms)
    return (
        "The old way saves the connect and reads from the snapshot of its first transaction: "
        f"{naive.stale_reads} of {ROUNDS} reads missed a row that was committed. dal missed none "
        f"and left nothing open, in {dal.create_round_trips} and {dal.read_round_trips} round "
        f"trips, where the same care by hand takes {careful.create_round_trips} and "
        f"{careful.read_round_trips} and {times_longer:.1f} times as long."
    )


def say(what: str) -> None:
    """Tell of the progress, apart from the figures."""
    print(what, file=sys.stderr)


def main() -> str | int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.users.demo",
        description="A stale read the old way, the cure by hand, and dal, on a real server.",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with start_server(say=say) as server, a_site(server) as site:
            ways = {}
            for way, title in TITLES.items():
                say(f"{ROUNDS} rounds: {title}")
                ways[way] = measure(site, way)
    except NoServer as reason:
        return str(reason)
    except KeyboardInterrupt:
        say("interrupted; nothing is left behind")
        return 130
    problem = verdict(ways)
    if options.json:
        about = {"rung": server.rung, "version": server.version, "reason": server.reason}
        figures = {way: asdict(figures) for way, figures in ways.items()}
        print(json.dumps({"server": about, "rounds": ROUNDS, "ways": figures, "problem": problem}))
    else:
        show(server, ways)
        print(problem or textwrap.fill(meaning(ways), 79))
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
