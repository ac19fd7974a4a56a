"""`dal migrate status` and `resolve`: what is half done, and settling it by hand."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from dal import errors
from dal.cli.terminal import Mistake, console

if TYPE_CHECKING:
    from dal.migrate.status import HalfDone, Status

_config = click.option(
    "-c",
    "--config",
    "path",
    default="alembic.ini",
    show_default=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Alembic's configuration.",
)


@click.command()
@_config
@click.option("--json", "as_json", is_flag=True, help="Print the status as one JSON object.")
def status(*, path: Path, as_json: bool) -> None:
    """Say where the database is, what is pending, and what is half done.

    Reads, and takes no lock: it answers while somebody migrates, and says who that is.

    \b
    Exit codes: 0, 2 for no connection, or a wrong option or setting.
    """
    from dal.migrate.status import status as look  # noqa: PLC0415  # the extra `migrate`

    with _mistakes():
        found = look(_read(path))
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        show(found)


@click.command()
@click.argument("revision", metavar="REV")
@click.argument("step", metavar="STEP", type=click.IntRange(min=1))
@click.option("--done/--again", "done", default=None, help="It is done; or: send it again.")
@_config
def resolve(*, revision: str, step: int, done: bool | None, path: Path) -> None:
    """Settle a statement of a revision that is half done, after looking by hand.

    With --done it counts as done, whatever it reads now; with --again it is sent again by the next
    alembic upgrade. `dal migrate status` says which statement is in question.

    \b
    Exit codes: 0, 2 for a statement that is not in question, or a wrong option or setting.
    """
    from dal.migrate.status import resolve as settle  # noqa: PLC0415  # the extra `migrate`

    if done is None:
        raise click.UsageError("say --done or --again")
    with _mistakes():
        settle(_read(path), revision, step, done=done)
    console().print(f"statement {step} of {revision}: {'done' if done else 'sent again next time'}")


def _read(path: Path) -> Any:
    from alembic.config import Config  # noqa: PLC0415  # the extra `migrate`

    if not path.exists():
        raise Mistake(f"there is no {path} here; -c names another, dal migrate init makes one")
    return Config(str(path))


@contextlib.contextmanager
def _mistakes() -> Iterator[None]:
    from alembic.util import CommandError  # noqa: PLC0415  # the extra `migrate`

    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (errors.Error, CommandError) as error:
        raise Mistake(str(error)) from error


def show(found: Status) -> None:
    """Print a status for people."""
    to = console()
    to.print(f"At:      {', '.join(found.at) or 'the base: nothing is applied'}")
    pending = ", ".join(found.pending) or "nothing"
    to.print(f"Pending: {pending}")
    if found.works:
        to.print(Text(f"Works:   {found.works}", style="yellow"))
    if found.half_done:
        _show_half_done(found.half_done)


def _show_half_done(half: HalfDone) -> None:
    to = console()
    to.print(
        Text(f"Half done: {half.way} {half.revision}, {half.done} statements", style="bold red")
    )
    if half.step is not None:
        to.print(
            f"  statement {half.step} ({half.state}): {' '.join((half.statement or '').split())}"
        )
    if half.error:
        to.print(f"  {half.error} (MySQL error {half.errno})")
    to.print(f"  by {half.who} at {half.since}")
    to.print(f"  go on: alembic {half.way} {half.revision}")
