"""Whether there are enough connections for all functions at once."""

from __future__ import annotations

import math
from datetime import timedelta

from dal.doctor.facts import Facts
from dal.doctor.report import Outcome, fail, ok, skip, warn

#: The part of `max_connections` above which the next busy day may not fit.
HIGH_WATER = 0.8

_FEWER = "limit the functions' concurrency (reserved concurrency, or the queue's), use RDS Proxy"


def budget(facts: Facts) -> Outcome:
    """`max_connections` against concurrency x processes + reserve, and against what there was."""
    if facts.behind_proxy:
        return skip(
            "behind RDS Proxy the functions share its connections: see MaxConnectionsPercent and "
            "the borrow timeout there"
        )
    limit = int(facts.variable("max_connections"))
    others = facts.counter("Threads_connected") - 1  # this one is the examination's own
    most = facts.counter("Max_used_connections")
    seen = f"{others} open beside this one, {most} at most since {_since(facts)}"
    asked = facts.asked
    needed = 0
    found = ok(f"max_connections = {limit}; {seen}; --concurrency N does the arithmetic")
    if asked.concurrency is not None:
        needed = asked.concurrency * asked.processes + asked.reserve
        wanted = (
            f"max_connections = {limit}, {needed} wanted ({asked.concurrency} functions at once x "
            f"{asked.processes} + {asked.reserve} in reserve)"
        )
        found = ok(f"{wanted}; {seen}")
    enough = max(needed + others, math.ceil(most / HIGH_WATER) + 1)
    more = f"{_FEWER}, or {facts.set_to('max_connections', str(enough))}"
    if needed > limit:
        return fail(f"{wanted}; {seen}", more)
    if needed and needed + others > limit:
        return warn(f"{wanted}: too few unless the {others} open now are those functions", more)
    if most >= limit * HIGH_WATER:
        return warn(f"{most} of {limit} were open at once since {_since(facts)}", more)
    return found


def account_limit(facts: Facts) -> Outcome:
    """`max_user_connections`: the account's own limit, or the one for all accounts."""
    limit = int(facts.session["max_user_connections"])
    if not limit:
        return ok("the account has no limit of its own")
    asked = facts.asked
    needed = (asked.concurrency or 0) * asked.processes
    if needed > limit and not facts.behind_proxy:
        return fail(
            f"the account may have {limit} connections, and {needed} are wanted "
            f"({asked.concurrency} functions at once x {asked.processes})",
            "ALTER USER ... WITH MAX_USER_CONNECTIONS ... (0: no limit), or fewer functions",
        )
    return ok(f"the account may have {limit} connections")


def refused(facts: Facts) -> Outcome:
    """`Connection_errors_max_connections`: logins refused because the server was full (1040)."""
    count = facts.counter("Connection_errors_max_connections")
    if count:
        return warn(
            f"{count} login{'s' * (count > 1)} refused since {_since(facts)}: the server was full",
            f"{_FEWER}, or {facts.set_to('max_connections', '...')}",
        )
    return ok(f"no login refused since {_since(facts)} for want of connections")


def pool(facts: Facts) -> Outcome:
    """`init_connect`: what it sets up is gone after a reset, so that the pool keeps nothing."""
    if facts.settings.pool != "warm":
        return skip("no session is kept: DAL_POOL is not warm")
    if facts.variable("init_connect"):
        return warn(
            "DAL_POOL=warm keeps no session here: a reset does not run init_connect again",
            facts.set_to("init_connect", "''") + ", or leave DAL_POOL unset",
        )
    return ok("each process keeps one session: a connection for every function that is warm")


def _since(facts: Facts) -> str:
    seconds = facts.counter("Uptime")
    if seconds < 7200:
        return f"the start {seconds // 60} min ago" if seconds >= 60 else "the start just now"
    age = timedelta(seconds=seconds)
    return (
        f"the start {age.days} days ago" if age.days > 1 else f"the start {seconds // 3600} h ago"
    )
