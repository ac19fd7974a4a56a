"""Run the benchmark and write its results.

    python -m benchmarks [--quick] [CASE ...]

Cases: warm, cold, bulk, streaming, paging, throughput; without one, all of them. What a case found
goes to benchmarks/results/, and docs/benchmarks.md is made from what lies there. A quick run shows
its tables and keeps nothing.
"""

import argparse
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import bulk, cold, paging, report, streaming, throughput, warm
from benchmarks.machine import machine
from benchmarks.measure import Samples
from benchmarks.site import Site, a_site
from dal.testing.server import NoServer

RESULTS = Path(__file__).parent / "results"
CASES: dict[str, Any] = {
    "warm": warm,
    "cold": cold,
    "bulk": bulk,
    "streaming": streaming,
    "paging": paging,
    "throughput": throughput,
}


def main() -> int:
    """Run the cases that were asked for; 1 where there is no server for them."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--quick", action="store_true", help="fewer rounds; nothing is kept")
    asked = parser.parse_args()
    names = asked.cases or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    minutes = sum(CASES[name].MINUTES for name in names)
    expected = f"about {max(1, minutes // 5)} minutes" if asked.quick else f"{minutes} minutes"
    _say(f"{', '.join(names)}: {expected} on two CPUs with nothing else to do")
    missing: dict[str, str] = {}
    try:
        with a_site(_say) as site:
            found = {name: _run(name, site, missing, quick=asked.quick) for name in names}
    except NoServer as reason:
        print(reason, file=sys.stderr)
        return 1
    print(report.tables(found))
    for peer, why in missing.items():
        print(f"left out: {peer}, which cannot be imported: {why}\n{_ADVICE}")
    if not asked.quick:
        _say("writing docs/benchmarks.md")
        report.write(RESULTS)
    return 0


_ADVICE = (
    "Django's driver is built from source where no wheel fits: apt-get install gcc pkg-config "
    "default-libmysqlclient-dev python3-dev, then rm -r .venv-bench and make bench"
)


def _run(name: str, site: Site, missing: dict[str, str], *, quick: bool) -> dict[str, Any]:
    began = time.monotonic()
    samples: list[Samples] = CASES[name].run(site, _say, missing, quick=quick)
    found = {
        "case": name,
        "kept": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(time.monotonic() - began),
        "machine": machine(site),
        "left_out": missing,
        "samples": [each.as_json() for each in samples],
    }
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        rows = ",\n  ".join(json.dumps(each) for each in found.pop("samples"))
        head = json.dumps(found, indent=1)
        text = head.removesuffix("\n}") + f',\n "samples": [\n  {rows}\n ]\n}}\n'
        (RESULTS / f"{name}.json").write_text(text)
        return json.loads(text)
    return found


_BEGAN = time.monotonic()


def _say(text: str) -> None:
    print(f"[{time.monotonic() - _BEGAN:6.1f} s] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
