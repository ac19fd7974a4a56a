"""Waiting before another try: exponential backoff with full jitter.

https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ has the reasons. From the
system's entropy: environments restored from one SnapStart snapshot share the state of `random`, and
would all wait the same time.
"""

from __future__ import annotations

import random
import time

from dal.wire.deadline import Deadline

_random = random.SystemRandom()


class Backoff:
    """Waits from 0 to `base`, then 2, 4, 8 times `base` seconds, never over `cap`."""

    def __init__(self, *, base: float = 0.05, cap: float = 1.0) -> None:
        self._ceiling = base
        self._cap = cap

    def wait(self, *deadlines: Deadline, at_least: float = 0.0) -> bool:
        """Wait, and return whether there is still time; False at once if there is not enough."""
        seconds = at_least + _random.uniform(0, self._ceiling)
        self._ceiling = min(self._cap, self._ceiling * 2)
        if any(deadline.remaining() <= seconds for deadline in deadlines):
            return False
        time.sleep(seconds)
        return True
