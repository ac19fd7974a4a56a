"""A function that dies, freezes or is cut off in a transaction: its locks go within seconds.

The bound is five seconds after the deadline that Lambda gave it, whether or not anybody tells the
server that it is gone: idle, in a wait for a lock, in a result that streams to it. Only a frozen
one that had a long statement running keeps them for as long again as that ran.
"""

import contextlib
import os
import secrets
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from lanes import ALL, Lane, eventually, query
from sqlalchemy import text

from dal import Database
from dal.wire.session.login import RENEWAL

BOUND = 5.0
AT_ONCE = 8


@dataclass(frozen=True)
class Case:
    """One function that holds a row, and how it goes."""

    way: str
    """killed: the server hears of it; killed silently, frozen, cut off: it does not."""
    doing: str = "idle"
    last: float = 0.0
    """Seconds into the invocation at which the last statement begins."""
    gone: float = 0.5
    """Seconds after that at which the function goes."""
    timeout: float = 4.0
    everyday: bool = False
    ran: float = 0.0
    """Seconds that a long statement has run when the server ends it, or its client freezes."""

    def __str__(self):
        return f"{self.way}-{self.doing}-{self.last:g}-{self.gone:g}-of-{self.timeout:g}"


# The server's limits are renewed half a second after they were set: a statement just before that
# starts the longest idle time. They are whole seconds: 3.8 and a quarter are five.
LATEST, ROUNDED_UP = RENEWAL - 0.1, 4.3

CASES = [
    Case("killed", everyday=True),
    *(
        Case(way, last=last, gone=0.2, everyday=way == "frozen" and last > 0)
        for way in ("killed silently", "frozen", "cut off")
        for last in (0.0, LATEST, 3.2)
    ),
    Case("frozen", last=7.0, gone=0.2, timeout=8.0),
    Case("frozen", "thinks_after_a_slow_statement", gone=7.0, timeout=12.0),
    Case("frozen", "thinks_after_a_long_stream", gone=9.0, timeout=14.0),
    Case("killed", "streams"),
    Case("frozen", "streams", everyday=True),
    Case("cut off", "streams"),
    Case("frozen", "streams", last=LATEST),
    Case("frozen", "streams", gone=9.0, timeout=12.0, ran=9.0),
    Case("killed", "selects_slowly"),
    Case("frozen", "selects_slowly", timeout=3.0),
    Case("frozen", "selects_slowly", timeout=8.0, ran=7.5),
    *(
        Case(way, doing, last=last, timeout=timeout, everyday=way != "cut off" and last == LATEST)
        for doing in ("waits_behind_an_alter", "waits_for_a_row")
        for way in ("killed", "frozen", "cut off")
        for last, timeout in ((LATEST, ROUNDED_UP), (0.0, 6.0), (5.0, 6.0))
        if way != "cut off" or last == LATEST
    ),
]


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        cases = [case for case in CASES if ALL or case.everyday]
        metafunc.parametrize("case", cases, ids=str)


@contextlib.contextmanager
def in_the_way(lane, doing):
    """What the function is to wait for."""
    with contextlib.ExitStack() as stack:
        blocker = stack.enter_context(lane.admin(autocommit=False))
        if doing == "waits_for_a_row":
            query(blocker, "UPDATE deed SET times = 9 WHERE token = 'held'")
        if doing == "waits_behind_an_alter":
            query(blocker, "SELECT * FROM shut")
            alterer = lane.admin()
            stack.callback(alterer.close)
            thread = threading.Thread(
                target=lambda: query(alterer, "ALTER TABLE shut ADD COLUMN name CHAR(1)")
            )
            thread.start()
            stack.callback(thread.join)
            stack.callback(blocker.rollback)
            sql = (
                "SELECT 1 FROM information_schema.processlist WHERE id = %s "
                "AND state LIKE '%%metadata lock'"
            )
            with lane.admin() as admin:
                assert eventually(lambda: query(admin, sql, alterer.thread_id()), 5)
        yield


def go(lane, way):
    pid = lane.function.pid
    if way in {"killed silently", "cut off"}:
        lane.stall_now()
    if way == "frozen":
        # Stopped first; the platform's kill, later, is not to be heard of either.
        os.kill(pid, signal.SIGSTOP)
        lane.stall_now()
    if way in {"killed", "killed silently"}:
        os.kill(pid, signal.SIGKILL)


def seconds_until_the_row_is_free(case, server):
    """Play the case, and count from the deadline of the function that goes."""
    token = secrets.token_hex(4)
    with Lane(server, "holder.handler") as lane:
        with lane.admin() as admin:
            query(admin, "CREATE TABLE shut (id INT)")
            query(admin, "INSERT INTO deed VALUES (%s, 1, 0), ('held', 1, 0)", token)
        lane.log_in_once()
        lane.function.timeout = 20.0
        lane.function.invoke({})  # starts it, and fails
        lane.function.timeout = case.timeout
        lane.proxy.reset()
        command = 3 if case.last == 0 else 4
        if case.doing == "idle":
            command -= 1
        begins = lane.proxy.on(command, "drip", interval=0.0)
        event = {"token": token, "doing": case.doing, "last": case.last}
        with in_the_way(lane, case.doing), ThreadPoolExecutor(1) as pool:
            deadline = time.monotonic() + case.timeout
            invoked = pool.submit(lane.function.invoke, event)
            assert begins.wait(case.timeout)
            time.sleep(case.gone)
            go(lane, case.way)
            another = Database(
                server.url(lane.name), tls="unverified", statement_timeout=60, lock_wait_timeout=60
            )
            with another.scope(deadline=60) as session:
                sql = text("UPDATE deed SET times = times + 10 WHERE token = :token")
                session.execute(sql, {"token": token})
            free = time.monotonic() - deadline
            invoked.result()
        with lane.admin() as admin:
            assert query(admin, "SELECT times FROM deed WHERE token = %s", token) == ((10,),)
        return free


@pytest.fixture(scope="module")
def played(request, server):
    """A future of the seconds for each case that is to be tested: they wait side by side."""
    if server.is_mariadb:
        yield {}
        return
    cases = [
        item.callspec.params["case"]
        for item in request.session.items
        if "case" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {case: pool.submit(seconds_until_the_row_is_free, case, server) for case in cases}


def test_another_function_gets_the_row_in_time(mysql, case, played):
    assert played[case].result() < BOUND + case.ran
