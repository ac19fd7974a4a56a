"""(d) A million rows, one after the other: how many a second, and how much memory at the most."""

from collections.abc import Callable
from typing import Any

from benchmarks.measure import Samples, rounds
from benchmarks.processes import peers_on
from benchmarks.site import Site

MINUTES = 3

# advanced-alchemy has no verb that streams.
_PEERS = ("on_dal", "shared_context", "on_django", "on_sqlalchemy")


def run(
    site: Site, say: Callable[[str], Any], missing: dict[str, str], *, quick: bool
) -> list[Samples]:
    """Measure a stream of many rows, and of few beside it."""
    found: list[Samples] = []
    with peers_on(site.environment(tls=True), _PEERS, missing) as peers:
        for size in (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000):
            works = ("stream", "stream_rows")
            for work in works:
                say(f"stream: {work}, {size:,} rows")
                chosen = peers if work == "stream" else [p for p in peers if p.name == "on_dal"]
                cell = {"work": work, "rows": size}
                found += rounds(chosen, work, cell, count=2, calls=1, size=size, warm_up=1)
    return found
