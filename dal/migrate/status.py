"""Where a database is, what is half done and why; and settling that by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from dal.errors import InvalidArgument
from dal.migrate.journal.table import Journal, Row
from dal.migrate.lock import acquire, holder
from dal.migrate.names import quoted_journal


@dataclass
class HalfDone:
    """A revision that stopped, and where.

    Attributes:
        done: How many of its statements are done.
        step, statement, error: The one that it stopped at; None where nothing is known of one.
        who, since: Who ran it, and when that statement began.
    """

    revision: str
    way: str
    done: int
    step: int | None
    state: str | None
    statement: str | None
    error: str | None
    errno: int | None
    who: str | None
    since: str | None


@dataclass
class Status:
    """Where a database is.

    Attributes:
        at: The revisions that the database is at.
        heads: The newest revisions that there are.
        pending: The revisions that `alembic upgrade heads` would run, in some order that does.
        half_done: The revision that stopped; None where none did.
        works: Who migrates now; None where nobody does.
    """

    at: list[str]
    heads: list[str]
    pending: list[str]
    half_done: HalfDone | None
    works: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON takes it."""
        return asdict(self)


def status(config: Config) -> Status:
    """Return where the database is that `env.py` connects to; changes nothing, and takes no lock.

    Raises:
        ConfigurationError, ConnectError: the database is not named, or not reached.
    """
    found: list[Status] = []

    def look(at: Any, context: Any) -> list[Any]:
        found.append(_look(ScriptDirectory.from_config(config), at, context))
        return []

    _in_environment(config, look)
    return found[0]


def _in_environment(config: Config, look: Callable[[Any, Any], list[Any]]) -> None:
    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, script, fn=look, dont_mutate=True):
        script.run_env()


def _look(script: ScriptDirectory, at: Any, context: Any) -> Status:
    applied = {
        revision.revision
        for head in at
        for revision in script.iterate_revisions(head, "base", inclusive=True)
    }
    every = [revision.revision for revision in script.walk_revisions()]
    journal, driver, database = _journal(context)
    with contextlib.closing(driver.cursor()) as cursor:
        works = holder(cursor, database)
    return Status(
        at=list(at),
        heads=list(script.get_heads()),
        pending=[name for name in reversed(every) if name not in applied],
        half_done=_half_done(journal.rows()),
        works=None if works is None else str(works),
    )


def _journal(context: Any) -> tuple[Journal, Any, str]:
    driver = context.connection.connection.dbapi_connection
    with contextlib.closing(driver.cursor()) as cursor:
        cursor.execute("SELECT DATABASE()")
        database = cursor.fetchone()[0]
    return Journal(driver, quoted_journal(context.opts, database)), driver, database


def _half_done(rows: list[Row]) -> HalfDone | None:
    if not rows:
        return None
    last = rows[-1]
    is_open = not last.is_done
    return HalfDone(
        revision=last.revision,
        way=last.way,
        done=sum(row.is_done for row in rows),
        step=last.step if is_open else None,
        state=last.state if is_open else None,
        statement=last.statement.strip() if is_open else None,
        error=last.error,
        errno=last.errno,
        who=last.who,
        since=None if last.began_at is None else f"{last.began_at.isoformat()}Z",
    )


def resolve(config: Config, revision: str, step: int, *, done: bool) -> None:
    """Settle a statement of the revision that is half done, after looking by hand.

    Args:
        config: Alembic's.
        revision: The revision that is half done.
        step: The number of the statement.
        done: True: it is done, whatever it reads now, and is not sent again. False: it is not
            done, and is sent again.

    Raises:
        InvalidArgument: this revision is not half done, or there is no such statement.
        AnotherDeployer: somebody migrates at this moment.
    """

    def settle(_at: Any, context: Any) -> list[Any]:
        journal, driver, database = _journal(context)
        with contextlib.closing(driver.cursor()) as cursor:
            acquire(cursor, database, 0)
        rows = [row for row in journal.rows() if row.revision == revision]
        if not rows:
            raise InvalidArgument(f"revision {revision} is not half done; see: dal migrate status")
        known = {row.step: row for row in rows}
        if not 1 <= step <= max(known) + done:
            raise InvalidArgument(f"revision {revision} has come to statement {max(known)} only")
        last = rows[-1]
        row = known.get(step) or Row(revision, last.way, step, "", "", "done")
        row.state, row.position = "done" if done else "failed", None
        row.digest = "" if done else row.digest
        row.errno = row.error = None
        journal.write(row)
        driver.commit()
        return []

    _in_environment(config, settle)
