"""The keeper: a small process that takes a test server away when its asker ends.

The asker cannot promise that itself. `atexit` does not run on SIGKILL, nor on a SIGTERM that nobody
handles. PR_SET_PDEATHSIG would kill the server when the *thread* that started it ends, perhaps long
before the process does, and removes neither a data directory nor a container. A pipe does it: the
kernel closes the asker's end whatever ended the asker, and the keeper, in a session of its own so
that a signal to the asker's group misses it, then does the one task it was given.

This file is both ends: `Keeper` is the asker's, and run as a script it is the keeper's.
"""

import atexit
import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Literal

_END_LIMIT = 30.0
_PR_SET_PDEATHSIG = 1


class Keeper:
    """A keeper process at work, seen from the process that asked for it."""

    def __init__(self, task: Literal["process", "container"], *arguments: str) -> None:
        # An unlinked file: readable when the server's directory is gone, and never left behind.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        self._asker = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, task, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,
        )
        atexit.register(self.end)

    @property
    def ended(self) -> bool:
        """Whether the task is over: what was kept is gone, by itself or by `end`."""
        return self._process.poll() is not None

    def log(self) -> str:
        """What the kept process, and the keeper, have written to standard error; "" after `end`."""
        if self._log.closed:
            return ""
        # pread leaves the file's position alone, which the writer shares.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def end(self) -> None:
        """Take away what is kept, and wait until it is gone; a second call does nothing.

        In a fork of the asker it does nothing at all: the server is still the asker's.

        Raises:
            RuntimeError: something of the server could not be removed; the message says what.
        """
        if os.getpid() != self._asker or self._log.closed:
            return
        atexit.unregister(self.end)
        try:
            self._process.communicate(b"end", timeout=_END_LIMIT)
            if self._process.returncode:
                raise RuntimeError(f"a test server was not removed wholly: {self.log()[-2000:]}")
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"a test server is not gone after {_END_LIMIT:.0f} s") from None
        finally:
            self._log.close()


def _die_with_keeper() -> None:
    # For `kill -9` on everything that is called python. The keeper has one thread, so here
    # PR_SET_PDEATHSIG means what it seems to mean.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _keep_process(told: int, directory: str, *command: str) -> None:
    """Run the command until it ends, the asker does or `told` says so; then remove all."""
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, directory)
        alive, held_by_child = os.pipe()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=(held_by_child,),
            preexec_fn=_die_with_keeper,  # noqa: PLW1509 - one thread
        )
        undo.callback(child.wait)
        undo.callback(child.kill)
        os.close(held_by_child)
        select.select([sys.stdin, told, alive], [], [])


def _keep_container(told: int, name: str) -> None:
    """Wait until the asker ends or `told` says so; then remove the container and its volumes."""
    # Imported and connected while the container starts, so that the removal itself is quick.
    from docker.errors import NotFound  # type: ignore[import-untyped]  # noqa: PLC0415
    from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415

    client = DockerClient().client
    try:
        select.select([sys.stdin, told], [], [])
    finally:
        with contextlib.suppress(NotFound):
            client.containers.get(name).remove(force=True, v=True)
        client.close()


if __name__ == "__main__":
    # A signal only writes to a pipe: an exception could strike between the start of a process and
    # the line that sees to its end.
    told, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    keep = _keep_process if sys.argv[1] == "process" else _keep_container
    keep(told, *sys.argv[2:])
