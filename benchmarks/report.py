"""docs/benchmarks.md, made from the kept results.

python -m benchmarks.report
"""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures
from benchmarks.site import ROOT
from benchmarks.tables import TABLES, summary, table
from benchmarks.targets import TARGETS

_BEGIN = "<!-- the figures: written by make bench -->"
_END = "<!-- end of the figures -->"

_TITLES = {
    "warm": "A warm invocation",
    "cold": "A cold start",
    "bulk": "Many rows",
    "streaming": "A million rows",
    "paging": "Far pages",
    "throughput": "Eight processes",
}

_ABOUT = {
    "warm": "Connect, work, answer, close, in a process that has done so before.\n\n"
    "![A warm invocation](benchmarks-warm.svg)",
    "cold": "Lambda's own runtime client starts, imports the function and answers the first event "
    "(`dal.testing.runtime`).\nEach function has its own packages beside it and no others. What "
    "remains to PyMySQL by hand is the import of SQLAlchemy's ORM."
    "\n\n![A cold start](benchmarks-cold.svg)",
    "bulk": "With verified TLS, each in one transaction but for the purge, which dal does in "
    "scopes of 1,000 and\nPyMySQL in transactions of as many. Update by key is one statement a row "
    "for PyMySQL and SQLAlchemy,\nCASE expressions for Django, and an upsert for dal.\nHalf of the "
    "rows that are upserted are there before.",
    "streaming": "PyMySQL reads with `SSCursor`, SQLAlchemy with `yield_per=1000`, Django with "
    "`iterator()`, which\nholds all rows in its driver; advanced-alchemy has no verb for it.",
    "paging": "Pages of 100 rows. By keyset: dal and PyMySQL. By OFFSET, as their documentation "
    "pages: the others.",
    "throughput": "Eight processes invoke for seconds on two CPUs that the server needs as well.",
}


def tables(found: Mapping[str, Any]) -> str:
    """Return the tables of what was measured."""
    return "\n\n".join(f"## {_TITLES[name]}\n\n{TABLES[name](found[name])}" for name in found)


def kept(results: Path) -> dict[str, Any]:
    """Return what was kept of each case."""
    return {
        name: json.loads((results / f"{name}.json").read_text())
        for name in TABLES
        if (results / f"{name}.json").exists()
    }


def write(results: Path) -> None:
    """Make the page and its pictures from all results that are there."""
    from benchmarks import plots

    found = kept(results)
    docs = ROOT / "docs"
    (docs / "benchmarks.md").write_text(page(found))
    readme = ROOT / "README.md"
    readme.write_text(with_summary(readme.read_text(), found))
    if "warm" in found:
        plots.draw_warm(Figures(found["warm"]), docs / "benchmarks-warm.svg")
    if "cold" in found:
        plots.draw_cold(Figures(found["cold"]), docs / "benchmarks-cold.svg")


def with_summary(readme: str, found: Mapping[str, Any]) -> str:
    """Return the README with the figures of these results, as far as they are there."""
    if not {"warm", "cold"} <= set(found):
        return readme
    before, after = readme.split(_BEGIN, maxsplit=1)[0], readme.split(_END)[1]
    return f"{before}{_BEGIN}\n\n{summary(found['warm'], found['cold'])}\n\n{_END}{after}"


def page(found: Mapping[str, Any]) -> str:
    """Return the page of these results."""
    parts = [(ROOT / "benchmarks" / "about.md").read_text().strip(), _machine(found)]
    parts.append("## What was to be shown\n\n" + _targets(found))
    parts += [
        f"## {_TITLES[name]}\n\n{_wrapped(_ABOUT[name])}\n\n{TABLES[name](case)}"
        for name, case in found.items()
    ]
    return "\n\n".join(parts) + "\n"


def _wrapped(text: str) -> str:
    paragraphs = (textwrap.fill(each, 100) for each in text.split("\n\n"))
    return "\n\n".join(paragraphs)


def _machine(found: Mapping[str, Any]) -> str:
    lines = []
    for name, case in found.items():
        kind = case["machine"]
        lines.append([name, case["kept"], f"{case['seconds'] / 60:.0f}", str(kind["load"])])
    kind = next(iter(found.values()))["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in kind["packages"].items())
    return (
        f"The figures below come from {kind['cpus']} shared virtual CPUs, {kind['system']}, Python "
        f"{kind['python']},\n{kind['server']}, all on one machine.\n"
        + textwrap.fill(f"Beside dal: {versions}.", 100)
        + "\n\n"
        + table(["case", "measured on", "minutes", "load average at the end"], lines)
    )


def _targets(found: Mapping[str, Any]) -> str:
    rows: list[list[str]] = []
    reasons: dict[str, list[str]] = {}
    for target in TARGETS:
        ratio = target.ratio(Figures(found[target.case])) if target.case in found else None
        if ratio is None:
            continue
        limit = f"{'at least' if target.at_least else 'at most'} {target.limit:g}"
        is_met = target.is_met(ratio)
        rows.append([target.text, limit, f"{ratio:.3g}", "yes" if is_met else "**no**"])
        if not is_met and target.why:
            reasons.setdefault(target.why, []).append(target.text)
    text = table(["dal's ratio", "wanted", "measured", "met"], rows)
    if reasons:
        text += "\n\nWhere it is missed:\n\n" + "\n".join(
            textwrap.fill(
                f"- {'; '.join(targets)}: {why}.",
                100,
                subsequent_indent="  ",
                break_on_hyphens=False,
            )
            for why, targets in reasons.items()
        )
    return text


if __name__ == "__main__":
    write(ROOT / "benchmarks" / "results")
