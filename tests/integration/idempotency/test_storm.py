"""Repeats of one event at once, while their processes are killed and frozen: one effect, always.

`make prove-idempotency` runs it large; DAL_TEST_SEED repeats the choices of a run.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
import types
from collections import defaultdict

import pytest
import storm_worker

ALL = os.environ.get("DAL_TEST_EXACTLY_ONCE") == "all"
CALLERS, KEYS, EACH, PAUSE = (32, 1000, 4, 0.05) if ALL else (4, 12, 3, 0.5)


@pytest.fixture
def storm(db, server, database, environment):
    """What the storm needs to know of the test's database."""
    return types.SimpleNamespace(server=server, database=database, environment=environment)


class Caller:
    """One who repeats an event until there is an answer, by processes that may be killed."""

    def __init__(self, context, environment):
        self._context = context
        self._environment = environment
        self._start()

    def _start(self):
        self._pipe, theirs = self._context.Pipe()
        process = self._context.Process(
            target=storm_worker.call, args=(theirs, self._environment), daemon=True
        )
        process.start()
        self.process = process
        theirs.close()

    def ask(self, key, heard):
        """Return the answer, and how many callbacks have told of it."""
        callbacks = 0
        while True:
            try:
                self._pipe.send(key)
                answer, error, told = self._pipe.recv()
            except (EOFError, OSError):
                self.process.join()
                heard["killed"] += 1
                self._start()
                continue
            callbacks += told
            if error is None:
                return answer, callbacks
            heard[error] += 1

    def stop(self):
        self.process.kill()
        self.process.join()


class Striker(threading.Thread):
    """Kills or freezes processes, mostly such as have a transaction open."""

    def __init__(self, server, database, callers, dice):
        super().__init__(daemon=True)
        self.struck = defaultdict(int)
        self._over = threading.Event()
        self._connection = server.connect(database)
        self._callers = callers
        self._dice = dice

    def run(self):
        frozen = {}  # what is frozen must not be struck again, or nobody ever waits for it
        try:
            self._strike(frozen)
        finally:
            for pid in frozen:
                self._signal(pid, signal.SIGCONT)
            self._connection.close()

    def _strike(self, frozen):
        while not self._over.wait(PAUSE):
            for pid in [pid for pid, until in frozen.items() if time.monotonic() > until]:
                self._signal(pid, signal.SIGCONT)
                del frozen[pid]
            pids = {caller.process.pid for caller in self._callers} - set(frozen)
            holders = self._holders() & pids
            is_aimed = bool(holders) and self._dice.random() < 0.7
            pid = self._dice.choice(sorted(holders if is_aimed else pids) or [0])
            if pid == 0:
                continue
            self.struck["aimed"] += is_aimed
            if self._dice.random() < 0.8:
                self.struck["killed"] += self._signal(pid, signal.SIGKILL)
            elif self._signal(pid, signal.SIGSTOP):
                self.struck["frozen"] += 1
                frozen[pid] = time.monotonic() + self._dice.uniform(0.5, 5.0 if ALL else 1.5)

    def stop(self):
        self._over.set()
        self.join()

    def _holders(self):
        """The processes that have a transaction open."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT attr_value FROM performance_schema.session_connect_attrs "
                "JOIN information_schema.innodb_trx ON trx_mysql_thread_id = processlist_id "
                "WHERE attr_name = '_pid'"
            )
            return {int(pid) for (pid,) in cursor.fetchall()}

    @staticmethod
    def _signal(pid, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False


@pytest.mark.mysql("it looks for the holder in performance_schema")
def test_each_key_has_one_effect_and_one_answer(storm, admin, capsys):
    seed = int(os.environ.get("DAL_TEST_SEED") or random.randrange(10**6))
    dice = random.Random(seed)
    with admin.cursor() as cursor:
        cursor.execute("CREATE TABLE effect (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20))")
        cursor.execute("CREATE TABLE counter (id INT PRIMARY KEY, n INT)")
        cursor.execute("INSERT INTO counter VALUES (1, 0), (2, 0)")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["storm_worker"])
    callers = [Caller(context, dict(storm.environment)) for _ in range(CALLERS)]
    work = [f"k{number}" for number in range(KEYS) for _ in range(EACH)]
    answers, callbacks, heard = defaultdict(list), defaultdict(int), defaultdict(int)

    def repeat(caller):
        while True:
            try:
                key = work.pop(0)
            except IndexError:
                return
            answer, told = caller.ask(key, heard)
            answers[key].append(answer)
            callbacks[key] += told

    striker = Striker(storm.server, storm.database, callers, dice)
    began = time.monotonic()
    threads = [threading.Thread(target=repeat, args=(caller,)) for caller in callers]
    for thread in [striker, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    striker.stop()
    for caller in callers:
        caller.stop()
    with capsys.disabled():
        print(  # noqa: T201
            f"\nstorm: seed {seed}, {KEYS} keys x {EACH}, {CALLERS} callers, "
            f"{time.monotonic() - began:.1f} s; {dict(striker.struck)}; heard {dict(heard)}"
        )
    with admin.cursor() as cursor:
        cursor.execute("SELECT name, COUNT(*) FROM effect GROUP BY name")
        effects = dict(cursor.fetchall())
        cursor.execute("SELECT n FROM counter ORDER BY id")
        counters = [n for (n,) in cursor.fetchall()]
    assert effects == {f"k{number}": 1 for number in range(KEYS)}
    assert counters == [KEYS, KEYS]
    assert {
        key: len({each["by"] for each in given}) for key, given in answers.items()
    } == dict.fromkeys(effects, 1)
    assert {len(given) for given in answers.values()} == {EACH}
    assert max(callbacks.values()) <= 1
    assert striker.struck["killed"] > 0
