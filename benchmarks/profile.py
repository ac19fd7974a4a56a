"""Where a warm invocation spends its time, or a cold start.

python -m benchmarks.profile [warm | cold] [WORK]
"""

import importlib
import os
import sys

from pyinstrument import Profiler

from benchmarks.events import event
from benchmarks.site import ROOT, a_site
from benchmarks.worker import Context

CALLS = 300


def main(kind: str = "warm", work: str = "read_one") -> None:
    """Print the profile of many invocations, or of the imports and the first one."""
    with a_site(print) as site:
        os.environ.update(site.environment(tls=True))
        sys.path.insert(0, str(ROOT / "benchmarks" / "peers"))
        if kind == "cold":
            # This process has loaded most of it: what is measured begins anew.
            for name in [name for name in sys.modules if name.split(".")[0] in _ANEW]:
                del sys.modules[name]
        profiler = Profiler(interval=0.0001)
        if kind == "cold":
            profiler.start()
        function = getattr(importlib.import_module("on_dal"), work)
        function(event(work, 0, 100), Context(60.0))
        if kind == "warm":
            profiler.start()
            for number in range(CALLS):
                function(event(work, number, 100), Context(60.0))
        profiler.stop()
        print(profiler.output_text(unicode=True, show_all=True))


_ANEW = {"dal", "pymysql", "sqlalchemy"}

if __name__ == "__main__":
    main(*sys.argv[1:])
