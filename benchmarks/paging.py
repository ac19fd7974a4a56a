"""(e) Page 1 and page 10,000, of 100 rows each: by keyset, and by OFFSET where that is the way."""

from collections.abc import Callable
from typing import Any

from benchmarks.measure import Samples, rounds
from benchmarks.processes import PEERS, peers_on
from benchmarks.site import Site

MINUTES = 2


def run(
    site: Site, say: Callable[[str], Any], missing: dict[str, str], *, quick: bool
) -> list[Samples]:
    """Measure a near page and a far one."""
    found: list[Samples] = []
    with peers_on(site.environment(tls=True), list(PEERS), missing) as peers:
        for number in (1, 100, 10_000):
            say(f"pages: page {number:,}")
            cell = {"work": "page", "page": number}
            found += rounds(peers, "page", cell, count=3 if quick else 8, calls=3, size=number)
    return found
