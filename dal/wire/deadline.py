"""One point in time that every wait of a scope draws on."""

from __future__ import annotations

import math
import time


class Deadline:
    """A point in time after which nothing is waited for any more.

    Monotonic: a corrected wall clock neither shortens nor lengthens it.
    """

    __slots__ = ("expires_at",)

    def __init__(self, seconds: float) -> None:
        """Let the deadline be `seconds` from now; `math.inf` means never."""
        self.expires_at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left; 0.0 once it has passed."""
        return max(0.0, self.expires_at - time.monotonic())

    def __repr__(self) -> str:
        return f"Deadline(remaining={self.remaining():.3f})"


NEVER = Deadline(math.inf)
