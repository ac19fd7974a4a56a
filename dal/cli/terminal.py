"""Writing to people: where to, how wide, and how a mistake of theirs is answered."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.console import Console

#: Characters of a line where the output is no terminal.
WIDTH = 100


class Mistake(click.ClickException):
    """What the user can mend: one sentence, no traceback, exit code 2."""

    exit_code = 2


def is_at_a_terminal() -> bool:
    """Return whether there is somebody to ask."""
    return sys.stdin.isatty()


def console(*, stderr: bool = False) -> Console:
    """Return a console: colours on terminals alone, and not with NO_COLOR."""
    options: dict[str, Any] = {"stderr": stderr, "highlight": False, "markup": False}
    made = Console(**options)
    return made if made.is_terminal else Console(**options, width=WIDTH)
