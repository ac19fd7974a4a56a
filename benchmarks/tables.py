"""Each case as tables, in Markdown: ratios to dal first, then medians and interquartile ranges."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import warm
from benchmarks.figures import Figures, number
from benchmarks.processes import PEERS

WORKS = {
    "read_one": "read one row",
    "read_100": "read 100 rows",
    "insert_one": "insert one",
    "read_modify_write": "read, modify, write",
    "five_statements": "five statements",
    "bulk_insert": "insert",
    "bulk_upsert": "upsert, half of them there",
    "bulk_update": "update by key",
    "bulk_purge": "purge",
    "stream": "entities",
    "stream_rows": "columns (`rows`, by 5,000)",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [list(head), ["---", *["--:"] * (len(head) - 1)], *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _peers(figures: Figures) -> dict[str, str]:
    there = {sample["peer"] for sample in figures.samples}
    return {name: title for name, title in PEERS.items() if name in there}


def warm_tables(found: Mapping[str, Any]) -> str:
    """Wall time on each line with verified TLS and without, and CPU time on the shortest."""
    figures = Figures(found)
    peers = _peers(figures)
    parts = []
    cells = {(s["cell"]["tls"], s["cell"]["round_trip_ms"]) for s in figures.samples}
    for tls, trip in sorted(cells, key=lambda cell: (not cell[0], cell[1])):
        kinds = ["wall", "cpu"] if trip == min(cell[1] for cell in cells) else ["wall"]
        for what in kinds:
            kind = "CPU" if what == "cpu" else "wall"
            name = "verified TLS" if tls else "no TLS"
            rows = [
                [
                    WORKS[work],
                    *(
                        figures.beside(peer, what, work=work, tls=tls, round_trip_ms=trip)
                        for peer in peers
                    ),
                ]
                for work in warm.WORKS
            ]
            title = f"{kind} time in ms, {name}, {trip} ms round trip"
            parts.append(f"**{title}**\n\n" + table(["", *peers.values()], rows))
    return "\n\n".join(parts)


def cold_tables(found: Mapping[str, Any]) -> str:
    """From the start of the process to the first answer, and what is imported on the way."""
    figures = Figures(found)
    trips = sorted(
        {s["cell"]["round_trip_ms"] for s in figures.samples if "round_trip_ms" in s["cell"]}
    )
    rows = []
    for peer, title in _peers(figures).items():
        starts = [{"work": "cold start", "round_trip_ms": trip} for trip in trips]
        sample = figures.of(peer, **starts[0]) or {"more": {}}
        imported = figures.of(peer, work="import") or {"more": {}}
        rows.append(
            [
                title,
                *(figures.beside(peer, **start) for start in starts),
                figures.beside(peer, "cpu", **starts[0]),
                figures.beside(peer, work="import"),
                str(imported["more"].get("modules", "")),
                str(sample["more"].get("megabytes", "")),
            ]
        )
    head = ["", *(f"first answer at {trip} ms" for trip in trips), "its CPU", "import"]
    steps = [
        ("PyMySQL and handlers by hand", "lean_hand"),
        ("SQLAlchemy's ORM and PyMySQL", "sqlalchemy and pymysql"),
        ("dal and a mapped class", "dal and a mapped class"),
        ("dal's handlers: four classes, engine, MySQL's dialect, TLS context", "on_dal"),
    ]
    imports = [
        [
            title,
            *(number(figures.median(name, what, work="import") or 0) for what in ("wall", "cpu")),
            str((figures.of(name, work="import") or {"more": {}})["more"].get("modules", "")),
        ]
        for title, name in steps
    ]
    return (
        table([*head, "modules", "MB unzipped"], rows)
        + "\n\n**What is imported on the way, in ms**\n\n"
        + table(["", "wall", "CPU", "modules"], imports)
    )


def bulk_tables(found: Mapping[str, Any]) -> str:
    """Each work, then the same work on more and more rows."""
    figures = Figures(found)
    peers = _peers(figures)
    largest: dict[str, int] = {}
    for sample in figures.samples:
        cell = sample["cell"]
        largest[cell["work"]] = max(largest.get(cell["work"], 0), cell["rows"])
    rows = [
        [
            f"{WORKS[work]}: {size:,}",
            *(figures.beside(peer, work=work, rows=size) for peer in peers),
        ]
        for work, size in largest.items()
    ]
    sizes = sorted(
        {s["cell"]["rows"] for s in figures.samples if s["cell"]["work"] == "bulk_insert"}
    )
    linear = [
        [
            f"{size:,}",
            *(
                number((figures.median(peer, work="bulk_insert", rows=size) or 0) * 1000 / size)
                for peer in ("on_dal", "shared_context")
            ),
        ]
        for size in sizes
    ]
    return (
        "**Wall time in ms**\n\n"
        + table(["rows", *peers.values()], rows)
        + "\n\n**Microseconds for each row inserted**\n\n"
        + table(["rows", PEERS["on_dal"], PEERS["shared_context"]], linear)
    )


def streaming_tables(found: Mapping[str, Any]) -> str:
    """Rows a second, and the memory that they took at the most."""
    rows = []
    for sample in Figures(found).samples:
        size = sample["cell"]["rows"]
        wall = sorted(sample["wall"])[len(sample["wall"]) // 2]
        rows.append(
            [
                f"{PEERS[sample['peer']]}, {WORKS[sample['cell']['work']]}",
                f"{size:,}",
                f"{size / wall * 1000:,.0f}",
                f"{sample['more']['memory'] / 1024:.1f}",
            ]
        )
    return table(["", "rows", "rows a second", "MiB more at the peak"], rows)


def paging_tables(found: Mapping[str, Any]) -> str:
    """A page of 100 rows, near and far."""
    figures = Figures(found)
    peers = _peers(figures)
    pages = sorted({sample["cell"]["page"] for sample in figures.samples})
    rows = [
        [f"{page:,}", *(figures.beside(peer, work="page", page=page) for peer in peers)]
        for page in pages
    ]
    return "**Wall time in ms**\n\n" + table(["page", *peers.values()], rows)


def throughput_tables(found: Mapping[str, Any]) -> str:
    """Invocations a second of eight processes together."""
    figures = Figures(found)
    peers = _peers(figures)
    rows = []
    for work in dict.fromkeys(sample["cell"]["work"] for sample in figures.samples):
        cell = {"work": work, "processes": 8}
        medians = [figures.median(peer, **cell) for peer in peers]
        rows.append([WORKS[work], *(f"{1000 / each:,.0f}" if each else "" for each in medians)])
    return "**Invocations a second**\n\n" + table(["", *peers.values()], rows)


TABLES = {
    "warm": warm_tables,
    "cold": cold_tables,
    "bulk": bulk_tables,
    "streaming": streaming_tables,
    "paging": paging_tables,
    "throughput": throughput_tables,
}
