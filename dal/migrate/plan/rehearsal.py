"""Run the pending revisions by the real code, where nobody is: beside the target, without rows.

The server is the target's own, so version, settings and definitions are those that count. Nothing
of the target is changed, and no lock is taken on its tables. The rehearsal's database is dropped at
the end, whatever happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import time
from collections.abc import Iterator
from typing import Any

from alembic.config import Config

from dal.engine import Settings, create_engine
from dal.errors import UsageError
from dal.migrate.failure import MigrationFailed
from dal.migrate.names import journal_name, quoted
from dal.migrate.plan import clone
from dal.migrate.plan.findings import Size, Target, findings
from dal.migrate.plan.recording import Recorder, Sent
from dal.migrate.plan.report import Plan, PlannedRevision, Step
from dal.migrate.running import Runner
from dal.migrate.settings import MigrationSettings


def rehearse(
    config: Config, settings: Settings, *, on: Settings | None = None, since: str | None = None
) -> Plan:
    """Rehearse what `alembic upgrade heads` would do, and return what it is.

    Args:
        config: Alembic's, whose `env.py` calls `dal.migrate.run()`.
        settings: The target. It is read, and not changed.
        on: Another server for the rehearsal, where the target's account may create no database.
        since: Rehearse from this revision on (or "base"), on what the revisions before it make; the
            target is not read at all. For a pipeline that does not reach it.

    Raises:
        UsageError: `env.py` does not call `run()`; another rehearsal of this database runs; a
            revision is half done on the target.
        ConnectError: a server was not reached.
        ServerError and others: the account may not read or create something.
    """
    began = time.monotonic()
    work = dataclasses.replace(on or settings, database=clone.rehearsal_name(settings.database))
    with (
        _session(on or settings) as witness,
        _alone(witness, work.database),
    ):
        clone.create(witness, work.database)
        try:
            rehearsal = _Rehearsal(config, settings, work, witness)
            plan = rehearsal.run(since)
        finally:
            clone.drop(witness, work.database)
    plan.seconds = round(time.monotonic() - began, 1)
    return plan


@contextlib.contextmanager
def _session(settings: Settings) -> Iterator[Any]:
    """Give a driver's cursor in autocommit."""
    engine = create_engine(settings.for_migrations())
    with engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        with contextlib.closing(driver.cursor()) as cursor:
            cursor.execute("SET autocommit = 1")
            yield cursor


@contextlib.contextmanager
def _alone(cursor: Any, database: str) -> Iterator[None]:
    name = f"dal.plan.{hashlib.sha256(database.encode()).hexdigest()[:32]}"
    cursor.execute("SELECT GET_LOCK(%s, 0)", (name,))
    if cursor.fetchone()[0] != 1:
        raise UsageError(f"another rehearsal works in {database}: wait until it is done")
    yield


class _Rehearsal:
    def __init__(self, config: Config, settings: Settings, work: Settings, witness: Any) -> None:
        self.settings, self.work, self.witness = settings, work, witness
        config.attributes["adapt_settings"] = self._without_big_tables
        self.runner = Runner(config, work)
        self.big_table = 0

    def run(self, since: str | None) -> Plan:
        runner = self.runner
        recorder = Recorder(self.witness, self.work.database)
        missing: list[str] = []
        sizes: dict[str, Size] | None = None
        versions = runner.look()
        if since is None:
            with _session(self.settings) as source:
                source.execute("SET SESSION TRANSACTION READ ONLY")
                self._refuse_half_done(source, versions)
                missing = clone.copy(
                    source, self.settings.database, self.witness, self.work.database, [versions]
                )
                sizes = _sizes(source, self.settings.database)
        elif since != "base":
            runner.upgrade(since)
        old = self._tables() - {clone.MARK, versions, f"{versions}_steps"}
        recorder.listen(runner.engine)
        failure: MigrationFailed | None = None
        try:
            runner.upgrade("heads")
        except MigrationFailed as stopped:
            failure = stopped
        target = Target(
            sizes,
            self.big_table,
            (
                self.settings.host, str(self.settings.port), self.settings.user,
                self.settings.database,
            ),
            frozenset(old),
        )  # fmt: skip
        self.witness.execute("SELECT VERSION()")
        (version,) = self.witness.fetchone()
        plan = Plan(version, self.settings.database, runner.current, not_cloned=missing)
        plan.revisions = self._revisions(recorder.sent, target, failure)
        return plan

    def _without_big_tables(self, settings: MigrationSettings) -> MigrationSettings:
        """Let everything run here, where no table has rows; what is big is the target's matter."""
        self.big_table = settings.big_table
        return dataclasses.replace(settings, big_table=10**14)

    def _refuse_half_done(self, source: Any, versions: str) -> None:
        journal = journal_name({"version_table": versions})
        source.execute(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            (self.settings.database, journal),
        )
        if not source.fetchall():
            return
        place = f"{quoted(self.settings.database)}.{quoted(journal)}"
        source.execute(f"SELECT revision, way FROM {place} LIMIT 1")  # noqa: S608
        for revision, way in source.fetchall():
            raise UsageError(
                f"revision {revision} is half done ({way}) on the target: finish it first, then "
                "plan what follows (dal migrate status)"
            )

    def _tables(self) -> set[str]:
        self.witness.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = %s AND table_type = 'BASE TABLE'",
            (self.work.database,),
        )
        return {name for (name,) in self.witness.fetchall()}

    # Telling -------------------------------------------------------------------------------------

    def _revisions(
        self, sent: list[Sent], target: Target, failure: MigrationFailed | None
    ) -> list[PlannedRevision]:
        planned = []
        for step in self.runner.steps:
            revision = PlannedRevision(step.revision.revision, step.doc or "")
            revision.steps = [
                _step(one, target) for one in sent if one.revision == revision.revision
            ]
            planned.append(revision)
            if failure is not None and failure.revision == revision.revision:
                revision.failure = str(failure)
                break
        return planned


def _step(sent: Sent, target: Target) -> Step:
    table = next(iter(sent.before or sent.after), None)
    size = (target.sizes or {}).get(table or "") if table in target.old else None
    return Step(
        " ".join(sent.sql.split()),
        sent.cost.value,
        table,
        size.rows if size else None,
        size.bytes if size else None,
        _lines(sent.before, sent.after),
        findings(sent, target),
    )


def _lines(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return what the server writes otherwise, as a diff without its context."""
    found = []
    for table in before.keys() & after.keys():
        old, new = (
            [line.strip().rstrip(",") for line in text.split("\n")]
            for text in (before[table], after[table])
        )
        found += [
            line
            for line in difflib.unified_diff(old, new, n=0, lineterm="")
            if not line.startswith(("---", "+++", "@@"))
        ]
    return [f"{line[0]} {line[1:]}" for line in found]


def _sizes(source: Any, database: str) -> dict[str, Size]:
    source.execute(
        "SELECT table_name, table_rows, data_length + index_length "
        "FROM information_schema.tables WHERE table_schema = %s",
        (database,),
    )
    return {name: Size(int(rows or 0), int(size or 0)) for name, rows, size in source.fetchall()}
