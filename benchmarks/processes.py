"""The peers, and a process for each of them."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.site import ROOT, cleaned_environment

#: Module and title, in the order of the tables.
PEERS = {
    "on_dal": "dal",
    "on_dal_warm": 'dal, pool="warm"',
    "lean_hand": "PyMySQL, tuned",
    "shared_context": "PyMySQL, one SSLContext",
    "by_hand": "PyMySQL, the article's",
    "on_django": "Django, mysqlclient",
    "on_sqlalchemy": "SQLAlchemy by the book",
    "on_advanced_alchemy": "advanced-alchemy",
}


class Missing(Exception):
    """A peer cannot be imported; the text says why."""


class Peer:
    """A process that runs the functions of one peer."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name],
            cwd=ROOT,
            env={**cleaned_environment(), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        greeting = self.receive()
        if "missing" in greeting:
            self.close()
            raise Missing(greeting["missing"])

    def send(self, **request: Any) -> None:
        """Ask for calls."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Return what came of them."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} failed; what it said is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def call(self, work: str, calls: int = 1, *, first: int = 0, size: int = 0) -> dict[str, Any]:
        """Make some calls of one function, one after the other."""
        self.send(work=work, calls=calls, first=first, size=size)
        return self.receive()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextlib.contextmanager
def peers_on(
    environment: Mapping[str, str], names: Sequence[str], missing: dict[str, str]
) -> Iterator[list[Peer]]:
    """Start a process for each peer; those that cannot be imported are noted in `missing`."""
    with contextlib.ExitStack() as stack:
        found = []
        for name in names:
            try:
                peer = Peer(name, environment)
            except Missing as reason:
                missing[name] = str(reason)
                continue
            stack.callback(peer.close)
            found.append(peer)
        yield found
