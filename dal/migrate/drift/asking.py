"""What the server makes of a model: its table as a TEMPORARY one, read back and dropped.

A temporary table hides the real one of its name in this session alone, commits nothing that others
see, and needs no more than CREATE TEMPORARY TABLES (manual, "CREATE TEMPORARY TABLE Statement").
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from dal.errors import Error
from dal.migrate.drift.definition import Definition, parse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """A table as it is and as its model would be; `unknown` names the keys that were not tried."""

    real: Definition
    model: Definition
    unknown: frozenset[str]


def _name(connection: sa.Connection, table: sa.Table) -> str:
    return connection.dialect.identifier_preparer.format_table(table)


def _show(connection: sa.Connection, table: sa.Table) -> Definition:
    name = _name(connection, table)
    row = connection.exec_driver_sql(f"SHOW CREATE TABLE {name}").one()
    return parse(row[1])


def says(table: sa.Table) -> tuple[str | None, str | None]:
    """Return the character set and the collation that the model names for its table."""
    charset = collation = None
    for option, value in table.dialect_kwargs.items():
        name = option.lower().partition("_")[2].replace(" ", "_").removeprefix("default_")
        if name in {"charset", "character_set"}:
            charset = str(value)
        elif name == "collate":
            collation = str(value)
    return charset, collation


def _create(connection: sa.Connection, table: sa.Table, real: Definition) -> str:
    """Write the model's CREATE, without foreign keys, which no temporary table has.

    What the model leaves open, the table has decided: its character set is no difference.
    """
    ddl = str(
        CreateTable(table, include_foreign_key_constraints=[]).compile(dialect=connection.dialect)
    ).strip()
    ddl = ddl.replace("CREATE ", "CREATE TEMPORARY ", 1)
    charset, collation = says(table)
    if charset is None and collation is None and real.charset:
        ddl += f" DEFAULT CHARSET={real.charset}"
    if collation is None and real.collation and charset in {None, real.charset}:
        ddl += f" COLLATE={real.collation}"
    return ddl


@contextlib.contextmanager
def _temporary(connection: sa.Connection, table: sa.Table, real: Definition) -> Iterator[None]:
    # Compiled for a driver that takes parameters, % is doubled; none are sent here.
    ddl = _create(connection, table, real).replace("%%", "%")
    connection.exec_driver_sql(ddl, execution_options={"no_parameters": True})
    try:
        yield
    finally:
        connection.exec_driver_sql(f"DROP TEMPORARY TABLE {_name(connection, table)}")


def ask(connection: sa.Connection, table: sa.Table) -> Answer | None:
    """Return both definitions, or None where the model's table cannot be temporary.

    That is so for partitions (1562), encryption (3833), compression (3500), and for an account that
    may not make temporary tables (1044). An index that a temporary table cannot have (FULLTEXT:
    1796) is left out alone.
    """
    real = _show(connection, table)
    unknown = set()
    try:
        with _temporary(connection, table, real):
            for index in table.indexes:
                try:
                    connection.execute(CreateIndex(index))
                except DBAPIError as refused:
                    if isinstance(refused, Error):
                        raise
                    log.debug("index %s is not compared: %s", index.name, refused)
                    unknown.add(str(index.name))
            return Answer(real, _show(connection, table), frozenset(unknown))
    except DBAPIError as refused:
        if isinstance(refused, Error):  # a lost connection and its like
            raise
        log.info("%s is compared by Alembic alone: %s", table.fullname, refused.orig)
        return None
