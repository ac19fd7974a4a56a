"""`dal migrate plan`: the rehearsal, for people and for pipelines."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from dal import errors
from dal.cli.terminal import Mistake, console

if TYPE_CHECKING:
    from dal.engine import Settings
    from dal.migrate.plan import Finding, Plan, Step

_COLOURS = {
    **dict.fromkeys(("INSTANT", "INPLACE", "NEW"), "green"),
    **dict.fromkeys(("SHARED", "COPY", "OTHER", "REFUSED"), "bold red"),
}


@click.command()
@click.option(
    "-c",
    "--config",
    "path",
    default="alembic.ini",
    show_default=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Alembic's configuration.",
)
@click.option(
    "--on",
    metavar="URL",
    help="Rehearse on this server, where the target's account may create no database.",
)
@click.option(
    "--from",
    "since",
    metavar="REV",
    help="Rehearse from this revision on (or base), and do not read the target at all.",
)
@click.option("--strict", is_flag=True, help="End with exit code 1 where there is a finding.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as one JSON object.")
@click.pass_context
def plan(
    context: click.Context,
    *,
    path: Path,
    on: str | None,
    since: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Rehearse the pending revisions, on a clone of the database's structure.

    Makes an empty database beside the target (its name ends in _dal_plan), with the same tables,
    views, triggers and routines, runs the pending revisions there by the real code, and drops it.
    Says of each statement how the server treats it, what it changes, and what the release that is
    at work would not survive. The target is read, and not changed.

    \b
    Classes of statements:
      INSTANT  changes the dictionary alone
      INPLACE  reads and writes go on meanwhile
      SHARED   writes wait until it is done
      COPY     writes wait until the whole table is copied
      ROWS     changes rows

    \b
    Examples:
      dal migrate plan                  what alembic upgrade heads would do
      dal migrate plan --strict --json  for a pipeline
      dal migrate plan --from base --on mysql://root@127.0.0.1/ci
                                        all revisions, on a server of the pipeline

    \b
    Exit codes:
      0  it runs; findings are shown
      1  a revision fails; with --strict a finding as well
      2  no connection, no right to rehearse, or a wrong option or setting
    """
    with console(stderr=True).status("rehearsing ..."):
        found = _rehearsed(path, on, since)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        to = console()
        with to.capture() as capture:
            show(found, to)
        click.echo(re.sub(r" +$", "", capture.get(), flags=re.MULTILINE), nl=False, color=True)
    context.exit(int(found.failed or (strict and bool(found.findings))))


def _rehearsed(path: Path, on: str | None, since: str | None) -> Plan:
    from alembic.config import Config  # noqa: PLC0415  # the extra `migrate`
    from alembic.util import CommandError  # noqa: PLC0415
    from pymysql import MySQLError  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from dal.migrate.plan import rehearse  # noqa: PLC0415

    if not path.exists():
        raise Mistake(f"there is no {path} here; -c names another, dal migrate init makes one")
    try:
        with _ended_by_sigterm(), contextlib.redirect_stdout(sys.stderr):
            target, other = _settings(on, since)
            return rehearse(Config(str(path)), target, on=other, since=since)
    except (errors.Error, CommandError, MySQLError, SQLAlchemyError) as error:
        raise Mistake(_one_line(error)) from error


def _settings(on: str | None, since: str | None) -> tuple[Settings, Settings | None]:
    """Return the target and the other server; with --from and --on there need be no target."""
    import os  # noqa: PLC0415

    from dal.engine import Settings  # noqa: PLC0415

    other = None
    if on is not None:
        rest = {n: v for n, v in os.environ.items() if not n.startswith(("DB_", "DATABASE_URL"))}
        try:
            other = Settings.from_env({**rest, "DATABASE_URL": on})
        except errors.ConfigurationError as error:
            raise Mistake(str(error).replace("DATABASE_URL", "--on")) from None
    if other is not None and since is not None:
        return other, other
    return Settings.from_env(), other


def _one_line(error: BaseException) -> str:
    original: Any = getattr(error, "orig", None)
    driver = error if original is None else original
    number = driver.args[0] if len(driver.args) == 2 else None
    text = f"{driver.args[1]} (MySQL error {number})" if number else str(error)
    return " ".join(text.split())


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End as by Ctrl-C where a pipeline ends the process: the clone is dropped on the way out."""

    def end(*_: Any) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def show(found: Plan, to: Console) -> None:
    """Print a plan, revision by revision."""
    to.print(Text(f"{found.database} on MySQL {found.server}", style="bold"))
    for what in found.not_cloned:
        to.print(Text(f"not in the rehearsal: {what}", style="yellow"))
    if not found.revisions:
        to.print("Nothing is pending.")
    for revision in found.revisions:
        to.print()
        to.print(Text(f"{revision.revision}  {revision.title}", style="bold"))
        for step in revision.steps:
            _show_step(step, to)
        if revision.failure:
            to.print(Padding(Text(f"FAILS  {revision.failure}", style="bold red"), (0, 0, 0, 2)))
    count = len(found.findings)
    to.print()
    summary = f"Revisions: {len(found.revisions)}, findings: {count}, {found.seconds:g} s"
    to.print(Text(summary, style="bold red" if count or found.failed else "green"))


def _show_step(step: Step, to: Console) -> None:
    line = Text(f"  {step.cost:8}", style=_COLOURS.get(step.cost, "yellow"))
    line.append(textwrap.shorten(step.sql, 200), style="default")
    if step.rows:
        line.append(f"  ({step.table}: about {step.rows:,} rows)", style="dim")
    to.print(line)
    for changed in step.lines:
        style = "red" if changed.startswith("-") else "green"
        to.print(Padding(Text(changed, style=style), (0, 0, 0, 10)))
    for finding in step.findings:
        _show_finding(finding, to)


def _show_finding(finding: Finding, to: Console) -> None:
    if finding.allowed is not None:
        text = f"{finding.rule}: {finding.text} (allowed: {finding.allowed})"
        to.print(Padding(Text(text, style="dim"), (0, 0, 0, 10)))
        return
    text = f"{finding.rule}: {finding.text}"
    to.print(Padding(Text(text, style="bold yellow"), (0, 0, 0, 10)))
    to.print(Padding(Text(finding.advice, style="cyan"), (0, 0, 0, 12)))
    for command in finding.commands:
        # One line each, whatever the width: to be copied.
        to.print(Text(f"            {command}", style="dim"), soft_wrap=True)
