"""What `migrations/env.py` calls: Alembic's own run, guarded."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pymysql
from alembic import context
from alembic.util import CommandError, to_list
from sqlalchemy import MetaData
from sqlalchemy.engine import Connection

from dal.engine import Settings, create_engine
from dal.errors import ConfigurationError, ConnectError, UsageError
from dal.migrate import autogenerate
from dal.migrate.drift import without_answered_warnings
from dal.migrate.failure import MigrationFailed
from dal.migrate.guard import Guard
from dal.migrate.journal.table import Journal
from dal.migrate.lock import AnotherDeployer, acquire
from dal.migrate.names import quoted_journal
from dal.migrate.settings import MigrationSettings

_SETTINGS = ("wait", "lock_wait", "patience", "big_table")
# Seconds: what is between (NAT, a load balancer) forgets a connection that is silent for minutes.
_KEEP_ALIVE = 60

_alembic = logging.getLogger("alembic.runtime.migration")


def run(metadata: MetaData | list[MetaData], **keywords: Any) -> None:
    """Do what Alembic's command asks for, on the database of the environment.

    One deployer at a time, each statement journalled, so that a revision that stopped goes on
    where it did. Offline (`--sql`) it writes the SQL, and asks no server.

    Args:
        metadata: The models' tables, for `check` and `revision --autogenerate`.
        keywords: Any of `context.configure()`, and the fields of `MigrationSettings`.

    Raises:
        MigrationFailed: a revision stopped; says where, and what to do. From the command line it
            is printed, and the exit code is 1.
        AnotherDeployer: somebody else migrates this database still.
        ConfigurationError, ConnectError: nothing began.
    """
    _show_revisions()
    of_settings = {name: keywords.pop(name, None) for name in _SETTINGS}
    if context.is_offline_mode():
        _offline(metadata, keywords)
        return
    is_command_line = getattr(context.config, "cmd_opts", None) is not None
    try:
        settings = MigrationSettings.from_env(**of_settings)
        if adapt := context.config.attributes.get("adapt_settings"):
            settings = adapt(settings)
        with _connected() as connection:
            _online(connection, metadata, keywords, settings)
    except MigrationFailed as stopped:
        if not is_command_line:
            raise
        sys.stderr.write(f"{stopped}\n")
        sys.exit(1)
    except (ConfigurationError, ConnectError, AnotherDeployer, pymysql.MySQLError) as error:
        if not is_command_line:
            raise
        raise CommandError(str(error)) from error  # a line says more than a trace


def _show_revisions() -> None:
    """Log which revision runs, and nothing of SQLAlchemy, which would show data."""
    logging.basicConfig(format="%(levelname)-5s [%(name)s] %(message)s")
    if _alembic.level == logging.NOTSET:
        _alembic.setLevel(logging.INFO)


def _offline(metadata: MetaData | list[MetaData], keywords: dict[str, Any]) -> None:
    context.configure(
        **{"dialect_name": "mysql", "literal_binds": True, **keywords, "target_metadata": metadata}
    )
    with context.begin_transaction():
        context.run_migrations()


@contextlib.contextmanager
def _connected() -> Iterator[Connection]:
    """Give the connection that the caller of Alembic handed over, or a new one.

    `Config.attributes` may hold a "connection" of SQLAlchemy's, or the "settings" of a database;
    and, for who has little time, "adapt_settings", "check_time" and "connected".
    """
    attributes = context.config.attributes
    given = attributes.get("connection")
    if given is not None:
        if given.in_transaction():
            raise UsageError(
                "the connection for Alembic is in a transaction, whose ROLLBACK would undo the "
                "record of what MySQL has committed: commit it before"
            )
        yield given
        return
    settings = attributes.get("settings") or Settings.from_env()
    with create_engine(settings.for_migrations()).connect() as connection:
        yield connection


def _online(
    connection: Connection,
    metadata: MetaData | list[MetaData],
    keywords: dict[str, Any],
    settings: MigrationSettings,
) -> None:
    options = _options()
    driver: Any = connection.connection.dbapi_connection
    on_apply = to_list(keywords.pop("on_version_apply", None), default=[])
    configuration: dict[str, Any] = autogenerate.keywords(metadata, keywords)
    if "destination_rev" not in options:  # check, current, revision and the like
        context.configure(connection=connection, **configuration)
        with context.begin_transaction(), without_answered_warnings():
            context.run_migrations()
        return
    if hasattr(driver, "keep_alive"):
        driver.keep_alive(_KEEP_ALIVE)
    context.config.attributes.get("connected", lambda _: None)(driver)
    with contextlib.closing(driver.cursor()) as cursor:
        cursor.execute("SELECT DATABASE()")
        database = cursor.fetchone()[0]
        acquire(cursor, database, settings.wait)
        cursor.execute("SET lock_wait_timeout = %s", (settings.lock_wait,))
    driver.commit()
    journal = Journal(driver, quoted_journal(configuration, database))
    guard = Guard(
        connection,
        journal,
        settings,
        context.config.attributes,
    )
    context.configure(
        connection=connection,
        fn=guard.around(options["fn"]),
        **configuration | {"on_version_apply": [*on_apply, guard.version_recorded]},
    )
    with guard.listening(), context.begin_transaction():
        context.run_migrations()
    if not isinstance(options["destination_rev"], str):  # stamp: it is settled by hand
        journal.forget()
        driver.commit()
    journal.drop_if_empty()


def _options() -> dict[str, Any]:
    """Return what Alembic's command asks for; it is known only once it is configured."""
    quiet, level = logging.WARNING, _alembic.level
    _alembic.setLevel(quiet)  # the real configure() follows, and says it again
    try:
        context.configure(dialect_name="mysql")
        return dict(context.get_context().opts)
    finally:
        _alembic.setLevel(level)
