"""One point in time that every wait of a scope draws on."""

from __future__ import annotations

import math
import time

# Whose a deadline is, for the message that it has passed.
SCOPE = "the scope (its deadline=)"
RUN = "db.run() (its deadline=)"
INVOCATION = "the invocation (its remaining time less reserve)"


class Deadline:
    """A point in time after which nothing is waited for any more.

    Monotonic: a corrected wall clock neither shortens nor lengthens it.
    """

    __slots__ = ("expires_at", "name")

    def __init__(self, seconds: float, name: str = SCOPE) -> None:
        """Let the deadline be `seconds` from now; `math.inf` means never.

        Args:
            seconds: How long from now.
            name: Whose deadline it is, as the message of `DeadlineExceeded` names it.
        """
        self.expires_at = time.monotonic() + seconds
        self.name = name

    def remaining(self) -> float:
        """Return the seconds left; 0.0 once it has passed."""
        return max(0.0, self.expires_at - time.monotonic())

    def __repr__(self) -> str:
        return f"Deadline(remaining={self.remaining():.3f})"


NEVER = Deadline(math.inf)
