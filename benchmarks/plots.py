"""The two pictures of docs/benchmarks.md, as SVG."""

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

from benchmarks import warm
from benchmarks.figures import Figures
from benchmarks.processes import PEERS
from benchmarks.tables import WORKS

# The same figures give the same bytes; text stays text.
mpl.rcParams.update({"svg.hashsalt": "dal", "svg.fonttype": "none", "font.size": 9})
_COLOURS = ["#0b6e4f", "#3a9d78", "#7fb069", "#a3b9c9", "#5b7c99", "#f2a541", "#d1603d", "#8e3b46"]


def draw_warm(found: Figures, file: Path) -> None:
    """A warm invocation of each work with verified TLS at 1 ms."""
    figure, axes = pyplot.subplots(figsize=(8, 4.8))
    height = 0.8 / len(PEERS)
    for place, (peer, title) in enumerate(PEERS.items()):
        times = [
            found.median(peer, work=work, tls=True, round_trip_ms=1) or 0 for work in warm.WORKS
        ]
        rows = [row + place * height for row in range(len(times))]
        axes.barh(rows, times, height, label=title, color=_COLOURS[place])
    axes.set_yticks(
        [row + 0.4 - height / 2 for row in range(len(warm.WORKS))],
        [WORKS[work] for work in warm.WORKS],
    )
    axes.invert_yaxis()
    axes.set_xlabel("ms, median: connect, work, close; verified TLS, 1 ms round trip")
    _save(figure, axes, file)


def draw_cold(found: Figures, file: Path) -> None:
    """From the start of the process to its first answer."""
    figure, axes = pyplot.subplots(figsize=(8, 2.8))
    titles, inits, rests = [], [], []
    for peer, title in PEERS.items():
        sample = found.of(peer, work="cold start", round_trip_ms=1)
        if sample is not None:
            titles.append(title)
            inits.append(sorted(sample["more"]["init"])[len(sample["wall"]) // 2])
            rests.append(sorted(sample["wall"])[len(sample["wall"]) // 2] - inits[-1])
    axes.barh(titles, inits, color=_COLOURS[0], label="start and imports")
    axes.barh(titles, rests, left=inits, color=_COLOURS[4], label="the first invocation")
    axes.invert_yaxis()
    axes.set_xlabel("ms, median: from the process's start to its first answer; 1 ms round trip")
    _save(figure, axes, file)


def _save(figure: pyplot.Figure, axes: pyplot.Axes, file: Path) -> None:
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
    # No blanks at the ends of lines, which editors would take away.
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")
