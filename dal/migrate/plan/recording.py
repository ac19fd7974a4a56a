"""What the revisions send during a rehearsal: each statement, its class, and what it changed.

It stands where SQLAlchemy gives a statement to the driver, below all that `run()` does with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Engine

from dal.migrate.driver import stand_before_the_driver
from dal.migrate.journal.kinds import Kind, kind_of, tokens
from dal.migrate.journal.steps import current_steps
from dal.migrate.names import quoted
from dal.migrate.plan.classes import Cost, send
from dal.migrate.revision.allow import allowed

# The clauses that run() adds: behind the table's name, or on a line of their own.
_ADDED = re.compile(
    r" ALGORITHM=(?:INSTANT|INPLACE)(?:, LOCK=(?:NONE|SHARED))?,?(?= )"
    r"|\nALGORITHM=INPLACE LOCK=(?:NONE|SHARED)\Z"
)


def _as_written(sql: str) -> str:
    return _ADDED.sub("", sql, count=1)


@dataclass
class Sent:
    """One statement of a revision."""

    revision: str
    sql: str
    cost: Cost
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    allowed: dict[str, str] = field(default_factory=dict)


class Recorder:
    """Records what an engine sends inside revisions."""

    def __init__(self, witness: Any, database: str) -> None:
        """Take another session's cursor, which looks at the tables meanwhile."""
        self._witness = witness
        self._database = database
        self.sent: list[Sent] = []

    def listen(self, engine: Engine) -> None:
        """Stand between this engine's dialect and its driver."""
        stand_before_the_driver(engine, self._take)

    def _take(self, _cursor: Any, sql: str, run: Callable[[str], Any]) -> None:
        steps = current_steps()
        kind = kind_of(sql)
        if steps is None or kind in {Kind.SESSION, Kind.READ}:
            run(sql)
            return
        if kind is not Kind.DDL:
            run(sql)
            names = self._definitions(sql)
            self.sent.append(
                Sent(steps.revision, sql, Cost.ROWS, names, names, allowed=dict(allowed()))
            )
            return
        before = self._definitions(sql)
        cost = send(sql, run)
        record = Sent(steps.revision, _as_written(sql), cost, before, allowed=dict(allowed()))
        record.after = self._definitions(sql)
        self.sent.append(record)

    def _definitions(self, sql: str) -> dict[str, str]:
        """Return SHOW CREATE TABLE of the tables that a statement names."""
        self._witness.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = %s AND table_type = 'BASE TABLE'",
            (self._database,),
        )
        there = {name.lower(): name for (name,) in self._witness.fetchall()}
        words = {word.strip("`").replace("``", "`").lower() for word in tokens(sql)}
        found = {}
        for key in sorted(words & there.keys()):
            self._witness.execute(
                f"SHOW CREATE TABLE {quoted(self._database)}.{quoted(there[key])}"
            )
            found[there[key]] = self._witness.fetchone()[1]
        return found
