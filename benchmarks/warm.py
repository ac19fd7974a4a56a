"""(a) A warm invocation: connect, work, close, in a process that has done so before."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.measure import Samples, rounds
from benchmarks.processes import PEERS, peers_on
from benchmarks.site import Site

WORKS = ("read_one", "read_100", "insert_one", "read_modify_write", "five_statements")
ROUND_TRIPS = (0, 1, 5)
MINUTES = 5


def run(
    site: Site, say: Callable[[str], Any], missing: dict[str, str], *, quick: bool
) -> list[Samples]:
    """Measure every work on every line, with verified TLS and without."""
    found: list[Samples] = []
    trips: Sequence[int] = (1,) if quick else ROUND_TRIPS
    for tls in (True, False):
        for trip in trips:
            count, calls = (4, 4) if quick else (8, 3) if trip == 5 else (12, 4)
            with (
                site.line(trip) as port,
                peers_on(site.environment(tls=tls, port=port), list(PEERS), missing) as peers,
            ):
                for work in WORKS:
                    say(f"warm: {work}, {'verified TLS' if tls else 'no TLS'}, {trip} ms")
                    cell = {"work": work, "tls": tls, "round_trip_ms": trip}
                    found += rounds(peers, work, cell, count=count, calls=calls)
    return found
