"""Short waits for a table's lock, with pauses in which everybody else gets it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from dal.migrate.journal.steps import number_of, short

log = logging.getLogger("dal.migrate")

_LOCK_WAIT_TIMEOUT = 1205
_PAUSES = (1.0, 2.0, 4.0, 8.0, 10.0)


def patiently(send: Callable[[], Any], sql: str, patience: float) -> Any:
    """Send a DDL, again for `patience` seconds while another transaction holds its table.

    A DDL that did not get its lock did nothing, so it may be sent again.
    """
    ends_at = time.monotonic() + patience
    tries = 0
    while True:
        try:
            return send()
        except Exception as error:
            if number_of(error) != _LOCK_WAIT_TIMEOUT:
                raise
            pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
            if time.monotonic() + pause >= ends_at:
                raise
        tries += 1
        log.warning("another transaction holds the table, again in %g s: %s", pause, short(sql))
        time.sleep(pause)
