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
    "bulk_upsert": "upsert",
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


def pair(
    figures: Figures, title: str, columns: Mapping[str, Mapping[str, Any]], what: str = "wall"
) -> str:
    """Return two tables, of ratios to dal's medians and of medians; a row for each peer."""
    peers = _peers(figures)
    ratios = [
        [name, *(figures.times(peer, what, **cell) for cell in columns.values())]
        for peer, name in peers.items()
        if peer != "on_dal"
    ]
    medians = [
        [name, *(figures.shown(peer, what, **cell) for cell in columns.values())]
        for peer, name in peers.items()
    ]
    kind = "CPU time" if what == "cpu" else "Wall time"
    return (
        f"**{kind}{title}: how many times dal's**\n\n{table(['', *columns], ratios)}\n\n"
        f"In ms, median and interquartile range:\n\n{table(['', *columns], medians)}"
    )


def warm_tables(found: Mapping[str, Any]) -> str:
    """Wall time on each line with verified TLS and without, and CPU time on the shortest."""
    figures = Figures(found)
    parts = []
    cells = {(s["cell"]["tls"], s["cell"]["round_trip_ms"]) for s in figures.samples}
    for tls, trip in sorted(cells, key=lambda cell: (not cell[0], cell[1])):
        columns = {
            WORKS[work]: {"work": work, "tls": tls, "round_trip_ms": trip} for work in warm.WORKS
        }
        title = f", {'verified TLS' if tls else 'no TLS'}, {trip} ms"
        parts.append(pair(figures, title, columns))
        if trip == min(cell[1] for cell in cells):
            parts.append(pair(figures, title, columns, "cpu"))
    return "\n\n".join(parts)


def cold_tables(found: Mapping[str, Any]) -> str:
    """From the start of the process to the first answer, and what is imported on the way."""
    figures = Figures(found)
    trips = sorted(
        {s["cell"]["round_trip_ms"] for s in figures.samples if "round_trip_ms" in s["cell"]}
    )
    columns: dict[str, Mapping[str, Any]] = {
        f"first answer, {trip} ms": {"work": "cold start", "round_trip_ms": trip} for trip in trips
    }
    columns["import alone"] = {"work": "import"}
    sizes = []
    for peer, title in _peers(figures).items():
        start = figures.of(peer, work="cold start", round_trip_ms=trips[0]) or {"more": {}}
        imported = figures.of(peer, work="import") or {"more": {}}
        sizes.append(
            [
                title,
                str(imported["more"].get("modules", "")),
                str(start["more"].get("megabytes", "")),
            ]
        )
    steps = [
        ("PyMySQL and handlers by hand", "lean_hand"),
        ("SQLAlchemy's ORM and PyMySQL", "sqlalchemy and pymysql"),
        ("dal and a mapped class", "dal and a mapped class"),
        ("dal, four classes, engine, dialect, TLS context", "on_dal"),
    ]
    imports = [
        [
            title,
            *(figures.shown(name, what, work="import") for what in ("wall", "cpu")),
            str((figures.of(name, work="import") or {"more": {}})["more"].get("modules", "")),
        ]
        for title, name in steps
    ]
    return "\n\n".join(
        [
            pair(figures, "", columns),
            pair(figures, "", columns, "cpu"),
            table(["", "modules imported", "MB unzipped"], sizes),
            "**What is imported on the way, in ms**",
            table(["", "wall", "CPU", "modules"], imports),
        ]
    )


def summary(warm_found: Mapping[str, Any], cold_found: Mapping[str, Any]) -> str:
    """The README's: a warm invocation and a cold start, over TLS with a round trip of 1 ms."""
    figures, starts = Figures(warm_found), Figures(cold_found)
    head = ["", *(WORKS[work] for work in warm.WORKS), "cold start"]
    rows = [
        [
            title,
            *(figures.times(peer, work=work, tls=True, round_trip_ms=1) for work in warm.WORKS),
            starts.times(peer, work="cold start", round_trip_ms=1),
        ]
        for peer, title in _peers(figures).items()
        if peer != "on_dal"
    ]
    return table(head, rows)


def bulk_tables(found: Mapping[str, Any]) -> str:
    """Each work, then the same work on more and more rows."""
    figures = Figures(found)
    largest: dict[str, int] = {}
    for sample in figures.samples:
        cell = sample["cell"]
        largest[cell["work"]] = max(largest.get(cell["work"], 0), cell["rows"])
    columns = {
        f"{WORKS[work]} {size:,}": {"work": work, "rows": size} for work, size in largest.items()
    }
    sizes = {s["cell"]["rows"] for s in figures.samples if s["cell"]["work"] == "bulk_insert"}
    linear = [
        [
            f"{size:,}",
            *(
                number((figures.median(peer, work="bulk_insert", rows=size) or 0) * 1000 / size)
                for peer in ("on_dal", "shared_context")
            ),
        ]
        for size in sorted(sizes)
    ]
    return (
        pair(figures, "", columns)
        + "\n\n**Microseconds for each row inserted**\n\n"
        + table(["rows", PEERS["on_dal"], PEERS["shared_context"]], linear)
    )


def streaming_tables(found: Mapping[str, Any]) -> str:
    """Rows a second, and the memory that they took at the most."""
    rows = []
    for sample in Figures(found).samples:
        size = sample["cell"]["rows"]
        of_dal = f", {WORKS[sample['cell']['work']]}" if sample["peer"] == "on_dal" else ""
        wall = sorted(sample["wall"])[len(sample["wall"]) // 2]
        rows.append(
            [
                PEERS[sample["peer"]] + of_dal,
                f"{size:,}",
                f"{size / wall * 1000:,.0f}",
                f"{sample['more']['memory'] / 1024:.1f}",
            ]
        )
    return table(["", "rows", "rows a second", "MiB more at the peak"], rows)


def paging_tables(found: Mapping[str, Any]) -> str:
    """A page of 100 rows, near and far."""
    figures = Figures(found)
    pages = sorted({sample["cell"]["page"] for sample in figures.samples})
    return pair(figures, "", {f"page {page:,}": {"work": "page", "page": page} for page in pages})


def throughput_tables(found: Mapping[str, Any]) -> str:
    """Invocations a second of eight processes together."""
    figures = Figures(found)
    peers = _peers(figures)
    works = list(dict.fromkeys(sample["cell"]["work"] for sample in figures.samples))
    rows = []
    for peer, title in peers.items():
        medians = [figures.median(peer, work=work, processes=8) for work in works]
        rows.append([title, *(f"{1000 / each:,.0f}" if each else "" for each in medians)])
    head = ["", *(WORKS[work] for work in works)]
    return "**Invocations a second**\n\n" + table(head, rows)


TABLES = {
    "warm": warm_tables,
    "cold": cold_tables,
    "bulk": bulk_tables,
    "streaming": streaming_tables,
    "paging": paging_tables,
    "throughput": throughput_tables,
}
