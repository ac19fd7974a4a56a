"""`dal migrate`: what Alembic's own commands do not do."""

from __future__ import annotations

import click

from dal.cli.migrate.init import init
from dal.cli.migrate.plan import plan


@click.group()
def migrate() -> None:
    """Rehearse the pending revisions, and begin with migrations.

    Everything else is Alembic's own command: alembic upgrade head, alembic check.
    """


for command in (init, plan):
    migrate.add_command(command)
