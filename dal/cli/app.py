"""The commands, and what they have in common."""

from __future__ import annotations

import click

from dal.cli.completion import completion
from dal.cli.doctor import doctor
from dal.cli.invoke import invoke
from dal.cli.migrate import migrate


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`dal COMMAND --help` has examples and the exit codes of each.",
)
@click.version_option(package_name="lambda-dal", message="dal %(version)s")
def dal() -> None:
    """Data access from AWS Lambda to MySQL: look at a server, try a function, rehearse.

    The address of the database comes from the environment, as in the function itself:
    DATABASE_URL=mysql://USER:PASSWORD@HOST:3306/DATABASE, or DB_HOST, DB_PORT, DB_USER,
    DB_PASSWORD and DB_NAME. Other settings are DAL_<NAME>.

    \b
    Examples:
      dal doctor --concurrency 200
      dal invoke app:create_user event.json
      dal migrate plan --strict

    Colours are for terminals alone; NO_COLOR=1 turns them off.
    """


for command in (doctor, invoke, migrate, completion):
    dal.add_command(command)
