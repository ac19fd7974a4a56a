"""AWS Lambda on this machine, without Docker: the real runtime client under an emulated platform.

A `Function` starts `awslambdaric`, the process that AWS runs, and plays the platform to it: cold
start, invocations one at a time, the kill at the timeout, the freeze between two invocations.
"""

import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dal.testing._runtime_process import Environment, Outcome

INIT_LIMIT = 10.0
"""Seconds that Lambda grants to the import of the handler's module."""

_ACCOUNT = "123456789012"
_INHERITED = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH",
)  # fmt: skip
_LOG_TAIL = 20


class InvocationFailed(Exception):
    """The function answered with an error, or did not answer.

    `error` is what Lambda's caller would get: `errorType`, `errorMessage`, perhaps `stackTrace`.
    """

    def __init__(self, error: Mapping[str, Any], log: str = "") -> None:
        self.error = dict(error)
        message = f"{error.get('errorType')}: {error.get('errorMessage')}"
        if tail := log.splitlines()[-_LOG_TAIL:]:
            message = "\n".join([message, "--- end of the function's log ---", *tail])
        super().__init__(message)


@dataclass(frozen=True)
class Invocation:
    """What came of one invocation. Durations are seconds, and neither contains the other."""

    request_id: str
    cold: bool
    raw: bytes
    """What the caller gets: the answer, or the error as JSON."""
    payload: Any
    """The answer decoded; None where it is no JSON and where there is an error."""
    error: dict[str, Any] | None
    """As the runtime posted it, or Lambda's own: Sandbox.Timedout, Runtime.ExitError, ..."""
    duration: float
    """From handing over the event to the answer; 0.0 if the process never came to take it."""
    init_duration: float | None
    """From starting the process to its readiness (or its end); None for a warm invocation."""
    log: str = field(repr=False)
    """What the process wrote to stdout and stderr since the previous invocation ended."""

    def answer(self) -> Any:
        """Give the payload. Raises `InvocationFailed` with the end of the log."""
        if self.error is not None:
            raise InvocationFailed(self.error, self.log)
        return self.payload


class Function:
    """One deployed function with at most one execution environment, that is one process.

    Nothing starts before the first `invoke`. Close it, or use it as a context manager.

    Args:
        handler: `module.function`, as in Lambda's configuration.
        environment: the function's own variables. Of the developer's environment it sees no more
            than what a process needs to start.
        timeout: seconds for one invocation; then the process is killed.
        path: directories put before PYTHONPATH, to find the handler's module in.
        memory_mb: what the function is told; it is not enforced.
        name: the function's name; the handler's module by default.
    """

    def __init__(
        self,
        handler: str,
        *,
        environment: Mapping[str, str] | None = None,
        timeout: float = 3.0,
        path: Sequence[str | Path] = (),
        memory_mb: int = 128,
        name: str | None = None,
    ) -> None:
        self.handler = handler
        self.timeout = timeout
        self.name = name or handler.rpartition(".")[0].replace("/", "_").replace(".", "_")
        self.cold_starts = 0
        self._variables = _variables(self.name, handler, memory_mb, path, environment or {})
        self._region = self._variables["AWS_REGION"]
        self._environment: Environment | None = None
        self._busy = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process id of the environment; None when there is none."""
        environment = self._environment
        return environment.pid if environment is not None and environment.alive else None

    def invoke(self, event: object = None) -> Invocation:
        """Invoke with `event` (anything JSON) and wait for the end; thaws a frozen environment.

        As on Lambda, an import that takes more than ten seconds is started once more under the
        function's own timeout. An error of the function is in the result, not raised. Raises
        RuntimeError when another thread is invoking; TypeError when `event` is no JSON.
        """
        body = json.dumps(event).encode()
        request_id = str(uuid.uuid4())
        with self._turn():
            try:
                return self._invoke(body, request_id)
            except BaseException:
                self._end()  # it may be anywhere in an invocation: no next one can use it
                raise

    def freeze(self) -> None:
        """Stop the environment as Lambda does between invocations: no code and no timer runs.

        Raises RuntimeError when there is no environment.
        """
        with self._turn():
            if self._environment is None or not self._environment.alive:
                message = f"{self.name} has no execution environment to freeze"
                raise RuntimeError(message)
            self._environment.freeze()

    def thaw(self) -> None:
        """Let a frozen environment run on; does nothing to one that runs, or when there is none."""
        with self._turn():
            if self._environment is not None and self._environment.alive:
                self._environment.thaw()

    def kill(self) -> None:
        """Kill the environment, if any, as Lambda does: at once. The next `invoke` is cold.

        Another thread may call it during an invocation, which then ends with Runtime.ExitError.
        """
        environment = self._environment
        if self._busy.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._busy.release()
        elif environment is not None:
            environment.signal(signal.SIGKILL)

    def close(self) -> None:
        """End the environment, if any."""
        self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _invoke(self, body: bytes, request_id: str) -> Invocation:
        if self._environment is not None and not self._environment.alive:
            self._end()
        init_duration = deadline = None
        cold = self._environment is None
        if self._environment is None:
            environment, outcome, init_duration, deadline = self._cold_start()
        else:
            environment, outcome = self._environment, Outcome()
            environment.thaw()
        duration = 0.0
        if environment.ready:
            taken = time.monotonic()
            deadline = deadline or taken + self.timeout
            headers = self._headers(request_id, deadline - taken)
            environment.hand_over(body, headers, request_id)
            outcome = environment.wait(deadline)
            duration = (outcome.answered or time.monotonic()) - taken
        if not environment.ready:
            environment.kill()  # the log is whole only after that
        error = outcome.failure(request_id, self.timeout)
        raw = (outcome.answer or b"") if error is None else json.dumps(error).encode()
        return Invocation(
            request_id=request_id,
            cold=cold,
            raw=raw,
            payload=_decoded(raw) if error is None else None,
            error=error,
            duration=duration,
            init_duration=init_duration,
            log=environment.take_log(),
        )

    def _cold_start(self) -> tuple[Environment, Outcome, float, float | None]:
        """Start an environment: it, how that went, how long it took, the deadline it is under."""
        deadline = None
        started = time.monotonic()
        environment = self._start()
        outcome = environment.wait(started + INIT_LIMIT)
        if outcome.timed_out and not outcome.posted:
            self._end()
            started = time.monotonic()
            deadline = started + self.timeout
            environment = self._start()
            outcome = environment.wait(deadline)
        return environment, outcome, time.monotonic() - started, deadline

    def _start(self) -> Environment:
        self._environment = Environment(self.handler, self._variables)
        self.cold_starts += 1
        return self._environment

    def _end(self) -> None:
        environment, self._environment = self._environment, None
        if environment is not None:
            environment.close()

    def _headers(self, request_id: str, left: float) -> dict[str, str]:
        """Give the headers of `GET next` for an invocation that has `left` seconds."""
        now = time.time()
        region = self._variables["AWS_REGION"]
        trace = f"Root=1-{int(now):08x}-{uuid.uuid4().hex[:24]}"
        return {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((now + left) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": (
                f"arn:aws:lambda:{region}:{_ACCOUNT}:function:{self.name}"
            ),
            "Lambda-Runtime-Trace-Id": f"{trace};Parent={uuid.uuid4().hex[:16]};Sampled=0",
        }

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            message = f"{self.name} is in use by another thread: an environment runs one event"
            raise RuntimeError(message)
        try:
            yield
        finally:
            self._busy.release()


def _variables(
    name: str, handler: str, memory_mb: int, path: Sequence[str | Path], own: Mapping[str, str]
) -> dict[str, str]:
    """Give the process environment: what a start needs, what Lambda sets, the function's own."""
    inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    lambdas = {
        "AWS_DEFAULT_REGION": own.get("AWS_REGION", "us-east-1"),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{python}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"[$LATEST]{uuid.uuid4().hex}",
        "AWS_REGION": "us-east-1",
        "TZ": ":UTC",
        "_HANDLER": handler,
    }
    places = [*map(str, path), own.get("PYTHONPATH"), os.environ.get("PYTHONPATH")]
    python_path = os.pathsep.join(place for place in places if place)
    return {**inherited, **lambdas, **own, "PYTHONPATH": python_path}


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:  # bytes that a handler returned go out as they are
        return None
