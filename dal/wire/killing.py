"""Ending on the server what its client has given up on.

A client that stops waiting stops nothing: the statement runs on and keeps its locks (PyMySQL closes
the socket, which the server notices once it has something to send). KILL needs no privilege for
one's own sessions: https://dev.mysql.com/doc/refman/8.4/en/kill.html
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("dal")

#: Seconds for all of it: it draws on the reserve of a handler, and must leave time to answer.
LIMIT = 0.25

# Which session is ours is told by number, user and the statement it runs: behind a proxy, or after
# the server was exchanged, the number may be somebody else's.
_OURS = (
    "SELECT COUNT(*) FROM information_schema.processlist "
    "WHERE id = %s AND user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AND LEFT(info, %s) = %s"
)


def kill(connect: Callable[[], Any], *, number: int, version: str, statement: str) -> None:
    """Kill the session of this number, which runs `statement`, as a best effort.

    By a connection to the same address, within `LIMIT` seconds. Failing is logged, never raised.
    """
    try:
        with contextlib.closing(connect()) as sibling:
            if sibling.server_version != version:
                return
            with sibling.cursor() as cursor:
                cursor.execute(_OURS, (number, len(statement), statement))
                if cursor.fetchone() == (1,):
                    cursor.execute(f"KILL {number}")
                    log.info("killed session %d, whose statement was given up", number)
    except Exception as error:  # noqa: BLE001  # the statement was given up all the same
        log.info("session %d could not be killed: %s", number, error)
