"""(b) A cold start in Lambda's runtime client: from the process's start to its first answer."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.measure import Samples
from benchmarks.packages import deployed, interpreter, megabytes
from benchmarks.processes import PEERS
from benchmarks.site import Site
from dal.testing.runtime import Function

MINUTES = 4

_MAPPED = """
from sqlalchemy.orm import Mapped, mapped_column
class Account({base}):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
"""
# pool="warm" begins as cold as dal without it.
_PEERS = [name for name in PEERS if name != "on_dal_warm"]
#: What is imported: a peer's handlers whole, and the pair that the target is about.
IMPORTS = {
    **{name: f"import {name}" for name in _PEERS},
    "sqlalchemy and pymysql": "import sqlalchemy.orm, pymysql",
    "dal and a mapped class": "import dal" + _MAPPED.format(base="dal.Base"),
}

_TIMED = """
import sys, time
before = set(sys.modules)
wall, cpu = time.perf_counter(), time.process_time()
{code}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(wall * 1000, cpu * 1000, len(set(sys.modules) - before))
"""


def run(
    site: Site, say: Callable[[str], Any], missing: dict[str, str], *, quick: bool
) -> list[Samples]:
    """Measure first answers at 0 and 1 ms, and imports by themselves."""
    found: list[Samples] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        say("cold: packing the functions")
        python = interpreter(directory)
        places = {peer: deployed(peer, directory) for peer in _PEERS if peer not in missing}
        count = 4 if quick else 10
        for trip in (1,) if quick else (0, 1):
            with site.line(trip) as port:
                environment = site.environment(tls=True, port=port)
                found += _first_answers(
                    places, python, environment, count=count, trip=trip, say=say
                )
        found += _imports(places, python, site.environment(tls=True), count, say)
    return found


def _first_answers(
    places: dict[str, Path],
    python: Path,
    environment: dict[str, str],
    *,
    count: int,
    trip: int,
    say: Callable[[str], Any],
) -> list[Samples]:
    cell = {"work": "cold start", "round_trip_ms": trip}
    found = {peer: Samples(peer, cell) for peer in places}
    for number in range(-1, count):
        say(f"cold: {trip} ms, round {number + 1} of {count}")
        for peer in _turned(list(places), number):
            with (
                _lambdas_own(python),
                Function(
                    f"{peer}.read_one", environment=environment, path=[places[peer]], timeout=60
                ) as function,
            ):
                invocation = function.invoke({"id": 1})
                cpu = _cpu_ms(function.pid)
            invocation.answer()
            if number >= 0:
                assert invocation.init_duration is not None
                samples = found[peer]
                wall = (invocation.init_duration + invocation.duration) * 1000
                samples.wall.append(round(wall, 2))
                samples.cpu.append(round(cpu, 2))
                samples.more.setdefault("init", []).append(
                    round(invocation.init_duration * 1000, 2)
                )
    for peer, samples in found.items():
        samples.more["megabytes"] = megabytes(places[peer])
    return list(found.values())


def _imports(
    places: dict[str, Path],
    python: Path,
    environment: dict[str, str],
    count: int,
    say: Callable[[str], Any],
) -> list[Samples]:
    cell = {"work": "import"}
    found = {name: Samples(name, cell) for name in IMPORTS if name in places or " " in name}
    for number in range(-1, count):
        say(f"cold: imports, round {number + 1} of {count}")
        for name in _turned(list(found), number):
            done = subprocess.run(
                [python, "-c", _TIMED.format(code=IMPORTS[name])],
                env={**environment, "PYTHONPATH": str(places.get(name, places["on_dal"]))},
                capture_output=True,
                text=True,
                check=True,
            )
            wall, cpu, modules = done.stdout.split()
            if number >= 0:
                found[name].wall.append(round(float(wall), 2))
                found[name].cpu.append(round(float(cpu), 2))
                found[name].more["modules"] = int(modules)
    return list(found.values())


def _turned(names: list[str], number: int) -> list[str]:
    turn = number % len(names)
    return [*names[turn:], *names[:turn]]


@contextmanager
def _lambdas_own(python: Path) -> Iterator[None]:
    with patch("sys.executable", str(python)):
        yield


def _cpu_ms(pid: int | None) -> float:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6
