"""Alembic on MySQL: one deployer at a time, and a revision that goes on where it stopped.

# migrations/env.py
from dal.migrate import run
from models import Base

run(Base.metadata)
"""

from dal.migrate.failure import MigrationFailed
from dal.migrate.in_lambda import handler
from dal.migrate.lock import AnotherDeployer
from dal.migrate.revision.allow import allow
from dal.migrate.revision.backfill import backfill
from dal.migrate.revision.one_alter import one_alter
from dal.migrate.revision.repeatable import repeatable
from dal.migrate.run import run
from dal.migrate.settings import MigrationSettings

__all__ = [
    "AnotherDeployer",
    "MigrationFailed",
    "MigrationSettings",
    "allow",
    "backfill",
    "handler",
    "one_alter",
    "repeatable",
    "run",
]
