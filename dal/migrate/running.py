"""Running revisions from a program, on a database that is sure to be the one that was meant.

An `env.py` that connects by itself would run them on whatever its own address says. So before
anything is sent it is asked where it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from dal.engine import Settings, create_engine
from dal.errors import UsageError


class Runner:
    """Alembic's commands on one database, through the `env.py` of a project."""

    def __init__(self, config: Config, settings: Settings) -> None:
        self.config = config
        self.settings = settings
        self.engine = create_engine(settings.for_migrations())
        self.script = ScriptDirectory.from_config(config)
        #: Alembic's steps of the last run.
        self.steps: list[Any] = []
        #: The revisions that the database had at its beginning.
        self.current: list[str] = []

    def look(self) -> str:
        """Return the name of the versions' table; sends no change.

        Raises:
            UsageError: `env.py` went elsewhere, or nowhere.
        """
        found: list[MigrationContext] = []

        def nothing(_: Any, context: MigrationContext) -> list[Any]:
            self._check_place(context)
            found.append(context)
            return []

        self.environment(nothing, dont_mutate=True)
        if not found:
            raise UsageError("env.py runs no migrations: it is to call dal.migrate.run()")
        return str(found[0].version_table)

    def upgrade(self, to: str) -> None:
        """Do what `alembic upgrade` does."""
        self._run(to, lambda current: self.script._upgrade_revs(to, current))  # noqa: SLF001

    def downgrade(self, to: str) -> None:
        """Do what `alembic downgrade` does."""
        self._run(to, lambda current: self.script._downgrade_revs(to, current))  # noqa: SLF001

    def _run(self, to: str, steps_from: Callable[[Any], list[Any]]) -> None:
        # SLF001: as alembic.command does it
        def steps(revision: Any, context: MigrationContext) -> list[Any]:
            self._check_place(context)
            self.current = [revision] if isinstance(revision, str) else list(revision)
            self.steps = steps_from(revision)
            return self.steps

        self.environment(steps, starting_rev=None, destination_rev=to)

    def environment(self, fn: Any, **options: Any) -> None:
        """Run `env.py` with a function for the steps."""
        logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
        with self.engine.connect() as connection:
            self.config.attributes["connection"] = connection
            try:
                with EnvironmentContext(self.config, self.script, fn=fn, **options):
                    self.script.run_env()
            finally:
                del self.config.attributes["connection"]

    def _check_place(self, context: MigrationContext) -> None:
        connection = context.connection
        where = connection and connection.exec_driver_sql("SELECT DATABASE()").scalar()
        if connection is not None and connection.in_transaction():
            connection.commit()
        if where != self.settings.database:
            raise UsageError(
                "env.py connects by itself, so a rehearsal would be the real thing: let it call "
                "dal.migrate.run(metadata)"
            )
