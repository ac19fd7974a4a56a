"""What was promised of the speed, and what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks import warm
from benchmarks.figures import Figures

Kept = Mapping[str, Figures]


@dataclass(frozen=True)
class Target:
    """A ratio and the most (or, with `at_least`, the least) that it may be."""

    text: str
    case: str
    ratio: Callable[[Figures], float | None]
    limit: float
    at_least: bool = False
    why: str = ""
    """Where it is missed: why."""

    def is_met(self, found: float) -> bool:
        """Return whether this ratio is within the limit."""
        return found >= self.limit if self.at_least else found <= self.limit


def _read(peer: str, what: str = "wall", trip: int = 0) -> Callable[[Figures], float | None]:
    return lambda found: found.ratio(
        "on_dal", peer, what, work="read_one", tls=True, round_trip_ms=trip
    )


def _worst(peer: str, *, tls: bool) -> Callable[[Figures], float | None]:
    def ratio(found: Figures) -> float | None:
        ratios = [
            found.ratio("on_dal", peer, work=work, tls=tls, round_trip_ms=1) for work in warm.WORKS
        ]
        return max((each for each in ratios if each is not None), default=None)

    return ratio


def _cold(peer: str, trip: int) -> Callable[[Figures], float | None]:
    return lambda found: found.ratio("on_dal", peer, work="cold start", round_trip_ms=trip)


def _imports(found: Figures) -> float | None:
    dal = found.median("dal and a mapped class", "cpu", work="import")
    bare = found.median("sqlalchemy and pymysql", "cpu", work="import")
    return dal / bare if dal and bare else None


def _bulk(found: Figures) -> float | None:
    return found.ratio("shared_context", "on_dal", work="bulk_insert", rows=100_000)


def _linear(found: Figures) -> float | None:
    many = found.median("on_dal", work="bulk_insert", rows=100_000)
    few = found.median("on_dal", work="bulk_insert", rows=10_000)
    return many / few / 10 if many and few else None


def _stream(found: Figures) -> float | None:
    dal = found.median("on_dal", work="stream_rows", rows=1_000_000)
    raw = found.median("shared_context", work="stream", rows=1_000_000)
    return raw / dal if dal and raw else None


def _flat(found: Figures) -> float | None:
    near = found.median("on_dal", work="page", page=1)
    far = found.median("on_dal", work="page", page=10_000)
    return far / near if near and far else None


_SQLALCHEMY = (
    "the round trips of the handler's own statements are the same for both; dal spares those "
    "around them, and the more statements there are, the less that is of the whole"
)
_DJANGO = (
    "SQLAlchemy's ORM alone takes longer to import than Django's with its driver in C: a cold "
    "start on SQLAlchemy cannot be ahead of it"
)

_CONTEXT = (
    "what the article's handler loses is the time to read the bundle into a context, for each "
    "connection; the target was set with the 144 authorities of an operating system, which take "
    "half as long again to read as the 108 here"
)

TARGETS = [
    Target(
        "a warm read, verified TLS, by the article's: wall",
        "warm",
        _read("by_hand"),
        0.15,
        why=_CONTEXT,
    ),
    Target(
        "a warm read, verified TLS, by the article's: CPU",
        "warm",
        _read("by_hand", "cpu"),
        0.15,
        why=_CONTEXT,
    ),
    Target("by PyMySQL with one SSLContext: wall", "warm", _read("shared_context"), 1.25),
    Target(
        "by PyMySQL with one SSLContext: CPU",
        "warm",
        _read("shared_context", "cpu"),
        1.25,
        why="the rest is SQLAlchemy's: a session, a statement's cache key, an entity",
    ),
    Target(
        "by PyMySQL with one SSLContext, at 1 ms: wall",
        "warm",
        _read("shared_context", trip=1),
        1.0,
        why="its three round trips less are worth no more than what SQLAlchemy costs",
    ),
    *(
        Target(
            f"warm at 1 ms, {line}, the worst work, by {title}",
            "warm",
            _worst(peer, tls=tls),
            limit,
            why=why,
        )
        for tls, line in ((True, "verified TLS"), (False, "no TLS"))
        for peer, title, limit, why in (
            ("on_sqlalchemy", "SQLAlchemy by the book", 0.5, _SQLALCHEMY),
            ("on_advanced_alchemy", "advanced-alchemy", 0.5, _SQLALCHEMY),
            (
                "on_django",
                "Django",
                1.0,
                "its driver is in C, and without TLS dal spares it little",
            ),
        )
    ),
    Target(
        "`import dal` and a class by `import sqlalchemy.orm, pymysql`: CPU",
        "cold",
        _imports,
        1.05,
        why="dal is some sixty modules, each found, read and run, and a full garbage collection is "
        "due while they are; loading them at first use would meet the figure and spare a function "
        "nothing, which uses them before its first answer",
    ),
    Target(
        "a cold start by SQLAlchemy by the book's, 0 ms",
        "cold",
        _cold("on_sqlalchemy", 0),
        1.0,
        why="dal's own modules are imported too, and on loopback fewer round trips spare little",
    ),
    Target(
        "a cold start by SQLAlchemy by the book's, 1 ms",
        "cold",
        _cold("on_sqlalchemy", 1),
        1.0,
        why="dal's own modules are imported too, which is more than its fewer round trips spare",
    ),
    Target(
        "a cold start by advanced-alchemy's, 0 ms", "cold", _cold("on_advanced_alchemy", 0), 1.0
    ),
    Target("a cold start by Django's, 0 ms", "cold", _cold("on_django", 0), 1.0, why=_DJANGO),
    Target("a cold start by Django's, 1 ms", "cold", _cold("on_django", 1), 1.0, why=_DJANGO),
    Target(
        "100,000 rows inserted: throughput by `executemany`",
        "bulk",
        _bulk,
        0.9,
        at_least=True,
        why="every value is looked at before it is sent, and goes through SQLAlchemy's types",
    ),
    Target("100,000 rows inserted by ten times 10,000", "bulk", _linear, 1.2),
    Target(
        "a million rows by `rows`: throughput by SSCursor",
        "streaming",
        _stream,
        0.8,
        at_least=True,
        why="each chunk is a statement that waits for the server, where SSCursor reads one result",
    ),
    Target("page 10,000 by page 1", "paging", _flat, 1.2),
]
