"""What a proxy does to the traffic: when it strikes, and how."""

import threading
from dataclasses import dataclass, field
from typing import Literal, get_args

from dal.testing._wire import Step

Action = Literal["cut", "reset", "stall", "swallow", "drip"]
"""What happens.

- cut: both connections end, the client's with FIN;
- reset: the client gets a RST, the server a FIN;
- stall: nothing passes any more, either way, not even the end of a connection;
- swallow: the server gets the request, the client never its answer;
- drip: the server's bytes pass one by one.
"""

Moment = Literal["accept", "greeting", "tls", "login"] | int | bytes
"""When: a stage of connecting, the n-th command of a connection (1 is the first after the login),
or a statement that contains these bytes (which TLS hides).

Under TLS a command is a flight of the client after an answer; a login that takes a second round
trip (the server's login cache was cold) therefore counts as the first.
"""

_STAGES = ("accept", "greeting", "tls", "login")


@dataclass(eq=False)
class Fault:
    """A fault that is armed; made by `Proxy.on`, which says what the fields mean."""

    moment: Moment
    action: Action
    answer: bool = False
    times: int | None = 1
    interval: float = 0.05
    cut_after: float | None = None
    fired: int = 0
    """How often it has struck."""
    _struck: threading.Event = field(default_factory=threading.Event, repr=False)

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            message = f"no such action: {self.action!r}"
            raise ValueError(message)
        stage = self.moment if isinstance(self.moment, str) else None
        if stage is not None and stage not in _STAGES:
            message = f"no such moment: {self.moment!r}"
            raise ValueError(message)
        if self.action == "swallow" and stage not in {"accept", "greeting", "tls"}:
            self.answer = True
        if (self.answer and stage in {"accept", "greeting", "tls"}) or (
            self.action == "swallow" and stage in {"accept", "tls"}
        ):
            message = f"there is no answer at {self.moment!r}"
            raise ValueError(message)

    def wait(self, timeout: float = 5.0) -> bool:
        """Wait until the fault has struck; False when `timeout` seconds pass without it."""
        return self._struck.wait(timeout)

    def meets(self, step: Step) -> bool:
        """Whether the fault is to strike now."""
        if self.answer != step.answer or (self.times is not None and self.fired >= self.times):
            return False
        match self.moment:
            case int():
                return step.kind == "command" and step.number == self.moment
            case bytes():
                return self.moment in step.statement
            case _:
                return step.kind == self.moment

    def strike(self) -> None:
        """Count one more time."""
        self.fired += 1
        self._struck.set()


class Conditions:
    """The state of the line, shared by all connections of a proxy."""

    def __init__(self) -> None:
        self.latency = 0.0
        self.faults: list[Fault] = []

    def fault_at(self, step: Step) -> Fault | None:
        """Give the fault that strikes at this step, counted, if there is one."""
        for fault in self.faults:
            if fault.meets(step):
                fault.strike()
                return fault
        return None
