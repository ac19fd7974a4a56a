"""`dal migrate`: what Alembic's own commands do not do."""

from __future__ import annotations

import click

from dal.cli.migrate.init import init
from dal.cli.migrate.plan import plan
from dal.cli.migrate.status import resolve, status


@click.group()
def migrate() -> None:
    """Rehearse the pending revisions, see what is half done, and begin with migrations.

    Everything else is Alembic's own command: alembic upgrade head, alembic check.
    """


for command in (init, plan, status, resolve):
    migrate.add_command(command)
