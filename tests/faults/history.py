"""What happened, operation by operation, and whether it can have happened on a right database."""

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

COUNTERS, ACCOUNTS = 3, 5
BALANCE = 1000  # of each account at the beginning

DONE = "done"
#: Errors after which the write may be stored or not; ExitError is that of a killed process.
OPEN = {"CommitOutcomeUnknown", "Runtime.ExitError"}


@dataclass(frozen=True)
class Entry:
    """One operation, as its caller saw it. Times are the caller's, on one clock."""

    op: str
    kind: str
    began: float
    ended: float
    seen: str
    counter: int | None = None
    value: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Applied:
    """The note of a write in the table."""

    op: str
    counter: int | None = None
    source: int | None = None
    target: int | None = None
    amount: int | None = None


@dataclass(frozen=True)
class End:
    """What is in the tables when all is over."""

    applied: list[Applied] = field(default_factory=list)
    counters: dict[int, int] = field(default_factory=dict)
    balances: dict[int, int] = field(default_factory=dict)


def violations(log, end):
    """Return what is wrong with this history, in words; nothing where it is right."""
    return [*_of_writes(log, end), *_of_sums(end), *_of_reads(log, end)]


def _of_writes(log, end):
    stored = Counter(note.op for note in end.applied)
    seen = {entry.op: entry.seen for entry in log}
    for entry in log:
        if entry.seen == "Sandbox.Timedout":
            yield f"{entry.op} was killed by its timeout"
        elif entry.kind != "read" and entry.seen == DONE and not stored[entry.op]:
            yield f"{entry.op} was acknowledged and is lost"
    for op, times in stored.items():
        if times > 1:
            yield f"{op} is stored {times} times"
        if op not in seen:
            yield f"{op} is stored and was never asked for"
        elif seen[op] not in OPEN | {DONE}:
            yield f"{op} is stored, and its caller saw {seen[op]}"


def _of_sums(end):
    counted = Counter(note.counter for note in end.applied if note.counter is not None)
    for counter, value in end.counters.items():
        if value != counted[counter]:
            yield f"counter {counter} is {value} after {counted[counter]} increments"
    balances = defaultdict(lambda: BALANCE)
    for note in end.applied:
        if note.amount is not None:
            balances[note.source] -= note.amount
            balances[note.target] += note.amount
    for account, balance in end.balances.items():
        if balance != balances[account]:
            yield f"account {account} has {balance} where its transfers give {balances[account]}"
    if sum(end.balances.values()) != BALANCE * len(end.balances):
        yield f"the balances add up to {sum(end.balances.values())}"


def _of_reads(log, end):
    stored = {note.op for note in end.applied}
    increments, reads = defaultdict(list), defaultdict(list)
    for entry in log:
        if entry.kind == "increment" and entry.op in stored:
            increments[entry.counter].append(entry)
        if entry.kind == "read" and entry.seen == DONE:
            reads[entry.counter].append(entry)
            if entry.total != BALANCE * len(end.balances):
                yield f"{entry.op} saw the balances add up to {entry.total}"
    for counter, found in reads.items():
        begins = sorted(entry.began for entry in increments[counter])
        # Only what was acknowledged must be seen by what began later.
        ends = sorted(entry.ended for entry in increments[counter] if entry.seen == DONE)
        for read in found:
            least = sum(ended < read.began for ended in ends)
            most = sum(began < read.ended for began in begins)
            if not least <= read.value <= most:
                yield f"{read.op} read {read.value}, between {least} and {most} were right"
        yield from _of_order(found)


def _of_order(reads):
    """Yield each read that saw less than one which had ended before it began."""
    by_end = iter(sorted(reads, key=lambda read: read.ended))
    newest, highest = next(by_end, None), -1
    for read in sorted(reads, key=lambda read: read.began):
        while newest is not None and newest.ended < read.began:
            highest = max(highest, newest.value)
            newest = next(by_end, None)
        if read.value < highest:
            yield f"{read.op} read {read.value} after {highest} had been read"


# What is asked for, and what strikes: all of it from the seed -------------------------------------


def operations(seed, worker):
    """Yield the events of one worker, without end."""
    choose = random.Random(f"{seed} operations {worker}")
    number = 0
    while True:
        number += 1
        kind = choose.choice(["increment", "transfer", "read"])
        event = {"op": f"{worker}-{number}", "kind": kind, "attempts": choose.choice([1, 3])}
        if kind == "transfer":
            source, target = choose.sample(range(ACCOUNTS), 2)
            event |= {"source": source, "target": target, "amount": choose.randint(1, 9)}
        else:
            event["counter"] = choose.randrange(COUNTERS)
        yield event


#: How often each fault is chosen, compared with the others.
WEIGHTS = {
    "cut": 3,
    "reset": 3,
    "stall": 1,
    "swallow": 2,
    "cut now": 2,
    "reset now": 1,
    "stall now": 1,
    "KILL": 3,
    "kill the function": 1,
}


@dataclass(frozen=True)
class Strike:
    """One fault: when, on whose line, and what."""

    at: float
    worker: int
    what: str
    moment: object = None
    answer: bool = False
    cut_after: float | None = None


def strikes(seed, seconds, workers):
    """Return the faults of a run, two in each second."""
    choose = random.Random(f"{seed} faults")
    found = []
    for half in range(int(seconds * 2)):
        what = choose.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
        strike = {"at": (half + choose.random()) / 2, "worker": choose.randrange(workers)}
        if what in {"cut", "reset", "stall", "swallow"}:
            # The SET is the first command, COMMIT the fourth of an increment, sixth of a transfer.
            strike["moment"] = choose.choice(["login", 1, 2, 3, 4, 4, 5, 6, 6])
            strike["answer"] = what == "swallow" or choose.random() < 0.5
        if what in {"stall", "swallow"}:
            strike["cut_after"] = choose.uniform(0.2, 3.0)
        found.append(Strike(what=what, **strike))
    return found
