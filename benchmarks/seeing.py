"""What the report of each invocation costs: off, log and emf, side by side.

    python -m benchmarks.seeing [ROUNDS] [--with NAME=DIRECTORY ...]

One function stores a user, warm, each way in a process of Lambda's own runtime client. A round runs
every way once, each round in another order, so that whatever else this machine does meets them all
alike. `--with` adds a way: the function, off, on the `dal` of another checkout.

The processor's time is what a report adds, and the steadier figure on a machine that does other
things: the kernel counts it for each process (/proc/PID/task/*/schedstat, in nanoseconds).
"""

from __future__ import annotations

import argparse
import random
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from dal import Base
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
    whole = median(off.times)
    print(f"{'':8}{'median':>10}{'p95':>10}{'processor':>12}{'more':>10}{'of the median off':>20}")
    for name, way in ways.items():
        more, slow = way.cpu - off.cpu, quantiles(way.times, n=20)[-1]
        print(
            f"{name:8}{median(way.times) * 1000:7.2f} ms{slow * 1000:7.2f} ms"
            f"{way.cpu * 1000:9.3f} ms{more * 1e6:+7.0f} us{more / whole:+19.2%}"
        )
    for name, way in ways.items():
        low, high = _interval(way.times, off.times)
        print(f"{name:8}median / median off: {low:.3f} to {high:.3f} in 95 of 100 resamples")


def _interval(taken: list[float], off: list[float]) -> tuple[float, float]:
    """Return the interval that holds the ratio of the medians in 95 of 100 resamples of rounds."""
    rounds = range(len(taken))
    ratios = []
    for _ in range(RESAMPLES):
        sample = random.choices(rounds, k=len(taken))
        ratios.append(median(taken[n] for n in sample) / median(off[n] for n in sample))
    ratios.sort()
    return ratios[int(RESAMPLES * 0.025)], ratios[int(RESAMPLES * 0.975)]


if __name__ == "__main__":
    main()
