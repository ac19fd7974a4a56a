"""A session of a real server, replayed with one thing wrong in it: any packet, in each way.

DAL_TEST_MUTATIONS says how many sessions, DAL_TEST_SEED repeats a run.
"""

import contextlib
import os
import queue
import random
import resource
import socket
import struct
import threading
import time

import pymysql
import pytest
import sqlalchemy as sa
from accounts import Account, Accounts, Base

import dal
from dal import Database
from dal.engine import Settings, create_engine

SESSIONS = int(os.environ.get("DAL_TEST_MUTATIONS", "1000"))
SEED = int(os.environ.get("DAL_TEST_SEED", random.SystemRandom().randrange(10**9)))
WORKERS = 8
DEADLINE = 0.4
OVERRUN = 0.25
MEGABYTES = 100

OK = b"\x00\x00\x00\x02\x00\x00\x00"
ERROR = b"\xff\x13\x04#40001Deadlock found"
END = b"\xfe\x00\x00\x02\x00"
KINDS = ("cut", "doubled", "swapped", "oversized", "silent", "sequence", "length", "extra")
KINDS += ("another", "dropped", "bytes", "short", "endless", "reset", "ok_before")


def read_packet(file):
    header = file.read(4)
    if len(header) < 4:
        return None
    return header + file.read(int.from_bytes(header[:3], "little"))


def packet(number, payload):
    return len(payload).to_bytes(3, "little") + bytes([number % 256]) + payload


class Recorder:
    """Passes one connection on to the server, and keeps what the server says to each command."""

    def __init__(self, host, port):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._target = (host, port)
        self.greeting, self.login, self.answers = [], [], {}
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._thread.start()

    def _relay(self):
        client = self._listener.accept()[0]
        with client, socket.create_connection(self._target) as server:
            asks, says = client.makefile("rb"), server.makefile("rb")

            def pass_on(until):
                said = []
                while not said or not until(said):
                    said.append(read_packet(says))
                    client.sendall(said[-1])
                return said

            self.greeting = pass_on(len)
            server.sendall(read_packet(asks))
            self.login = pass_on(lambda said: said[-1][4:5] == b"\x00")
            while (asked := read_packet(asks)) and asked[4:5] != b"\x01":
                server.sendall(asked)
                self.answers[asked[4:].split()[0]] = pass_on(self._is_whole)

    @staticmethod
    def _is_whole(said):
        if said[0][4] in {0x00, 0xFF}:
            return True
        return sum(part[4] == 0xFE and len(part) < 13 for part in said) == 2

    def done(self):
        self._thread.join(10)
        self._listener.close()
        return self


class Stranger:
    """Answers like the recorded server, but for the packet of that number, which is mutated."""

    def __init__(self, record):
        self._record = record
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._open = []
        self.prepare("none", 0, random.Random(0))
        threading.Thread(target=self._serve, daemon=True).start()

    def prepare(self, kind, position, chance):
        self._kind, self._position, self._chance = kind, position, chance
        self.stored = set()  # what COMMIT was answered for
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open = []

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self._open.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def close(self):
        self._listener.close()
        self.prepare("none", 0, random.Random(0))

    def _talk(self, connection):
        self_kind, position, chance, stored = self._kind, self._position, self._chance, self.stored
        said = 0

        def say(parts):
            nonlocal said
            here = position - said
            said += len(parts)
            if 0 <= here < len(parts):
                mutate(connection, self_kind, parts, here, chance)
            else:
                connection.sendall(b"".join(parts))

        with contextlib.suppress(OSError, ValueError), connection:
            asks = connection.makefile("rb")
            marker = None
            say(self._record.greeting)
            read_packet(asks)
            say(self._record.login)
            while (asked := read_packet(asks)) and asked[4:5] != b"\x01":
                word = asked[4:].split()[0]
                if word == b"\x03INSERT":
                    marker = asked[asked.index(b"owner-") :].split(b"'")[0].decode()
                if word == b"\x03COMMIT":
                    # An OK to COMMIT leaves from here on, whole or not; what was said before is
                    # none. The mutations that keep it back are told by `mutate`.
                    is_own = not (0 <= position - said < 1) or self_kind in KEEPS_THE_OK
                    if is_own:
                        stored.add(marker)
                answers = self._record.answers
                if self_kind == "another" and 0 <= position - said <= 1:  # one of another statement
                    answers = {
                        b"\x03SELECT": answers[b"\x03SET"],
                        b"\x03SET": answers[b"\x03SELECT"],
                    }
                    word = b"\x03SELECT" if word == b"\x03SELECT" else b"\x03SET"
                say(answers.get(word, answers[b"\x03SET"]))


#: The mutations of an OK after which it, or an OK with other numbers in it, arrives all the same.
KEEPS_THE_OK = {"doubled", "swapped", "extra", "bytes", "endless", "ok_before", "none", "length"}


def mutate(line, kind, parts, here, chance):  # noqa: C901, PLR0912  # one case for each kind
    """Send `parts`, of which the one at `here` is not as it should be."""
    before, part, after = b"".join(parts[:here]), parts[here], b"".join(parts[here + 1 :])
    number, payload = part[3], part[4:]
    match kind:
        case "cut":
            line.sendall(before + part[: chance.randrange(len(part))])
            line.shutdown(socket.SHUT_RDWR)
        case "reset":
            line.sendall(before)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.close()
        case "doubled":
            line.sendall(before + part + part + after)
        case "swapped":
            other = parts[(here + 1) % len(parts)]
            line.sendall(before + other + part + after)
        case "oversized":
            line.sendall(before + b"\xff\xff\xff" + part[3:] + after)
        case "silent":
            line.sendall(before + part[: chance.randrange(len(part))])
            time.sleep(DEADLINE + 1)
        case "sequence":
            line.sendall(before + part[:3] + bytes([chance.randrange(256)]) + payload + after)
        case "length":
            length = max(0, len(payload) + chance.choice([-3, -2, -1, 1, 2, 3, 200]))
            line.sendall(before + length.to_bytes(3, "little") + part[3:] + after)
        case "extra":
            extra = chance.choice([OK, ERROR, END, b"", chance.randbytes(9), payload])
            wrong = packet(number + chance.choice([0, 1]), extra)
            line.sendall(before + part + wrong + after)
        case "ok_before":  # in the segment of an answer that came before
            line.sendall(before + part + after + packet(1, OK))
        case "dropped":
            line.sendall(before + after)
        case "bytes":
            changed = bytearray(payload or b"\0")
            for _ in range(chance.randrange(1, 4)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            line.sendall(before + packet(number, bytes(changed)) + after)
        case "short":
            line.sendall(before + packet(number, payload[: chance.randrange(len(payload) or 1)]))
            line.sendall(after)
        case "endless":
            line.sendall(before)
            for n in range(200_000):
                line.sendall(packet(number + n, payload))


@pytest.fixture(scope="module")
def tables(server):
    server.create_database("dal_strangers")
    yield "dal_strangers"
    server.drop_database("dal_strangers")


@pytest.fixture(scope="module")
def record(server, tables):
    """What a real server says to a login, to the settings, and to each statement of `work`."""
    environment = server.environment(tables)
    Base.metadata.create_all(create_engine(Settings.from_env(environment).for_migrations()))
    database = Database.from_env(environment, tls="disabled")
    with database.scope():  # a login that the server knows already
        Accounts(database).add(Account(owner="first", balance=1))
    recorder = Recorder(server.host, server.port)
    recorded = Database.from_env(
        environment, host="127.0.0.1", port=recorder.port, tls="disabled", pool="none"
    )
    work(recorded, "owner-0", stream=False)
    recorder.done()
    assert set(recorder.answers) == {b"\x03SET", b"\x03SELECT", b"\x03INSERT", b"\x03COMMIT"}
    return recorder


def work(database, marker, *, stream):
    """Read and write in one scope."""
    numbers = sa.text("SELECT id, owner, balance, 1.5 AS half, NOW() AS now FROM account LIMIT 3")
    options = {"yield_per": 1} if stream else {}
    with database.scope(deadline=DEADLINE) as session:
        for _ in session.execute(numbers, execution_options=options):
            pass
        Accounts(database).add(Account(owner=marker, balance=1))


class Late(str):
    """What is wrong with a session that ended too late."""


class Trial:
    """One worker: a stranger of its own, and a database that believes in it."""

    def __init__(self, record, environment, pool):
        self._stranger = Stranger(record)
        self._database = Database.from_env(
            environment,
            host="127.0.0.1",
            port=self._stranger.port,
            tls="disabled",
            pool=pool,
            max_result_bytes=1_000_000,
        )
        self._scopes = 2 if pool == "warm" else 1

    def run(self, session):
        """Return what is wrong with how a session ended, or None.

        Beside others it may be late for the processor's sake; that counts if it is alone, too.
        """
        chance = random.Random(f"{SEED}-{session}")
        kind, position = KINDS[session % len(KINDS)], chance.randrange(22 * self._scopes)
        self._database.engine.dispose()
        self._stranger.prepare(kind, position, chance)
        for scope in range(self._scopes):
            marker, began = f"owner-{session}-{scope}", time.monotonic()
            failure = None
            try:
                work(self._database, marker, stream=bool(chance.randrange(2)))
            except (dal.Error, sa.exc.SQLAlchemyError, pymysql.Error) as error:
                failure = error
            except Exception as error:  # noqa: BLE001  # which is what must not be
                return f"{kind} at {position}: {type(error).__name__}: {error}"
            late = time.monotonic() - began - DEADLINE
            if late > OVERRUN:
                return Late(f"{kind} at {position}: {late:.2f} s late, {failure!r}")
            if failure is None and marker not in self._stranger.stored:
                return f"{kind} at {position}: committed without its OK, scope {scope}"
            if isinstance(failure, sa.exc.ResourceClosedError):
                return f"{kind} at {position}: {failure!r}"
        return None

    def close(self):
        self._database.engine.dispose()
        self._stranger.close()


@pytest.mark.parametrize("pool", ["none", "warm"])
def test_a_broken_session_ends_in_time_in_an_error_and_is_never_committed_unasked(
    record, server, tables, pool, capsys
):
    with capsys.disabled():
        print(f"\n{SESSIONS // 2} broken sessions, pool={pool}, DAL_TEST_SEED={SEED}")  # noqa: T201
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sessions, wrong, again = queue.SimpleQueue(), [], []
    for session in range(SESSIONS // 2):
        sessions.put(session)

    def worker():
        trial = Trial(record, server.environment(tables), pool)
        with contextlib.suppress(queue.Empty), contextlib.closing(trial):
            while True:
                session = sessions.get_nowait()
                problem = trial.run(session)
                if isinstance(problem, Late):
                    again.append(session)
                elif problem is not None:
                    wrong.append(problem)

    threads = [threading.Thread(target=worker) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with contextlib.closing(Trial(record, server.environment(tables), pool)) as alone:
        for session in again:
            problems = [alone.run(session) for _ in range(3)]
            if None not in problems:
                wrong += problems[:1]
    assert not wrong, "\n".join(sorted(wrong)[:40])
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES
