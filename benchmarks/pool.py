"""What a kept session is worth: a scope with pool="none" and with pool="warm", side by side.

    python -m benchmarks.pool [ROUNDS] [--write]

The time is that of `db.scope()` as a whole, in one process. A round runs every way once, each round
in another order, so that whatever else this machine does meets them all alike. The distance to the
server is emulated by a proxy, which delays each round trip but not TCP's own: a new connection has
one more than is shown. At 0 ms there is no proxy. `--write` puts the table into docs/pool.md.
"""

from __future__ import annotations

import argparse
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import sqlalchemy as sa

from dal import Database
from dal.testing.proxy import Proxy
from dal.testing.server import Server, start_server

DISTANCES = (0, 1, 5)
"""Milliseconds of one round trip."""
TLS = ("unverified", "disabled")
POOLS = ("none", "warm")
PAGE = Path(__file__).parents[1] / "docs/pool.md"
BEGIN, END = "<!-- the figures: written by benchmarks/pool.py -->", "<!-- end of the figures -->"

Way = tuple[int, str, str, str]
"""Distance, TLS, work, pool."""


def main() -> None:
    """Measure, and print a table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rounds", nargs="?", type=int, default=300, help="by default 300")
    parser.add_argument("--write", action="store_true", help="put the table into docs/pool.md")
    wanted = parser.parse_args()
    with start_server(say=print) as server, _database(server) as name, ExitStack() as opened:
        took = _measure(_ways(server, name, opened), wanted.rounds)
        table = _table(took, f"{wanted.rounds} rounds on MySQL {server.version}")
    print(table)
    if wanted.write:
        text = PAGE.read_text()
        head, rest = text.split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}")


@contextmanager
def _database(server: Server) -> Iterator[str]:
    name = f"dal_{secrets.token_hex(6)}"
    server.create_database(name)
    try:
        with server.connect(name) as admin, admin.cursor() as cursor:
            cursor.execute("CREATE TABLE item (id INT PRIMARY KEY AUTO_INCREMENT, name TEXT)")
            cursor.execute("INSERT INTO item (name) VALUES ('first')")
        yield name
    finally:
        server.drop_database(name)


def _ways(server: Server, name: str, opened: ExitStack) -> dict[Way, Callable[[], None]]:
    ways: dict[Way, Callable[[], None]] = {}
    for distance in DISTANCES:
        address = (server.host, server.port)
        if distance:
            address = opened.enter_context(_at_a_distance(*address, distance / 1000))
        for tls, pool in product(TLS, POOLS):
            database = Database(
                server.url(name), host=address[0], port=address[1], tls=tls, pool=pool
            )
            opened.callback(database.engine.dispose)
            ways[distance, tls, "one SELECT", pool] = _reads(database)
            ways[distance, tls, "one INSERT", pool] = _writes(database)
    return ways


@contextmanager
def _at_a_distance(host: str, port: int, seconds: float) -> Iterator[tuple[str, int]]:
    """Start a proxy, in a process of its own: here it would wait for this one's interpreter."""
    here, there = Pipe()
    process = Process(target=_proxy, args=(host, port, seconds, there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        process.join()


def _proxy(host: str, port: int, seconds: float, parent: Connection) -> None:
    with Proxy(host, port) as proxy:
        proxy.latency = seconds
        parent.send((proxy.host, proxy.port))
        parent.recv()


def _reads(database: Database) -> Callable[[], None]:
    statement = sa.text("SELECT name FROM item WHERE id = 1")

    def read() -> None:
        with database.scope(read_only=True) as session:
            session.scalar(statement)

    return read


def _writes(database: Database) -> Callable[[], None]:
    statement = sa.text("INSERT INTO item (name) VALUES ('another')")

    def write() -> None:
        with database.scope() as session:
            session.execute(statement)

    return write


def _measure(ways: dict[Way, Callable[[], None]], rounds: int) -> dict[Way, list[float]]:
    took: dict[Way, list[float]] = {way: [] for way in ways}
    for number in range(-5, rounds):  # the first five warm everything up
        order = list(ways)
        random.SystemRandom().shuffle(order)
        for way in order:
            began = time.perf_counter()
            ways[way]()
            if number >= 0:
                took[way].append(time.perf_counter() - began)
            time.sleep(0.002)  # what is sent without waiting comes to its end
    return took


def _table(took: dict[Way, list[float]], source: str) -> str:
    lines = [
        f"{source}; medians, in milliseconds.",
        "",
        "| A round trip takes | TLS | Scope | `none` | `warm` | saved |",
        "|---|---|---|---|---|---|",
    ]
    for distance, tls, work in product(DISTANCES, TLS, ("one SELECT", "one INSERT")):
        none, warm = (1000 * median(took[distance, tls, work, pool]) for pool in POOLS)
        lines.append(
            f"| {distance} ms | {'no' if tls == 'disabled' else 'yes'} | {work} "
            f"| {none:.1f} | {warm:.1f} | {none - warm:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
