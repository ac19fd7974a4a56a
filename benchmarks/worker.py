"""A process that runs one peer's functions and times them.

    python -m benchmarks.worker PEER

Each line of its input asks for some calls, each line of its output has what they took.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.events import event


class Context:
    """As much of Lambda's context as a handler may want."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left."""
        return int((self._ends - time.monotonic()) * 1000)


def status(name: str) -> int:
    """Return a size from Linux's account of this process, in KiB."""
    with Path("/proc/self/status").open() as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


def forget_peak() -> None:
    """Let the peak of the resident memory begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def called(module: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Make the calls, and return what each took: milliseconds, and the memory they added."""
    work, size = request["work"], request["size"]
    function = getattr(module, work)
    prepare = getattr(module, f"prepare_{work}", lambda given: given)
    wall, cpu = [], []
    answer = None
    for number in range(request["first"], request["first"] + request["calls"]):
        given = prepare(event(work, number, size))
        context = Context(900.0)
        forget_peak()
        before = status("VmRSS")
        cpu_began, began = time.process_time_ns(), time.perf_counter_ns()
        answer = function(given, context)
        ended, cpu_ended = time.perf_counter_ns(), time.process_time_ns()
        wall.append(round((ended - began) / 1e6, 3))
        cpu.append(round((cpu_ended - cpu_began) / 1e6, 3))
    return {"wall": wall, "cpu": cpu, "answer": answer, "memory": status("VmHWM") - before}


def run_for(module: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Make calls for some seconds, beginning at a moment, and return how many ended in time."""
    function = getattr(module, request["work"])
    time.sleep(max(0.0, request["start"] - time.time()))
    end = time.monotonic() + request["seconds"]
    cpu = time.process_time()
    calls = 0
    while time.monotonic() < end:
        function(event(request["work"], request["first"] + calls, 0), Context(900.0))
        calls += 1
    return {"calls": calls, "cpu": time.process_time() - cpu}


def main(name: str) -> None:
    """Serve requests until the input ends."""
    sys.path.insert(0, str(Path(__file__).parent / "peers"))
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    print(json.dumps({"ready": name}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = run_for(module, request) if "seconds" in request else called(module, request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
