"""Ending on the server what its client has given up on.

A client that stops waiting stops nothing: the statement runs on and keeps its locks (PyMySQL closes
the socket, which the server notices once it has something to send). KILL needs no privilege for
one's own sessions: https://dev.mysql.com/doc/refman/8.4/en/kill.html
"""

from __future__ import annotations

import contextlib
import logging

from dal.wire.beside import Beside
from dal.wire.session.login import LoggedIn

log = logging.getLogger("dal")

#: Seconds for all of it: it draws on the reserve of a handler, and must leave time to answer. Not
#: enough where a round trip takes 40 ms: there the statement runs on, as it does without KILL.
LIMIT = 0.15

# Which session is ours is told by number, user and the beginning of the statement it runs: behind a
# proxy, or after the server was exchanged, the number may be somebody else's. KILL takes a
# variable, so that both go in one round trip; NULL is nobody's number.
_FIND = (
    "SET @dal_ours = (SELECT id FROM information_schema.processlist WHERE id = %s "
    "AND user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AND LEFT(info, %s) = %s)"
)

_KILL = "KILL @dal_ours"


def kill(other: LoggedIn, statement: str) -> None:
    """Kill the session of `other`, whose statement begins so, as a best effort: one attempt.

    Failing is logged, never raised.
    """
    number = other.thread_id()
    try:
        with contextlib.closing(Beside(other, LIMIT)) as killer:
            if killer.server_version != other.server_version:
                return
            find = killer.cursor().mogrify(_FIND, (number, len(statement), statement))
            killer.run(find, _KILL)
            log.info("killed session %d, whose statement was given up", number)
    except Exception as error:  # noqa: BLE001  # the statement was given up all the same
        log.info("session %d could not be killed: %s", number, error)
