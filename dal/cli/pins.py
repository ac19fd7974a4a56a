"""`dal doctor --pins`: what of a recorded run would pin a connection behind RDS Proxy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
from rich.text import Text

from dal.cli.terminal import Mistake, console
from dal.doctor.pins import pins_of, read_recording

#: Characters of a statement that are shown.
_SHOWN = 100


def show_pins(path: Path, *, as_json: bool) -> int:
    """Print them, and return the exit code: 1 if there are any."""
    try:
        statements = read_recording(path)
    except (OSError, ValueError) as error:
        raise Mistake(f"{path}: {error}") from None
    pins: dict[str, list[str]] = {}
    for pin in pins_of(statements):
        reasons = pins.setdefault(_without_values(pin.statement), [])
        if pin.reason not in reasons:
            reasons.append(pin.reason)
    if as_json:
        found = [{"statement": text, "reasons": reasons} for text, reasons in pins.items()]
        click.echo(json.dumps({"statements": len(statements), "pins": found}, indent=2))
    else:
        _show(pins, len(statements))
    return int(bool(pins))


def _show(pins: dict[str, list[str]], statements: int) -> None:
    to = console()
    for text, reasons in pins.items():
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        to.print(Text(shown, style="bold"), soft_wrap=True)
        for reason in reasons:
            to.print(Text(f"  {reason}", style="yellow"), soft_wrap=True)
    if pins:
        to.print(f"{len(pins)} kinds of statement would pin, of {statements} statements")
    else:
        to.print(f"nothing would pin, of {statements} statements")


def _without_values(statement: str) -> str:
    """Return a statement without the values in it: they are people's data."""
    bare = re.sub(r"'(?:[^'\\]|\\.|'')*'", "'...'", " ".join(statement.split()))
    return re.sub(r"(?<![\w`.])\d[\w.]*", "...", bare)
