"""What the report of each invocation costs: off, log and emf, side by side.

    python -m benchmarks.seeing [ROUNDS] [--with NAME=DIRECTORY ...]

One function stores a user, warm, each way in a process of Lambda's own runtime client. A round runs
every way once, each round in another order, so that whatever else this machine does meets them all
alike. `--with` adds a way: the function, off, on the `dal` of another checkout.

On a machine that does other things two figures are steadier than medians: the first quartile, and
the processor's time, which the kernel counts for each process (/proc/PID/task/*/schedstat). The
line by itself is measured in this process, with units of work that do nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from dal import Base, Database
from dal.engine import Settings, create_engine
from dal.testing.runtime import Function
from dal.testing.server import Server, start_server
from examples.users.models import User

ROOT = Path(__file__).parents[1]
WARMUP = 20
RESAMPLES = 400


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rounds", nargs="?", type=int, default=1000, help="by default 1000")
    parser.add_argument("--with", action="append", default=[], dest="others", metavar="NAME=DIR")
    wanted = parser.parse_args()
    with start_server(say=print) as server, _database(server) as name, ExitStack() as opened:
        ways = {
            report: Way(_function({**server.environment(name), "DAL_REPORT": report}, ROOT))
            for report in ("off", "log", "emf")
        }
        for other, _, directory in (each.partition("=") for each in wanted.others):
            ways[other] = Way(_function(server.environment(name), directory))
        for way in ways.values():
            opened.enter_context(way.function)
        _measure(ways, wanted.rounds)
    _show(ways)
    _show_the_line_alone()


def _function(environment: dict[str, str], path: str | Path) -> Function:
    return Function("examples.users.handlers.create_user", environment=environment, path=[path])


@contextmanager
def _database(server: Server) -> Iterator[str]:
    name = f"dal_{secrets.token_hex(6)}"
    server.create_database(name)
    try:
        engine = create_engine(Settings.from_env(server.environment(name)).for_migrations())
        Base.metadata.create_all(engine, tables=[User.__table__])  # type: ignore[list-item]
        yield name
    finally:
        server.drop_database(name)


@dataclass
class Way:
    """One way to run the function, and what its invocations took, in seconds."""

    function: Function
    times: list[float] = field(default_factory=list)
    cpu: float = 0.0

    def processor_time(self) -> float:
        """Return the seconds that the process has had a processor for."""
        tasks = Path(f"/proc/{self.function.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _measure(ways: dict[str, Way], rounds: int) -> None:
    order = list(ways)
    for number in range(-WARMUP, rounds):
        if number == 0:
            for way in ways.values():
                way.cpu = -way.processor_time()
        random.shuffle(order)
        for name in order:
            event = {"email": f"{number}.{name}@example.com", "name": "Ann"}
            invocation = ways[name].function.invoke(event)
            invocation.answer()
            if number >= 0:
                ways[name].times.append(invocation.duration)
    for way in ways.values():
        way.cpu = (way.cpu + way.processor_time()) / rounds


def _show(ways: dict[str, Way]) -> None:
    off = ways["off"]
    print(f"{'':8}{'quartile':>10}{'median':>10}{'p95':>10}{'processor':>12}{'quartile / off':>18}")
    for name, way in ways.items():
        fast, middle, slow = (quantiles(way.times, n=20)[n] * 1000 for n in (4, 9, 18))
        low, high = _interval(way.times, off.times)
        print(
            f"{name:8}{fast:7.2f} ms{middle:7.2f} ms{slow:7.2f} ms{way.cpu * 1000:9.3f} ms"
            f"   {fast / 1000 / _quartile(off.times):.3f} ({low:.3f} to {high:.3f})"
        )


def _quartile(times: list[float]) -> float:
    return quantiles(times, n=4)[0]


def _interval(taken: list[float], off: list[float]) -> tuple[float, float]:
    """Return what holds the ratio of the quartiles in 95 of 100 resamples of the rounds."""
    rounds = range(len(taken))
    ratios = []
    for _ in range(RESAMPLES):
        sample = random.choices(rounds, k=len(taken))
        ratios.append(_quartile([taken[n] for n in sample]) / _quartile([off[n] for n in sample]))
    ratios.sort()
    return ratios[int(RESAMPLES * 0.025)], ratios[int(RESAMPLES * 0.975)]


def _show_the_line_alone() -> None:
    """Print the processor's time for a unit of work that does nothing: the best of many runs."""
    best: dict[str, float] = {}
    with Path(os.devnull).open("w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(logging.Formatter("[%(levelname)s]\t%(asctime)s\t%(message)s"))
        logging.getLogger().addHandler(handler)
        for report in ["off", "log", "emf"] * 20:
            db = Database("mysql://app@127.0.0.1:1/none", report=report)
            with contextlib.redirect_stdout(nowhere):
                began = time.process_time()
                for _ in range(1000):
                    with db.scope():
                        pass
                each = (time.process_time() - began) * 1000
            best[report] = min(each, best.get(report, each))
    for report in ("log", "emf"):
        print(f"a line of {report} by itself: {best[report] - best['off']:.0f} us of processor")


if __name__ == "__main__":
    main()
