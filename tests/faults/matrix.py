"""The fault matrix: what strikes, when, and what the caller of the function gets to see.

A cell is one invocation of `functions/deeds.py`: a transaction of two UPDATEs, or two SELECTs in a
read-only scope, struck once by one fault at one stage, with one attempt or with three. `TABLES` say
for each how it ends.
"""

import contextlib
import secrets
from dataclasses import dataclass

from breaking import (
    ANSWERED,
    BEFORE,
    CONNECT,
    FAULTS,
    FIRST,
    GREETING,
    LATER,
    LOGIN,
    LONG_PAUSE,
    PAUSE,
    SENT,
    SESSION,
    TLS,
)
from lanes import SETTLED, query

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
WRITES = {
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
    "lock wait, with innodb_rollback_on_timeout": {
        FIRST: (LOCKED, DONE),
        LATER: (LOCKED, DONE),
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
    "shutdown and restart while it waits for a lock": {
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
    },
}

#: The same for two SELECTs; connecting does not know what comes after it.
READS = {
    "cut": {
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        BEFORE: (DONE, DONE),
    },
    "RST": {
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        BEFORE: (DONE, DONE),
    },
    "stall": {
        FIRST: (LATE, LATE),
        LATER: (LATE, LATE),
    },
    "stall, with a statement_timeout": {
        FIRST: (SLOW, SLOW),
        LATER: (SLOW, SLOW),
    },
    "swallow the answer": {
        FIRST: (LATE, LATE),
        LATER: (LATE, LATE),
    },
    "drip": {
        FIRST: (LATE, LATE),
        LATER: (LATE, LATE),
    },
    "KILL": {
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        BEFORE: (DONE, DONE),
    },
    "lock wait without end": {
        FIRST: (DONE, DONE),
        LATER: (DONE, DONE),
    },
    "read-only": {
        FIRST: (DONE, DONE),
        LATER: (DONE, DONE),
        BEFORE: (DONE, DONE),
    },
    "SIGKILL and restart": {
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        BEFORE: (DONE, DONE),
    },
    "shutdown and restart": {
        FIRST: (LOST, DONE),
        LATER: (LOST, DONE),
        BEFORE: (DONE, DONE),
    },
}

TABLES = {"write": WRITES, "read": READS}

#: What the server must have said, where the caller gets to see that it said something.
NUMBERS = {
    "KILL QUERY while it waits for a lock": 1317,
    "deadlock": 1213,
    "lock wait": 1205,
    "lock wait, with innodb_rollback_on_timeout": 1205,
    "read-only": 1290,
    "read-only for a moment": 1290,
    "shutdown and restart while it waits for a lock": 1053,
}

#: What concerns every account of a server, and so wants one of its own.
SERVER_WIDE = {
    "server full",
    "read-only",
    "read-only for a moment",
    "SIGKILL",
    "SIGKILL and restart",
    "shutdown and restart",
    "shutdown and restart while it waits for a lock",
    "lock wait, with innodb_rollback_on_timeout",
}
RESTARTS = {
    "SIGKILL",
    "SIGKILL and restart",
    "shutdown and restart",
    "shutdown and restart while it waits for a lock",
}
ON_THE_LINE = {"cut", "cut each time", "RST", "stall", "swallow the answer", "drip"}
#: Seconds that the function gets. Where they are waited out, by itself or by its server, they are
#: few; a server needs some to come back; and the rest have plenty, for a busy machine.
TIMEOUTS = {
    "stall": 3.0,
    "stall, with a statement_timeout": 5.0,
    "swallow the answer": 3.0,
    "drip": 3.0,
    "lock wait without end": 3.0,
    "cut each time": 3.0,
    "account full": 3.0,
    "server full": 3.0,
    **dict.fromkeys(RESTARTS, 12.0),
}
PLENTY = 8.0
DATABASES = {
    "stall, with a statement_timeout": "hasty",
    "lock wait": "brief",
    "lock wait, with innodb_rollback_on_timeout": "brief",
    "lock wait without end": "enduring",
    "password changed, and known": "vault",
}

#: Sessions that their server keeps for its own wait_timeout: the SET with the shorter one has not
#: reached it. They hold no transaction, so no lock.
LEFT_OPEN = {("stall", SESSION)}

#: The cells of an everyday run; all of them where DAL_TEST_FAULTS says "all".
SOME_STAGES = {(LATER, 1), (LATER, 3), (BEFORE, 3), (ANSWERED, 3), (LOGIN, 3), (CONNECT, 1)}
SOME_READS = {"cut", "KILL", "lock wait without end"}
SOME_OF_A_SERVER = {
    ("read-only", LATER),
    ("SIGKILL and restart", LATER),
    ("shutdown and restart", SENT),
}


@dataclass(frozen=True)
class Cell:
    """One invocation under one fault."""

    fault: str
    stage: str
    attempts: int
    wire: str = "TLS"
    unit: str = "write"

    def __str__(self):
        return f"{self.unit}, {self.fault}, {self.stage}, {self.wire}, attempts={self.attempts}"

    @property
    def server_wide(self):
        return self.fault in SERVER_WIDE

    @property
    def expected(self):
        """Each end that will do, as what the caller sees and what the table holds."""
        ends = TABLES[self.unit][self.fault][self.stage][self.attempts > 1].split(" or ")
        stores = {DONE, STORED} if self.unit == "write" else {}
        return {
            (end.removesuffix(", stored"), "whole" if end in stores else "nothing") for end in ends
        }

    @property
    def number(self):
        return NUMBERS.get(self.fault)

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
        """Seconds that the function gets."""
        return TIMEOUTS.get(self.fault, PLENTY)

    @property
    def database(self):
        if self.fault in RESTARTS:
            return "patient"
        return "clear" if self.wire == "clear" else DATABASES.get(self.fault, "usual")

    @property
    def everyday(self):
        if self.wire == "clear":
            return False
        if self.unit == "read":
            return (self.stage, self.attempts) == (LATER, 3) and self.fault in SOME_READS
        if self.server_wide:
            return self.attempts == 3 and (self.fault, self.stage) in SOME_OF_A_SERVER
        return (self.stage, self.attempts) in SOME_STAGES


CELLS = [
    Cell(fault, stage, attempts, wire, unit)
    for unit, table in TABLES.items()
    for fault, stages in table.items()
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
    said: str
    log: str


def outcome(cell, lane):
    """Invoke the lane's function under the cell's fault, and look what is in the table then."""
    token = secrets.token_hex(4)
    with lane.admin() as admin:
        query(admin, "INSERT INTO deed VALUES (%s, 1, 0), (%s, 2, 0)", token, token)
    lane.log_in_once()
    if lane.function.pid is None:  # a cold start is no subject here
        lane.function.timeout = 20.0
        lane.function.invoke({"token": "", "unit": "read", "database": "usual", "attempts": 1})
    process = lane.function.pid
    lane.proxy.reset()
    lane.function.timeout = cell.timeout
    event = {
        "token": token,
        "unit": cell.unit,
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
    error = invocation.error or {"errorType": DONE, "errorMessage": ""}
    right = [1, 1] if cell.unit == "write" else [0, 0]
    return Outcome(
        seen=DONE if invocation.payload == right else error["errorType"],
        stored={((0,), (0,)): "nothing", ((1,), (1,)): "whole"}.get(times, f"{times}"),
        seconds=invocation.duration,
        runs=invocation.log.count("the unit runs"),
        same_process=lane.function.pid == process,
        settled=settled,
        said=error["errorMessage"],
        log=invocation.log[-3000:],
    )


# The table for people ----------------------------------------------------------------------------


def as_markdown(outcomes):
    """Return the outcomes, a dictionary from cell to outcome, as a Markdown table for each unit."""
    return "\n\n".join(
        "\n".join([f"### {TITLES[unit]}", "", *HEAD, *_rows(outcomes, unit)]) for unit in TABLES
    )


TITLES = {"write": "Two UPDATEs and COMMIT", "read": "Two SELECTs in a read-only scope"}
HEAD = ["| fault | stage | `attempts=1` | `attempts=3` |", "|---|---|---|---|"]


def _rows(outcomes, unit):
    for fault, stages in TABLES[unit].items():
        for stage in stages:
            columns = []
            for attempts in (1, 3):
                where = (unit, fault, stage, attempts)
                ends = {
                    one.seen if unit == "read" else f"{one.seen}: {one.stored}"
                    for cell, one in outcomes.items()
                    if (cell.unit, cell.fault, cell.stage, cell.attempts) == where
                }
                columns.append("; or ".join(sorted(ends)))
            shown = "before the answer" if (unit, stage) == ("read", BEFORE) else stage
            yield f"| {fault} | {shown} | {' | '.join(columns)} |"
