"""What is going on at this moment."""

from __future__ import annotations

from dal.doctor.facts import Facts, Transaction, Unreadable, known
from dal.doctor.report import Outcome, ok, warn


def long_transactions(facts: Facts) -> Outcome:
    """Transactions that are open for long: they keep locks, and old rows from being purged."""
    limit = facts.asked.long_transaction
    long = [one for one in known(facts.transactions) if one.age >= limit]
    if not long:
        return ok(f"none is open for {limit:g} s or longer")
    oldest = max(long, key=lambda one: one.age)
    others = f", and {len(long) - 1} more" if len(long) > 1 else ""
    return warn(
        f"{_named(oldest)} is open for {oldest.age} s with {oldest.rows_locked} rows locked and "
        f"{oldest.rows_modified} changed{others}",
        f"find out what it waits for; {facts.kill(oldest.connection)} ends it and rolls it back",
    )


def lock_waits(facts: Facts) -> Outcome:
    """Who waits for whose lock; without PROCESS, how many do."""
    try:
        waiting = [one for one in known(facts.transactions) if one.is_waiting]
    except Unreadable as unreadable:
        count = facts.counter("Innodb_row_lock_current_waits")
        if not count:
            return ok("nobody waits for a row's lock")
        return warn(f"{count} wait for a row's lock", f"to see for whose: {unreadable.advice}")
    if not waiting:
        return ok("nobody waits for a row's lock")
    return warn(
        f"{len(waiting)} wait for a row's lock, {_named(waiting[0])} among them{_blockers(facts)}",
        "a moment's wait is normal; if it lasts, look at what holds the lock",
    )


def _blockers(facts: Facts) -> str:
    """Name who holds what others wait for; nothing where that cannot be seen."""
    if isinstance(facts.waits, Unreadable):
        return ""
    waiting = {wait.waiting for wait in facts.waits}
    first = [wait.blocking for wait in facts.waits if wait.blocking not in waiting]
    if not first:
        return ""
    return "; connection " + ", ".join(map(str, dict.fromkeys(first))) + " holds it"


def _named(one: Transaction) -> str:
    return f"connection {one.connection}" + (f" of {one.who}" if one.who else "")
