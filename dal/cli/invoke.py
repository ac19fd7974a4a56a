"""`dal invoke`: a handler in Lambda's own runtime client, on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
from rich.text import Text

from dal.cli.recording import Recording
from dal.cli.terminal import Mistake, console

if TYPE_CHECKING:
    from dal.testing.runtime import Invocation

TIMED_OUT = 124
"""Exit code of an invocation that was killed at its timeout, as that of timeout(1)."""

# What the platform sets by itself; every function's time zone is UTC.
_PLATFORM = {"_HANDLER", "_X_AMZN_TRACE_ID", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "TZ"}


@click.command(short_help="Run a handler as Lambda would, on this machine.")
@click.argument("handler", metavar="MODULE:FUNCTION")
@click.argument("event_file", metavar="[EVENT.json]", type=click.File("rb"), required=False)
@click.option("--event", "event_text", metavar="JSON", help="The event itself; default: {}.")
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Invocations one after the other: the first cold, the others warm.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=900),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="The function's timeout; then it is killed, as on Lambda.",
)
@click.option(
    "--memory",
    type=click.IntRange(min=128, max=32768),
    default=128,
    show_default=True,
    metavar="MB",
    help="What the function is told that it has; not enforced.",
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write every statement as JSON lines, with its values; for dal doctor --pins.",
)
@click.pass_context
def invoke(
    context: click.Context,
    *,
    handler: str,
    event_file: BinaryIO | None,
    event_text: str | None,
    repeat: int,
    timeout: float,
    memory: int,
    record: Path | None,
) -> None:
    """Run a handler as Lambda would: cold start, warm starts, kill at the timeout.

    The module is looked for in this directory. The function gets the environment of this command,
    DATABASE_URL and all. Its answer goes to stdout, one line of JSON for each invocation; its log
    and the durations go to stderr. It stops at the first error.

    \b
    Examples:
      dal invoke app:create_user event.json
      dal invoke app:create_user --event '{"email": "ann@example.com"}'
      echo '{"id": 1}' | dal invoke app:read_user -
      dal invoke app:read_user event.json --repeat 5 --timeout 10
      dal invoke app:create_user event.json --record run.jsonl && dal doctor --pins run.jsonl

    \b
    Exit codes:
      0    an answer
      1    the function raised, exited, or cannot be imported
      2    a wrong option, event or setting
      124  killed at the timeout
    """
    if importlib.util.find_spec("awslambdaric") is None:
        raise Mistake("Lambda's runtime client is missing; pip install 'lambda-dal[cli,testing]'")
    from dal.testing.runtime import Function  # noqa: PLC0415  # not before it is needed

    event = _event(event_file, event_text)
    environment = _environment(os.environ)
    with contextlib.ExitStack() as stack:
        recording = stack.enter_context(Recording(record, environment)) if record else None
        function = stack.enter_context(
            Function(
                _handler(handler),
                environment=recording.environment if recording else environment,
                timeout=timeout,
                memory_mb=memory,
                path=[Path.cwd()],
            )
        )
        code = 0
        for _ in range(repeat):
            before = recording.round_trips if recording else 0
            invocation = function.invoke(event)
            trips = recording.round_trips - before if recording else None
            code = _show(invocation, trips)
            if code:
                break
    if recording:
        _tell(f"{recording.count} statements in {record}")
    context.exit(code)


def _handler(text: str) -> str:
    module, _, function = text.replace(":", ".").rpartition(".")
    if not module or not function.isidentifier():
        raise click.BadParameter(
            f"{text!r}; write MODULE:FUNCTION, such as app:create_user",
            param_hint="MODULE:FUNCTION",
        )
    return f"{module}.{function}"


def _event(file: BinaryIO | None, text: str | None) -> object:
    if file is not None and text is not None:
        raise click.UsageError("give the event as a file or by --event, not both")
    where = "--event" if file is None else "the event file"
    raw: str | bytes = text if text is not None else "{}" if file is None else file.read()
    try:
        event = json.loads(raw)
        json.dumps(event)  # as it is handed on
    except ValueError as error:
        raise Mistake(f"{where} is not JSON: {error}") from None
    except RecursionError:
        raise Mistake(f"{where} is nested too deeply: Python's JSON reads no more") from None
    return event


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: text
        for name, text in environ.items()
        if name not in _PLATFORM and not name.startswith("AWS_LAMBDA_")
    }


def _show(invocation: Invocation, trips: int | None) -> int:
    """Print one invocation, and return the exit code that it means."""
    if invocation.log:
        # The runtime client writes carriage returns inside a traceback, to make it one event of
        # CloudWatch.
        lines = invocation.log.replace("\r", "\n").rstrip("\n")
        click.echo(lines, err=True)
    spent = f"{invocation.duration * 1000:.0f} ms"
    if invocation.init_duration is not None:
        spent = f"cold: init {invocation.init_duration * 1000:.0f} ms, then {spent}"
    else:
        spent = f"warm: {spent}"
    if trips is not None:
        spent += f", {trips} round trips"
    if invocation.error is None:
        click.echo(_answer(invocation))
        _tell(spent)
        return 0
    kind = str(invocation.error.get("errorType", "Error"))
    message = str(invocation.error.get("errorMessage", ""))
    message = message.removeprefix(f"RequestId: {invocation.request_id} Error: ")
    _tell(f"{kind}: {message.partition(chr(10))[0]}", style="bold red")
    _tell(spent)
    return TIMED_OUT if kind == "Sandbox.Timedout" else 1


def _answer(invocation: Invocation) -> str | bytes:
    if invocation.payload is None and invocation.raw != b"null":
        return invocation.raw
    return json.dumps(
        invocation.payload, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None
    )


def _tell(text: str, **style: Any) -> None:
    console(stderr=True).print(Text(text, **(style or {"style": "dim"})), soft_wrap=True)
