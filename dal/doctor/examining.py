"""`examine`: connect as the service does, read, judge."""

from __future__ import annotations

import math
import time

from sqlalchemy.exc import DBAPIError

from dal.database import Database
from dal.doctor.checks import CHECKS, Check
from dal.doctor.facts import Asked, Facts, Unreadable
from dal.doctor.gathering import gather
from dal.doctor.report import Finding, Outcome, Report, Verdict, skip
from dal.errors import DatabaseError, DeadlineExceeded, InvalidArgument
from dal.wire.deadline import Deadline
from dal.wire.purpose import Purpose, connecting_for


def examine(
    db: Database,
    *,
    concurrency: int | None = None,
    processes: int = 1,
    reserve: int = 10,
    long_transaction: float = 60.0,
    deadline: float | None = None,
) -> Report:
    """Check the server of `db` against what `dal` promises; changes nothing there.

    It makes a connection of its own, with the service's settings, and reads about ten answers; no
    statement takes a lock. Where no connection can be made, the report holds that alone.

    Args:
        db: The database, with the settings and the account of the service.
        concurrency: How many functions may run at once; None leaves that arithmetic out.
        processes: How many processes each of them has (more than one on Managed Instances).
        reserve: Connections for administrators, migrations, and to kill what was given up.
        long_transaction: Seconds from which an open transaction is worth a warning.
        deadline: Seconds from now after which nothing is waited for; None: no such limit.

    Raises:
        InvalidArgument: one of the numbers is negative, or `processes` is 0.
    """
    for name, number, lowest in (
        ("concurrency", concurrency, 0),
        ("processes", processes, 1),
        ("reserve", reserve, 0),
        ("long_transaction", long_transaction, 0),
        ("deadline", deadline, 0),
    ):
        if number is not None and not number >= lowest:
            raise InvalidArgument(f"{name} is {number!r}; it must be {lowest} or more")
    settings = db.settings
    address = f"{settings.host}:{settings.port}/{settings.database}"
    asked = Asked(concurrency, processes, reserve, long_transaction)
    limit = Deadline(math.inf if deadline is None else deadline, "the examination")
    started = time.monotonic()
    try:
        with connecting_for(Purpose(deadline=limit)), db.engine.connect() as connection:
            took = time.monotonic() - started
            facts = gather(connection, settings, asked, took)
    except (DatabaseError, DeadlineExceeded) as error:
        return _unread(address, str(error))
    except DBAPIError as error:
        return _unread(address, f"the server refused a question: {error.orig}")
    return judged(facts, address)


def _unread(address: str, why: str) -> Report:
    return Report(address, None, None, (Finding("Server", "connection", Verdict.FAIL, why),))


def judged(facts: Facts, address: str) -> Report:
    """Return what every check makes of the facts; reads nothing."""
    findings = []
    for topic, checks in CHECKS.items():
        for name, check in checks.items():
            outcome = _outcome(check, facts)
            findings.append(Finding(topic, name, outcome.verdict, outcome.found, outcome.advice))
    account = None if isinstance(facts.account, Unreadable) else facts.account.name
    return Report(address, facts.server, account, tuple(findings))


def _outcome(check: Check, facts: Facts) -> Outcome:
    try:
        return check(facts)
    except Unreadable as unreadable:
        return skip(unreadable.why, unreadable.advice)
    except (KeyError, ValueError) as error:  # a server of a kind that nobody has seen yet
        return skip(f"this server's answer was not understood: {error!r}")
