"""Interleaved rounds, and what is made of their samples."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.processes import Peer


@dataclass
class Samples:
    """What the calls of one peer in one cell of a case took, in milliseconds."""

    peer: str
    cell: dict[str, Any]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return asdict(self)


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """Return the interquartile range."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def rounds(
    peers: Sequence[Peer],
    work: str,
    cell: dict[str, Any],
    *,
    count: int,
    calls: int,
    size: int = 0,
    warm_up: int = 1,
    before: Callable[[str], None] = lambda _: None,
) -> list[Samples]:
    """Call `work` of each peer in turn, round by round; each round begins with another peer.

    `before` prepares the tables for a peer's turn. The answers of all peers must be the same.
    """
    found = {peer.name: Samples(peer.name, cell) for peer in peers}
    answers: dict[str, Any] = {}
    for number in range(-warm_up, count):
        turn = number % len(peers)
        for peer in [*peers[turn:], *peers[:turn]]:
            before(peer.name)
            first = (number + warm_up) * calls
            result = peer.call(work, calls, first=first, size=size)
            answers[peer.name] = result["answer"]
            if number >= 0:
                samples = found[peer.name]
                samples.wall += result["wall"]
                samples.cpu += result["cpu"]
                samples.more["memory"] = max(samples.more.get("memory", 0), result["memory"])
    _check_agreement(work, answers)
    return list(found.values())


def _check_agreement(work: str, answers: dict[str, Any]) -> None:
    """Raise unless all peers did the same; keys and balances differ where each one writes."""
    if work in ("insert_one", "read_modify_write"):
        return
    kinds = {repr(answer) for answer in answers.values()}
    if len(kinds) > 1:
        raise AssertionError(f"the peers disagree on {work}: {kinds}"[:2000])
