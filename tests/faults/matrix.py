"""The fault matrix: what strikes, when, and what the caller of the function gets to see.

A cell is one invocation of `functions/deeds.py`: a transaction of two UPDATEs, struck once by one
fault at one stage, with one attempt or with three. `TABLE` says for each how it ends.
"""

import contextlib
import secrets
import threading
import time
from dataclasses import dataclass

import pymysql
from lanes import SETTLED, eventually, query

from dal.testing.proxy import Fault

# Stages, in the order in which an invocation comes through them.
CONNECT = "connect"
GREETING = "handshake: greeting"
TLS = "handshake: TLS"
LOGIN = "handshake: login"
SESSION = "handshake: the SET"
FIRST = "first statement"
LATER = "later statement"
BEFORE = "before COMMIT"
SENT = "COMMIT sent"
ANSWERED = "COMMIT answered"

#: Where the proxy holds or breaks the line. The fault strikes before the bytes are passed on, at
#: ANSWERED after the server has done its part. BEFORE is between two packets.
MOMENTS = {
    CONNECT: "accept",
    GREETING: "greeting",
    TLS: "tls",
    LOGIN: "login",
    SESSION: 1,
    FIRST: 2,
    LATER: 3,
    SENT: 4,
    ANSWERED: 4,
}
STEPS = {FIRST: 1, LATER: 2}
#: Seconds that the unit lies idle before COMMIT, where BEFORE is the stage; and where the server
#: shuts down meanwhile, which takes it longer.
PAUSE, LONG_PAUSE = 1.0, 4.0

# What the caller sees; an error means that nothing is stored, but for the last.
DONE = "done"
LOST = "ConnectionLost"
LATE = "DeadlineExceeded"
DOWN = "ConnectError"
FULL = "TooManyConnections"
DENIED = "AccessDenied"
DEADLOCK = "Deadlock"
INTERRUPTED = "StatementInterrupted"
LOCKED = "LockWaitTimeout"
SLOW = "StatementTimeout"
UNKNOWN = "CommitOutcomeUnknown"
STORED = "CommitOutcomeUnknown, stored"


def either(*ends):
    """One of these: a race decides which."""
    return " or ".join(ends)


#: fault -> stage -> how it ends: with one attempt, with three. A stage that is missing cannot be:
#: nothing swallows an answer where none is given, nobody kills a session that is not there yet.
TABLE = {
    "cut": {
        CONNECT: (DONE, DONE),
        GREETING: (DONE, DONE),
        TLS: (DONE, DONE),
        LOGIN: (DONE, DONE),
        SESSION: (DONE, DONE),
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        BEFORE: (LOST, DONE),
        SENT: (UNKNOWN, UNKNOWN),
        ANSWERED: (STORED, STORED),
    },
    "cut each time": {
        LOGIN: (either(DOWN, LATE), either(DOWN, LATE)),
        FIRST: (LOST, LOST),
        LATER: (LOST, LOST),
        SENT: (UNKNOWN, UNKNOWN),
    },
    "RST": {
        CONNECT: (DONE, DONE),
        GREETING: (DONE, DONE),
        TLS: (DONE, DONE),
        LOGIN: (DONE, DONE),
        SESSION: (DONE, DONE),
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        BEFORE: (LOST, DONE),
        SENT: (UNKNOWN, UNKNOWN),
        ANSWERED: (STORED, STORED),
    },
    "stall": {
        CONNECT: (LATE, LATE),
        GREETING: (LATE, LATE),
        TLS: (LATE, LATE),
        LOGIN: (LATE, LATE),
        SESSION: (LATE, LATE),
        FIRST: (LATE, LATE),
        LATER: (LATE, LATE),
        SENT: (UNKNOWN, UNKNOWN),
        ANSWERED: (STORED, STORED),
    },
    "stall, with a statement_timeout": {
        FIRST: (SLOW, SLOW),
        LATER: (SLOW, SLOW),
        SENT: (UNKNOWN, UNKNOWN),
        ANSWERED: (STORED, STORED),
    },
    "swallow the answer": {
        GREETING: (LATE, LATE),
        LOGIN: (LATE, LATE),
        SESSION: (LATE, LATE),
        FIRST: (LATE, LATE),
        LATER: (LATE, LATE),
        ANSWERED: (STORED, STORED),
    },
    "drip": {
        GREETING: (LATE, LATE),
        TLS: (LATE, LATE),
        LOGIN: (LATE, LATE),
        SESSION: (LATE, LATE),
        FIRST: (LATE, LATE),
        LATER: (LATE, LATE),
        ANSWERED: (STORED, STORED),
    },
    "KILL": {
        SESSION: (DONE, DONE),
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        BEFORE: (LOST, DONE),
        SENT: (UNKNOWN, UNKNOWN),
        ANSWERED: (STORED, STORED),
    },
    "KILL while it waits for a lock": {
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
    },
    "KILL QUERY while it waits for a lock": {
        FIRST: (INTERRUPTED, INTERRUPTED),
        LATER: (INTERRUPTED, INTERRUPTED),
    },
    "deadlock": {
        LATER: (DEADLOCK, DONE),
    },
    "lock wait": {
        FIRST: (LOCKED, DONE),
        LATER: (LOCKED, DONE),
    },
    "lock wait without end": {
        FIRST: (LATE, LATE),
        LATER: (LATE, LATE),
    },
    "account full for a moment": {
        CONNECT: (DONE, DONE),
    },
    "account full": {
        CONNECT: (either(FULL, LATE), either(FULL, LATE)),
    },
    "password changed": {
        CONNECT: (DENIED, DENIED),
        LATER: (DONE, DONE),
    },
    "password changed, and known": {
        CONNECT: (DONE, DONE),
    },
    "server full": {
        CONNECT: (either(FULL, LATE), either(FULL, LATE)),
    },
    "read-only": {
        FIRST: (LOST, LOST),
        LATER: (LOST, LOST),
        BEFORE: (LOST, LOST),
        SENT: (LOST, LOST),
    },
    "read-only for a moment": {
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        SENT: (LOST, DONE),
    },
    "SIGKILL": {
        CONNECT: (DOWN, either(DOWN, LATE)),
        LOGIN: (DOWN, either(DOWN, LATE)),
        FIRST: (LOST, either(DOWN, LATE)),
        LATER: (LOST, either(DOWN, LATE)),
        BEFORE: (LOST, either(DOWN, LATE)),
        SENT: (UNKNOWN, UNKNOWN),
        ANSWERED: (STORED, STORED),
    },
    "SIGKILL and restart": {
        CONNECT: (DONE, DONE),
        LOGIN: (DONE, DONE),
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        BEFORE: (LOST, DONE),
        SENT: (UNKNOWN, UNKNOWN),
        ANSWERED: (STORED, STORED),
    },
    "shutdown and restart": {
        CONNECT: (DONE, DONE),
        LOGIN: (DONE, DONE),
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        # Before a COMMIT after a long silence the server's limits are renewed: that SET fails.
        BEFORE: (LOST, DONE),
        SENT: (UNKNOWN, UNKNOWN),
        ANSWERED: (STORED, STORED),
    },
}

#: What concerns every account of a server, and so wants one of its own.
SERVER_WIDE = {
    "server full",
    "read-only",
    "read-only for a moment",
    "SIGKILL",
    "SIGKILL and restart",
    "shutdown and restart",
}
RESTARTS = {"SIGKILL", "SIGKILL and restart", "shutdown and restart"}
ON_THE_LINE = {"cut", "cut each time", "RST", "stall", "swallow the answer", "drip"}
DATABASES = {
    "stall, with a statement_timeout": "hasty",
    "lock wait": "brief",
    "lock wait without end": "enduring",
    "password changed, and known": "vault",
}

#: Sessions that their server keeps for its own wait_timeout: the SET with the shorter one has not
#: reached it. They hold no transaction, so no lock.
LEFT_OPEN = {("stall", SESSION)}

#: The cells of an everyday run; all of them where DAL_TEST_FAULTS says "all".
SOME_STAGES = {(LATER, 1), (LATER, 3), (ANSWERED, 3), (LOGIN, 3), (CONNECT, 1)}
SOME_OF_A_SERVER = {
    ("read-only", LATER),
    ("SIGKILL and restart", LATER),
    ("SIGKILL and restart", ANSWERED),
    ("shutdown and restart", SENT),
}


@dataclass(frozen=True)
class Cell:
    """One invocation under one fault."""

    fault: str
    stage: str
    attempts: int
    wire: str = "TLS"

    def __str__(self):
        return f"{self.fault}, {self.stage}, {self.wire}, attempts={self.attempts}"

    @property
    def server_wide(self):
        return self.fault in SERVER_WIDE

    @property
    def expected(self):
        """Each end that will do, as what the caller sees and what the table holds."""
        ends = TABLE[self.fault][self.stage][self.attempts > 1].split(" or ")
        return {
            (end.removesuffix(", stored"), "whole" if end in {DONE, STORED} else "nothing")
            for end in ends
        }

    @property
    def may_leave_its_session(self):
        return (self.fault, self.stage) in LEFT_OPEN

    @property
    def pause(self):
        if self.stage != BEFORE:
            return 0
        return LONG_PAUSE if self.fault == "shutdown and restart" else PAUSE

    @property
    def timeout(self):
        """Seconds that the function gets; a server needs a few to come back."""
        return 12.0 if self.fault in RESTARTS else 3.0

    @property
    def database(self):
        if self.fault in RESTARTS:
            return "patient"
        return "clear" if self.wire == "clear" else DATABASES.get(self.fault, "usual")

    @property
    def everyday(self):
        if self.wire == "clear":
            return False
        if self.server_wide:
            return self.attempts == 3 and (self.fault, self.stage) in SOME_OF_A_SERVER
        return (self.stage, self.attempts) in SOME_STAGES


CELLS = [
    Cell(fault, stage, attempts, wire)
    for fault, stages in TABLE.items()
    for stage in stages
    for wire in (("TLS", "clear") if fault in ON_THE_LINE and stage != TLS else ("TLS",))
    for attempts in (1, 3)
]


@dataclass(frozen=True)
class Outcome:
    """What came of a cell."""

    seen: str
    stored: str
    seconds: float
    runs: int
    same_process: bool
    settled: bool
    log: str


def outcome(cell, lane):
    """Invoke the lane's function under the cell's fault, and look what is in the table then."""
    token = secrets.token_hex(4)
    with lane.admin() as admin:
        query(admin, "INSERT INTO deed VALUES (%s, 1, 0), (%s, 2, 0)", token, token)
    lane.log_in_once()
    if lane.function.pid is None:  # a cold start is no subject here
        lane.function.timeout = 20.0
        lane.function.invoke({"token": "", "database": "usual", "attempts": 1, "pause": 0})
    process = lane.function.pid
    lane.proxy.reset()
    lane.function.timeout = cell.timeout
    event = {
        "token": token,
        "database": cell.database,
        "attempts": cell.attempts,
        "pause": cell.pause,
    }
    with contextlib.ExitStack() as fault:
        fault.enter_context(FAULTS[cell.fault](lane, cell.stage, token))
        invocation = lane.function.invoke(event)
        # A line that fell silent stays so: the server must end the session by itself.
        if cell.may_leave_its_session:
            settled = lane.no_transactions_within(SETTLED)
        else:
            settled = cell.fault in RESTARTS or lane.no_sessions_within(SETTLED)
    lane.proxy.release()
    with lane.admin() as admin:
        times = query(admin, "SELECT times FROM deed WHERE token = %s ORDER BY step", token)
    return Outcome(
        seen=DONE if invocation.error is None else invocation.error["errorType"],
        stored={((0,), (0,)): "nothing", ((1,), (1,)): "whole"}.get(times, f"{times}"),
        seconds=invocation.duration,
        runs=invocation.log.count("the unit runs"),
        same_process=lane.function.pid == process,
        settled=settled,
        log=invocation.log[-3000:],
    )


# The faults: each a context manager around the invocation ----------------------------------------


def on_the_line(action, **options):
    @contextlib.contextmanager
    def fault(lane, stage, token):
        if stage == BEFORE:

            def strike():
                time.sleep(PAUSE / 3)
                lane.break_now(action)

            with lane.on_strike(idle_after_the_last_statement(lane), strike):
                yield
        else:
            armed = lane.proxy.on(MOMENTS[stage], action, answer=stage == ANSWERED, **options)
            yield
            assert armed.fired, f"never came: {armed.moment!r}"

    return fault


def idle_after_the_last_statement(lane) -> Fault:
    """Strikes when the answer to the last statement passes; changes nothing."""
    return lane.proxy.on(3, "drip", answer=True, interval=0.0)


@contextlib.contextmanager
def held(lane, stage, act):
    """Hold the line at the stage, `act`, and let go: the client notices nothing before that."""
    if stage == BEFORE:
        fault = idle_after_the_last_statement(lane)
    elif stage == ANSWERED:
        fault = lane.proxy.on(4, "swallow")
        original = act

        def act():
            time.sleep(0.2)  # the server is to have answered
            original()
    else:
        fault = lane.proxy.on(MOMENTS[stage], "stall")
    with lane.on_strike(fault, act):
        yield


@contextlib.contextmanager
def kill(lane, stage, token):
    with held(lane, stage, lane.kill_sessions):
        yield


@contextlib.contextmanager
def rival(lane, stage, token):
    """A transaction that holds the row of this stage's statement; give its cursor."""
    with lane.admin(autocommit=False) as connection, connection.cursor() as cursor:
        row = (token, STEPS[stage])
        cursor.execute("UPDATE deed SET times = times + 100 WHERE token = %s AND step = %s", row)
        yield cursor
        with contextlib.suppress(pymysql.Error):
            connection.rollback()


def passes(lane, stage) -> Fault:
    """Strikes when the stage's request passes; changes nothing."""
    return lane.proxy.on(MOMENTS[stage], "drip", interval=0.0)


def kill_in_a_lock_wait(what="CONNECTION"):
    waiting = (
        "SELECT 1 FROM information_schema.processlist WHERE user = %s AND info LIKE 'UPDATE%%'"
    )

    @contextlib.contextmanager
    def fault(lane, stage, token):
        def strike():
            with lane.server.connect() as root:
                assert eventually(lambda: query(root, waiting, lane.name), 5)
            lane.kill_sessions(what)
            if what == "CONNECTION":
                holder.connection.rollback()

        with rival(lane, stage, token) as holder, lane.on_strike(passes(lane, stage), strike):
            yield

    return fault


@contextlib.contextmanager
def deadlock(lane, stage, token):
    def strike():
        wants_the_first = "UPDATE deed SET times = times + 100 WHERE token = %s AND step = 1"
        waiting = threading.Thread(target=lambda: holder.execute(wants_the_first, (token,)))
        waiting.start()
        time.sleep(0.3)
        lane.let_go()
        waiting.join()
        holder.connection.rollback()

    with rival(lane, stage, token) as holder:
        # InnoDB ends the transaction that has written less.
        heavy = [(f"{token[:4]}{number:04}", 9) for number in range(50)]
        holder.executemany("INSERT INTO deed VALUES (%s, %s, 0)", heavy)
        with lane.on_strike(lane.proxy.on(MOMENTS[stage], "stall"), strike):
            yield


@contextlib.contextmanager
def lock_wait(lane, stage, token):
    def strike():
        # Until the second attempt comes, or (with one attempt) will not come any more.
        eventually(lambda: len(lane.proxy.connections) > 1, 3.5)
        holder.connection.rollback()

    with rival(lane, stage, token) as holder, lane.on_strike(passes(lane, stage), strike):
        yield


@contextlib.contextmanager
def endless_lock_wait(lane, stage, token):
    with rival(lane, stage, token):
        yield


def account_full(seconds=None):
    @contextlib.contextmanager
    def fault(lane, stage, token):
        limit = "ALTER USER %s@'%%' WITH MAX_USER_CONNECTIONS %d"
        with lane.server.connect() as root:
            query(root, limit % (lane.name, 1))
        # Only now: a connection made under no limit is not counted.
        occupant = lane.occupy()
        leaving = threading.Timer(seconds or 60, occupant.close)
        leaving.start()
        try:
            yield
        finally:
            leaving.cancel()
            leaving.join()
            with contextlib.suppress(pymysql.Error):
                occupant.close()
            with lane.server.connect() as root:
                query(root, limit % (lane.name, 0))

    return fault


def password_changed(*, known):
    @contextlib.contextmanager
    def fault(lane, stage, token):
        alter = f"ALTER USER {lane.name}@'%%' IDENTIFIED BY %s"

        def strike():
            with lane.server.connect() as root:
                query(root, alter, "an other")
            if known:
                lane.vault.write_text("an other")

        try:
            with held(lane, stage, strike):
                yield
        finally:
            with lane.server.connect() as root:
                query(root, alter, lane.password)
            lane.vault.write_text(lane.password)

    return fault


@contextlib.contextmanager
def server_full(lane, stage, token):
    with lane.server.connect() as root, contextlib.ExitStack() as occupants:
        ((usual,),) = query(root, "SELECT @@max_connections")
        query(root, "SET GLOBAL max_connections = 10")
        try:
            with contextlib.suppress(pymysql.OperationalError):
                while True:
                    occupants.enter_context(lane.occupy())
            yield
        finally:
            query(root, f"SET GLOBAL max_connections = {usual}")


@contextlib.contextmanager
def read_only(lane, stage, token):
    def strike():
        query(root, "SET GLOBAL super_read_only = ON")

    with lane.server.connect() as root:
        try:
            with held(lane, stage, strike):
                yield
        finally:
            query(root, "SET GLOBAL read_only = OFF")


@contextlib.contextmanager
def read_only_for_a_moment(lane, stage, token):
    def strike():
        query(root, "SET GLOBAL super_read_only = ON")
        again = lane.proxy.on("login", "stall")
        lane.let_go()
        again.wait(1.5)  # the second attempt, if one comes
        query(root, "SET GLOBAL read_only = OFF")

    with lane.server.connect() as root:
        try:
            with held(lane, stage, strike):
                yield
        finally:
            query(root, "SET GLOBAL read_only = OFF")


def server_ends(how, *, comes_back):
    @contextlib.contextmanager
    def fault(lane, stage, token):
        def strike():
            getattr(lane.server, how)()
            lane.let_go()
            if comes_back:
                lane.server.start()

        try:
            with held(lane, stage, strike):
                yield
        finally:
            lane.server.start()

    return fault


FAULTS = {
    "cut": on_the_line("cut"),
    "cut each time": on_the_line("cut", times=None),
    "RST": on_the_line("reset"),
    "stall": on_the_line("stall"),
    "stall, with a statement_timeout": on_the_line("stall"),
    "swallow the answer": on_the_line("swallow"),
    "drip": on_the_line("drip", interval=0.7),
    "KILL": kill,
    "KILL while it waits for a lock": kill_in_a_lock_wait(),
    "KILL QUERY while it waits for a lock": kill_in_a_lock_wait("QUERY"),
    "deadlock": deadlock,
    "lock wait": lock_wait,
    "lock wait without end": endless_lock_wait,
    "account full for a moment": account_full(0.4),
    "account full": account_full(),
    "password changed": password_changed(known=False),
    "password changed, and known": password_changed(known=True),
    "server full": server_full,
    "read-only": read_only,
    "read-only for a moment": read_only_for_a_moment,
    "SIGKILL": server_ends("kill", comes_back=False),
    "SIGKILL and restart": server_ends("kill", comes_back=True),
    "shutdown and restart": server_ends("shut_down", comes_back=True),
}


# The table for people ----------------------------------------------------------------------------


def as_markdown(outcomes):
    """Return the outcomes, a dictionary from cell to outcome, as a Markdown table."""
    rows = ["| fault | stage | `attempts=1` | `attempts=3` |", "|---|---|---|---|"]
    for fault, stages in TABLE.items():
        for stage in stages:
            columns = []
            for attempts in (1, 3):
                ends = {
                    f"{one.seen}: {one.stored}"
                    for cell, one in outcomes.items()
                    if (cell.fault, cell.stage, cell.attempts) == (fault, stage, attempts)
                }
                columns.append("; or ".join(sorted(ends)))
            rows.append(f"| {fault} | {stage} | {' | '.join(columns)} |")
    return "\n".join(rows)
