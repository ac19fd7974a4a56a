"""`dal doctor`: the examination, for people and for programs."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dal import Database, errors
from dal.cli.terminal import Mistake, console, is_at_a_terminal
from dal.doctor import Finding, Report, Verdict, examine
from dal.doctor.checks import CHECKS

_STYLES = {
    Verdict.OK: "green",
    Verdict.WARN: "bold yellow",
    Verdict.FAIL: "bold red",
    Verdict.SKIP: "dim",
}
_ADDRESS = ("DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME")


@click.command()
@click.option(
    "--url",
    metavar="URL",
    help="Instead of the environment's address; a password that is not in it is asked for.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many functions may run at once, all together: are there enough connections?",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes of each function's environment; more than one on Managed Instances alone.",
)
@click.option(
    "--reserve",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="Connections kept for administrators, migrations, and to kill what was given up.",
)
@click.option(
    "--long",
    "long_transaction",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="From when an open transaction is worth a warning.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option("--strict", is_flag=True, help="Let a WARN end with exit code 1, too.")
@click.option(
    "--accept",
    type=click.Choice([name for checks in CHECKS.values() for name in checks]),
    multiple=True,
    metavar="CHECK",
    help="A check whose finding you know and accept: it is shown, and not in the exit code.",
)
@click.option(
    "--pins",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="List what pins a connection behind RDS Proxy in a recorded run; asks no server.",
)
@click.pass_context
def doctor(
    context: click.Context,
    *,
    url: str | None,
    concurrency: int | None,
    processes: int,
    reserve: int,
    long_transaction: float,
    as_json: bool,
    strict: bool,
    accept: tuple[str, ...],
    pins: Path | None,
) -> None:
    """Check a server for what dal promises, and say what to do.

    Connects as the function does and reads; changes nothing and takes no lock. FAIL means that a
    promise does not hold (a COMMIT may be lost, a write refused), WARN a risk, SKIP that a check
    does not apply or that the account may not look.

    \b
    Examples:
      dal doctor                         the server of DATABASE_URL
      dal doctor --concurrency 200       enough connections for 200 functions at once?
      dal doctor --url mysql://ADMIN@HOST/DATABASE --long 10
                                         as one who may see the others; asks for the password
      dal doctor --json --strict --accept "lock timeout"
                                         for a pipeline
      dal doctor --pins run.jsonl        what would pin, of a recorded run (dal invoke --record)

    \b
    Exit codes:
      0  nothing, or warnings
      1  a FAIL; with --strict a WARN as well; with --pins a statement that pins
      2  no connection, or a wrong option or setting
    """
    if pins is not None:
        from dal.cli.pins import show_pins  # noqa: PLC0415

        context.exit(show_pins(pins, as_json=as_json))
    db = _database(url)
    with console(stderr=True).status(f"asking {db.settings.host} ..."):
        report = examine(
            db,
            concurrency=concurrency,
            processes=processes,
            reserve=reserve,
            long_transaction=long_transaction,
        )
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        show(report, console())
    context.exit(_exit_code(report, strict=strict, accepted=accept))


def _database(url: str | None) -> Database:
    environ = dict(os.environ)
    try:
        if url is None:
            return Database.from_env(environ)
        environ = {name: text for name, text in environ.items() if name not in _ADDRESS}
        db = Database.from_env(environ | {"DATABASE_URL": url})
        if db.settings.password or not is_at_a_terminal():
            return db
        password = click.prompt(f"Password of {db.settings.user}", hide_input=True, err=True)
        return Database(dataclasses.replace(db.settings, password=password))
    except errors.ConfigurationError as error:
        _mistaken(error, url)


def _mistaken(error: errors.ConfigurationError, url: str | None) -> NoReturn:
    text = str(error)
    raise Mistake(text if url is None else text.replace("DATABASE_URL", "--url")) from None


def _exit_code(report: Report, *, strict: bool, accepted: Collection[str]) -> int:
    if not report.connected:
        return 2
    bad = {Verdict.FAIL, Verdict.WARN} if strict else {Verdict.FAIL}
    counting = (finding for finding in report.findings if finding.check not in accepted)
    return int(any(finding.verdict in bad for finding in counting))


def show(report: Report, to: Console) -> None:
    """Print a report as a table, by topics, with what to do below each finding."""
    if report.connected:
        as_whom = f", as {report.account}" if report.account else ""
        to.print(Text(f"{report.server} at {report.address}{as_whom}", style="bold"))
    else:
        to.print(Text(f"No connection to {report.address}", style="bold red"))
    width = max(len(finding.check) for finding in report.findings)
    for topic, findings in itertools.groupby(report.findings, key=lambda finding: finding.topic):
        to.print()
        to.print(Text(topic, style="bold"))
        _print_without_padding(_table(findings, width, "→ " if _is_unicode(to) else "-> "), to)
    to.print()
    summary = Text()
    for verdict, count in report.counts().items():
        summary.append(", " if summary else "")
        summary.append(f"{count} {verdict}", style=_STYLES[verdict] if count else "dim")
    to.print(summary)


def _table(findings: Iterable[Finding], width: int, arrow: str) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=4)
    table.add_column(width=width)
    table.add_column()
    for finding in findings:
        faint = "dim" if finding.verdict is Verdict.SKIP else ""
        table.add_row(
            Text(finding.verdict, style=_STYLES[finding.verdict]),
            Text(finding.check, style=faint),
            Text(finding.found, style=faint),
        )
        if finding.advice:
            table.add_row("", "", Text(arrow + finding.advice, style="cyan"))
    return table


def _is_unicode(to: Console) -> bool:
    return to.encoding.lower().startswith("utf")


def _print_without_padding(table: Table, to: Console) -> None:
    """Print the table without the blanks that fill its lines up."""
    with to.capture() as capture:
        to.print(table)
    click.echo(re.sub(r" +$", "", capture.get(), flags=re.MULTILINE), nl=False, color=True)
