"""One execution environment: an `awslambdaric` process and the Runtime API it talks to."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from dal.testing._runtime_api import Request, RuntimeApi

RESPONSE_LIMIT = 6 * 1024 * 1024 + 100
"""Bytes that an answer may have, as in the Runtime Interface Emulator's `ErrResponseTooLarge`."""

_ROOT = "/2018-06-01/runtime/"
_NEXT = _ROOT + "invocation/next"
_INIT_ERROR = _ROOT + "init/error"
# How late the end of a process that has no open connection may be noticed. Neither a pidfd nor
# SIGCHLD is had on every system and in every thread; a connection's end wakes the wait anyway.
_TICK = 0.02
# The guard waits for the end of its input, which comes when this process is gone, however it went,
# and kills what is left. PR_SET_PDEATHSIG would kill when the *thread* that started the process
# ends, exists on Linux alone, and atexit does not run after SIGKILL; a frozen process cannot look
# after itself.
_GUARD = 'read -r _; kill -s KILL -- "-$0"'


@dataclass
class Outcome:
    """What a runtime has posted since it was handed an event (or was started), and how it ended."""

    answer: bytes | None = None
    error: dict[str, Any] | None = None
    answered: float | None = None
    """When either came, on the monotonic clock."""
    timed_out: bool = False
    exit_code: int | None = None

    @property
    def posted(self) -> bool:
        """Whether the runtime has said how it went."""
        return self.answered is not None

    def failure(self, request_id: str, timeout: float) -> dict[str, Any] | None:
        """Give the error that Lambda's caller sees, None when there is an answer."""
        if self.posted:
            return self.error
        if self.timed_out:
            kind, text = "Sandbox.Timedout", f"Task timed out after {timeout:.2f} seconds"
        else:
            kind, text = "Runtime.ExitError", _exit_reason(self.exit_code or 0)
        return {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {text}"}


class Environment:
    """A running `awslambdaric`. Not safe for threads, but for `signal`."""

    def __init__(self, handler: str, variables: Mapping[str, str]) -> None:
        self._api = RuntimeApi()
        # A file, not a pipe: nobody has to read it while the function runs.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the environment
        self._log_taken = 0
        self._next: Request | None = None
        self._request_id: str | None = None
        self._outcome = Outcome()
        self._frozen = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", handler],
            env={**variables, "AWS_LAMBDA_RUNTIME_API": self._api.address},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self.pid = self._process.pid
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self.pid)], stdin=subprocess.PIPE, process_group=0
        )

    @property
    def alive(self) -> bool:
        """Whether the process runs (or is frozen)."""
        return self._process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether the runtime waits for an event."""
        return self._next is not None and self.alive

    def hand_over(self, event: bytes, headers: Mapping[str, str], request_id: str) -> None:
        """Give the waiting runtime its event."""
        waiting, self._next = self._next, None
        if waiting is None:
            raise RuntimeError("the runtime does not wait for an event")
        self._request_id, self._outcome = request_id, Outcome()
        self._api.reply(waiting, HTTPStatus.OK, event, headers)

    def wait(self, deadline: float) -> Outcome:
        """Serve the runtime until it asks for the next event, ends, or `deadline` has come."""
        outcome = self._outcome
        while self._next is None:
            left = deadline - time.monotonic()
            if left <= 0:
                outcome.timed_out = True
                break
            request = self._api.receive(min(left, _TICK))
            if request is not None:
                self._serve(request)
            elif not self.alive:
                outcome.exit_code = self._process.returncode
                break
        return outcome

    def take_log(self) -> str:
        """Give what was written since the last call."""
        # The process shares this file's offset: pread leaves it alone.
        end = os.fstat(self._log.fileno()).st_size
        data = os.pread(self._log.fileno(), end - self._log_taken, self._log_taken)
        self._log_taken = end
        return data.decode(errors="replace")

    def freeze(self) -> None:
        """Stop the process, and return when it stands."""
        if self._frozen:
            return
        self.signal(signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        self._frozen = os.WIFSTOPPED(status)
        if not self._frozen:
            self._process.returncode = os.waitstatus_to_exitcode(status)

    def thaw(self) -> None:
        """Let a frozen process run on."""
        if self._frozen:
            self.signal(signal.SIGCONT)
            self._frozen = False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the process and whatever it started, and return when it is gone."""
        self._guard.kill()
        self._guard.communicate()
        if self.alive:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Kill, and give back every file and socket."""
        self.kill()
        self._api.close()
        self._log.close()

    def _serve(self, request: Request) -> None:
        match request.method, request.path:
            case "GET", path if path == _NEXT:
                self._ask_next(request)
            case "POST", path if path == _INIT_ERROR:
                self._post(request, None, error=True)
            case "POST", path if path.startswith(_ROOT + "invocation/"):
                request_id, _, kind = path.removeprefix(_ROOT + "invocation/").partition("/")
                self._post(request, request_id, error=kind == "error")
            case _:
                self._refuse(request, HTTPStatus.NOT_FOUND, "NotFound")

    def _ask_next(self, request: Request) -> None:
        if self._request_id is not None and not self._outcome.posted:
            self._refuse(request, HTTPStatus.FORBIDDEN, "InvalidStateTransition")
        else:
            self._next = request

    def _post(self, request: Request, request_id: str | None, *, error: bool) -> None:
        if request_id != self._request_id:
            self._refuse(request, HTTPStatus.BAD_REQUEST, "InvalidRequestID")
        elif self._outcome.posted:
            self._refuse(request, HTTPStatus.FORBIDDEN, "InvalidStateTransition")
        elif error:
            self._settle(error=json.loads(request.body))
            self._api.reply(request, HTTPStatus.ACCEPTED, b'{"status":"OK"}')
        elif len(request.body) > RESPONSE_LIMIT:
            text = (
                "Response payload size exceeded maximum allowed payload size "
                f"({RESPONSE_LIMIT} bytes)."
            )
            kind = "Function.ResponseSizeTooLarge"
            self._settle(error={"errorType": kind, "errorMessage": text})
            self._refuse(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge")
        else:
            self._settle(answer=request.body)
            self._api.reply(request, HTTPStatus.ACCEPTED, b'{"status":"OK"}')

    def _settle(self, answer: bytes | None = None, error: dict[str, Any] | None = None) -> None:
        outcome = self._outcome
        outcome.answer, outcome.error, outcome.answered = answer, error, time.monotonic()

    def _refuse(self, request: Request, status: HTTPStatus, kind: str) -> None:
        body = {"errorType": kind, "errorMessage": status.phrase}
        self._api.reply(request, status, json.dumps(body).encode())


def _exit_reason(code: int) -> str:
    """Say how a process ended, in the words of Lambda."""
    if code == 0:
        return "Runtime exited without providing a reason"
    if code > 0:
        return f"Runtime exited with error: exit status {code}"
    name = (signal.strsignal(-code) or str(-code)).lower()
    return f"Runtime exited with error: signal: {name}"
