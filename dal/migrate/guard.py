"""What stands around each revision, and around each statement that it sends."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection

from dal.errors import UsageError
from dal.migrate.ddl.sending import Sender
from dal.migrate.failure import MigrationFailed, failed
from dal.migrate.journal.kinds import Kind, kind_of
from dal.migrate.journal.steps import Steps, as_current, current_steps, short
from dal.migrate.journal.table import Journal
from dal.migrate.settings import MigrationSettings


class Guard:
    """What stands around each revision."""

    def __init__(
        self,
        connection: Connection,
        journal: Journal,
        settings: MigrationSettings,
        attributes: Mapping[str, Any],
    ) -> None:
        self._connection = connection
        self._driver: Any = connection.connection.dbapi_connection
        self._journal = journal
        self._send_ddl = Sender(self._driver, settings)
        self._attributes = attributes

    # Around Alembic's steps -----------------------------------------------------------------------

    def around(self, fn: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
        """Return Alembic's function for the steps, each of them guarded."""

        def steps(heads: Any, migration_context: Any) -> Iterator[Any]:
            for step in fn(heads, migration_context):
                if not step.info.is_stamp:
                    step.migration_fn = self._guarded(step)
                yield step

        return steps

    def _guarded(self, step: Any) -> Callable[..., None]:
        code = step.migration_fn

        @functools.wraps(code)  # Alembic logs its name
        def guarded(**arguments: Any) -> None:
            steps = self._steps(step)
            try:
                with as_current(steps):
                    steps.begin()
                    code(**arguments)
                    steps.finish()
            except Exception as error:
                raise self._failed(error, steps, step) from error

        return guarded

    def _steps(self, step: Any) -> Steps:
        revision, way = step.revision.revision, "upgrade" if step.is_upgrade else "downgrade"
        rows = self._journal.rows()
        for row in rows:
            if (row.revision, row.way) != (revision, way):
                raise MigrationFailed(
                    f"Revision {row.revision} is half done ({row.way}, statement {row.step}), and "
                    f"now the {way} of {revision} would run.\n"
                    f"Finish it first: alembic {row.way} {row.revision}, perhaps after a "
                    "correction of the statement that failed; or settle it by hand: dal migrate "
                    "status, alembic stamp.",
                    revision=row.revision,
                    step=row.step,
                )
        self._journal.create()
        return Steps(
            connection=self._driver,
            journal=self._journal,
            revision=revision,
            way=way,
            rows=rows,
            who=str(self._attributes.get("who") or who()),
            send_ddl=self._send_ddl,
            check_time=self._attributes.get("check_time", lambda: None),
        )

    def _failed(self, error: Exception, steps: Steps, step: Any) -> MigrationFailed:
        row = steps.stopped(error)
        done = 0
        with contextlib.suppress(Exception):
            done = sum(row.is_done for row in self._journal.rows())
            self._journal.drop_if_empty()
        return failed(
            error,
            revision=step.revision.revision,
            title=step.doc,
            path=step.revision.path,
            row=row,
            done=done,
            has_begun=steps.has_begun,
        )

    def version_recorded(self, *, step: Any, **_: Any) -> None:
        """Commit the version together with the end of its journal: whatever the revision did."""
        way = "upgrade" if step.is_upgrade else "downgrade"
        self._journal.forget(None if step.is_stamp else step.up_revision_id, way)
        self._driver.commit()

    # Around SQLAlchemy's statements ---------------------------------------------------------------

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take over, inside the block, what the engine sends for a revision."""
        listeners: dict[str, Callable[..., Any]] = {
            "do_execute": self._do_execute,
            "do_execute_no_params": self._do_execute_no_params,
            "do_executemany": self._do_executemany,
        }
        engine = self._connection.engine
        for name, listener in listeners.items():
            event.listen(engine, name, listener)
        try:
            yield
        finally:
            for name, listener in listeners.items():
                event.remove(engine, name, listener)

    def _do_execute(self, cursor: Any, sql: str, parameters: Any, context: Any) -> bool:
        dialect = context.dialect
        return self._take(
            cursor,
            sql,
            lambda text: dialect.do_execute(cursor, text, parameters, context),
            parameters,
        )

    def _do_execute_no_params(self, cursor: Any, sql: str, context: Any) -> bool:
        dialect = context.dialect
        return self._take(
            cursor, sql, lambda text: dialect.do_execute_no_params(cursor, text, context), None
        )

    def _do_executemany(self, cursor: Any, sql: str, parameters: Any, context: Any) -> bool:
        dialect = context.dialect
        return self._take(
            cursor,
            sql,
            lambda text: dialect.do_executemany(cursor, text, parameters, context),
            parameters,
            many=True,
        )

    def _take(
        self,
        cursor: Any,
        sql: str,
        run: Callable[[str], Any],
        parameters: Any,
        *,
        many: bool = False,
    ) -> bool:
        steps = current_steps()
        if steps is None:
            return False
        if cursor.connection is not self._driver:
            _refuse_changes(sql)
            return False
        steps.execute(cursor, sql, run, parameters, many=many)
        return True


def _refuse_changes(sql: str) -> None:
    if kind_of(sql) not in {Kind.READ, Kind.SESSION}:
        raise UsageError(
            "the revision changes the database over a connection of its own, where nobody keeps "
            f"what is done: send it by op.execute() or op.get_bind(): {short(sql)}"
        )


def who() -> str:
    """Return who works: the machine and the process."""
    return f"{socket.gethostname()}:{os.getpid()}"
