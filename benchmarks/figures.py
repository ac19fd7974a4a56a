"""What was kept, asked for by peer and cell."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measure import median, spread


class Figures:
    """The samples of one case."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.found = found
        self.samples: Sequence[Mapping[str, Any]] = found["samples"]

    def of(self, peer: str, **cell: Any) -> Mapping[str, Any] | None:
        """Return the samples of a peer in a cell; None where it took no part."""
        for sample in self.samples:
            if sample["peer"] == peer and sample["cell"] == cell:
                return sample
        return None

    def median(self, peer: str, what: str = "wall", **cell: Any) -> float | None:
        """Return the median, in milliseconds."""
        sample = self.of(peer, **cell)
        return None if sample is None else median(sample[what])

    def ratio(self, peer: str, other: str, what: str = "wall", **cell: Any) -> float | None:
        """Return the one's median by the other's."""
        above, below = self.median(peer, what, **cell), self.median(other, what, **cell)
        return None if above is None or below is None else above / below

    def times(self, peer: str, what: str = "wall", **cell: Any) -> str:
        """Return a table's entry: how many times dal's median this peer's is."""
        ratio = self.ratio(peer, "on_dal", what, **cell)
        return "" if ratio is None else number(ratio)

    def shown(self, peer: str, what: str = "wall", **cell: Any) -> str:
        """Return a table's entry: median and interquartile range."""
        sample = self.of(peer, **cell)
        if sample is None:
            return ""
        return f"{number(median(sample[what]))} ± {number(spread(sample[what]))}"


def number(value: float) -> str:
    """Return a number with as many digits as mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
