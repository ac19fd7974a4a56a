"""The function that asks: what a cold start of it costs more than it must."""

from __future__ import annotations

from dal.doctor.facts import Facts
from dal.doctor.report import Outcome, ok, skip, warn


def bytecode(facts: Facts) -> Outcome:
    """Whether its packages were deployed with bytecode: /var/task cannot be written."""
    if facts.uncompiled is None:
        return skip("this is no Lambda function")
    if not facts.uncompiled:
        return ok("the packages have bytecode that Python need not check")
    return warn(
        f"no bytecode for {', '.join(facts.uncompiled)}: each cold start compiles them again",
        "compile at the build: python -m compileall --invalidation-mode unchecked-hash, by an "
        "interpreter of the function's version (docs/deploying.md)",
    )
