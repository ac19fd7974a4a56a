"""(f) Eight processes at once: how many invocations a second, all together."""

import time
from collections.abc import Callable
from typing import Any

from benchmarks.measure import Samples
from benchmarks.processes import PEERS, peers_on
from benchmarks.site import Site

PROCESSES = 8
MINUTES = 3


def run(
    site: Site, say: Callable[[str], Any], missing: dict[str, str], *, quick: bool
) -> list[Samples]:
    """Measure reads and inserts; `wall` and `cpu` are milliseconds for each invocation."""
    seconds, count = (1.0, 2) if quick else (2.0, 3)
    works = ("read_one", "insert_one")
    found = {
        (name, work): Samples(name, {"work": work, "processes": PROCESSES})
        for name in PEERS
        for work in works
    }
    for number in range(count):
        for name in PEERS:
            environment = site.environment(tls=True)
            with peers_on(environment, [name] * PROCESSES, missing) as peers:
                for work in works if peers else ():
                    say(f"throughput: {work}, {PEERS[name]}, round {number + 1} of {count}")
                    for peer in peers:
                        peer.call(work, 2)  # warm
                    start = time.time() + 0.2
                    for place, peer in enumerate(peers):
                        peer.send(work=work, start=start, seconds=seconds, first=place * 100)
                    answers = [peer.receive() for peer in peers]
                    calls = sum(answer["calls"] for answer in answers)
                    samples = found[name, work]
                    samples.wall.append(round(seconds * 1000 / calls, 3))
                    samples.cpu.append(
                        round(sum(answer["cpu"] for answer in answers) * 1000 / calls, 3)
                    )
    return [samples for samples in found.values() if samples.wall]
