"""(c) Many rows: inserted, upserted, updated by key, purged; and whether the cost is linear."""

from collections.abc import Callable
from typing import Any

from benchmarks.measure import Samples, rounds
from benchmarks.processes import PEERS, peers_on
from benchmarks.site import Site

MINUTES = 5

_FILL = (
    "INSERT INTO entry SELECT id, owner, 0 FROM line WHERE id <= {}",
    "ANALYZE TABLE entry",
)


def run(
    site: Site, say: Callable[[str], Any], missing: dict[str, str], *, quick: bool
) -> list[Samples]:
    """Measure each work on a table that is made anew for each turn."""
    full = 10_000 if quick else 100_000
    # What is in the table before: nothing, every second row, all rows.
    works = {
        "bulk_insert": (full, 0),
        "bulk_upsert": (full, full // 2),
        "bulk_update": (full // 10, full),
        "bulk_purge": (full, full),
    }
    found: list[Samples] = []
    names = [name for name in PEERS if name not in ("lean_hand", "by_hand")]
    with peers_on(site.environment(tls=True), names, missing) as peers:
        for work, (size, there) in works.items():

            def before(_: str, there: int = there) -> None:
                site.execute("TRUNCATE entry", *(text.format(there) for text in _FILL))

            say(f"bulk: {work}, {size:,} rows")
            cell = {"work": work, "rows": size}
            found += rounds(
                peers, work, cell, count=2, calls=1, size=size, warm_up=0, before=before
            )
        chosen = [peer for peer in peers if peer.name in ("on_dal", "shared_context")]
        for size in (100, 1_000, 10_000):
            say(f"bulk: bulk_insert, {size:,} rows")
            cell = {"work": "bulk_insert", "rows": size}
            if size < full:
                found += rounds(
                    chosen,
                    "bulk_insert",
                    cell,
                    count=5,
                    calls=1,
                    size=size,
                    before=lambda _: site.execute("TRUNCATE entry"),
                )
    return found
