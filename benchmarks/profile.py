"""Where a warm invocation spends its time, or a cold start.

    python -m benchmarks.profile [warm | cold] [WORK]

What is shown is each function's own time, the longest first.
"""

import importlib
import subprocess
import sys
from pathlib import Path

from benchmarks.events import event
from benchmarks.worker import Context

CALLS = 300


def main(kind: str = "warm", work: str = "read_one") -> None:
    """Start a server, and what is to be profiled in a process that has loaded nothing yet."""
    from benchmarks.site import ROOT, a_site, cleaned_environment

    with a_site(print) as site:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.profile", "inside", kind, work],
            env={**cleaned_environment(), **site.environment(tls=True)},
            cwd=ROOT,
            check=True,
        )


def inside(kind: str, work: str) -> None:
    """Print where the time went: in many invocations, or in the imports and the first one."""
    from pyinstrument import Profiler
    from pyinstrument.renderers import ConsoleRenderer

    sys.path.insert(0, str(Path(__file__).parent / "peers"))
    profiler = Profiler(interval=0.001)
    if kind == "cold":
        profiler.start()
    function = getattr(importlib.import_module("on_dal"), work)
    function(event(work, 0, 100), Context(60.0))
    if kind == "warm":
        profiler.start()
        for number in range(CALLS):
            function(event(work, number, 100), Context(60.0))
    profiler.stop()
    print(profiler.output(ConsoleRenderer(show_all=True, flat=True, short_mode=True)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        inside(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
