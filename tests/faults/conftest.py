"""The servers that the faults strike, and the matrix as it is worked off: several cells at once."""

import contextlib
import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this file

import matrix
from lanes import ALL, Lane
from restartable import CannotRestart, Restartable

from dal.testing.server import NoServer, start_server

LANES = 8
DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- the matrix: written by make prove-faults -->", "<!-- end of the matrix -->"


def pytest_generate_tests(metafunc):
    if "cell" in metafunc.fixturenames:
        cells = [cell for cell in matrix.CELLS if ALL or cell.everyday]
        metafunc.parametrize("cell", cells, ids=str)


@pytest.fixture(scope="session")
def server():
    """A server of the ladder's, which no fault ends."""
    try:
        started = start_server()
    except NoServer as reason:
        pytest.fail(str(reason), pytrace=False)
    with started:
        yield started


@pytest.fixture
def mysql(server):
    if server.is_mariadb:
        pytest.skip("the errors and limits are MySQL's, and this is MariaDB")
    return server


@pytest.fixture(scope="session")
def outcomes(request, server):
    """A future of its outcome for each cell that is to be tested."""
    if server.is_mariadb:
        yield {}
        return
    chosen = [
        item.callspec.params["cell"]
        for item in request.session.items
        if "cell" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    shared = [cell for cell in chosen if not cell.server_wide]
    alone = [cell for cell in chosen if cell.server_wide]
    with contextlib.ExitStack() as stack:
        lanes = queue.SimpleQueue()
        for _ in range(min(LANES, len(shared))):
            lanes.put(stack.enter_context(Lane(server)))

        def in_a_lane(cell):
            lane = lanes.get()
            try:
                return matrix.outcome(cell, lane)
            finally:
                lanes.put(lane)

        several = stack.enter_context(ThreadPoolExecutor(LANES))
        one = stack.enter_context(ThreadPoolExecutor(1))
        if alone:
            own = one.submit(lambda: stack.enter_context(OwnServer()))
        futures = {cell: several.submit(in_a_lane, cell) for cell in shared}
        futures |= {
            cell: one.submit(lambda cell=cell: own.result().outcome(cell)) for cell in alone
        }
        yield futures
        for future in futures.values():
            future.cancel()
        done = {cell: one for cell, one in futures.items() if not one.cancelled()}
        results = {cell: one.result() for cell, one in done.items() if one.exception() is None}
        if set(results) == set(matrix.CELLS):
            write_down(results, server.version)
        tell_how_near_it_was(request.config, results)


class OwnServer:
    """A server that may be ended, and a lane to it."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            try:
                self._server = Restartable()
            except CannotRestart as reason:
                self._server, self._reason = None, str(reason)
                return self
            stack.callback(self._server.stop)
            self._lane = stack.enter_context(Lane(self._server))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        if self._server is not None:
            self._stack.close()

    def outcome(self, cell):
        if self._server is None:
            return self._reason
        return matrix.outcome(cell, self._lane)


def tell_how_near_it_was(config, results):
    left = [
        (cell.timeout - result.seconds, str(cell))
        for cell, result in results.items()
        if isinstance(result, matrix.Outcome)
    ]
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if left and reporter is not None:  # there is none in a worker of pytest-xdist
        seconds, cell = min(left)
        with config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"faults: {len(left)} cells; {seconds:.2f} s were left in: {cell}")


def write_down(outcomes, version):
    """Put the table into the documentation, if each cell ended as it should."""
    if not all(
        isinstance(one, matrix.Outcome) and (one.seen, one.stored) in cell.expected
        for cell, one in outcomes.items()
    ):
        return
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    text = f"{len(outcomes)} cells on MySQL {version}.\n\n{matrix.as_markdown(outcomes)}"
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
