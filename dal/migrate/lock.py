"""One deployer at a time: a named lock of the server, on the session that does the work.

On that session, for then the lock is free exactly when the work has ended: a deployer that is
killed in the middle of an ALTER leaves it running, and the lock with it, until the server is done.
https://dev.mysql.com/doc/refman/8.4/en/locking-functions.html
"""

from __future__ import annotations

import hashlib
import logging
import time
from typing import Any, NamedTuple

from dal.errors import Error

log = logging.getLogger("dal.migrate")

#: Seconds between two looks at who holds the lock.
_TELL_AGAIN = 30.0


class AnotherDeployer(Error):
    """Another deployer migrates this database, and did not end in time. Nothing was done."""

    transient = True


class Holder(NamedTuple):
    """The session that holds the lock."""

    session: int
    user: str | None
    host: str | None
    #: What it runs now, and for how many seconds; None where the account may not see it.
    statement: str | None
    seconds: int | None

    def __str__(self) -> str:
        who = f"session {self.session}"
        if self.user:
            who += f" ({self.user} from {self.host})"
        if self.statement:
            who += f", {self.seconds} s in: {' '.join(self.statement.split())[:200]}"
        return who


def lock_name(database: str) -> str:
    """Return the lock's name: at most 64 characters may it have."""
    return f"dal.migrate.{hashlib.sha256(database.encode()).hexdigest()[:32]}"


def acquire(cursor: Any, database: str, wait: float) -> None:
    """Take the lock on the cursor's session, waiting at most `wait` seconds.

    The session holds it until it ends; there is nothing to release.

    Raises:
        AnotherDeployer: it is held still; says by whom.
    """
    name = lock_name(database)
    ends_at = time.monotonic() + wait
    told_at = None
    # The first try does not wait; the others do so at the server, second by second, so that
    # Ctrl-C is heard.
    while not _try(cursor, name, 0 if told_at is None else 1):
        now = time.monotonic()
        if now >= ends_at:
            found = holder(cursor, database)
            raise AnotherDeployer(
                f"another deployer migrates {database!r}: {found or 'it is not seen who'}; waited "
                f"{wait:g} s, nothing was done; run it again, or wait longer by DAL_MIGRATE_WAIT"
            )
        if told_at is None or now - told_at >= _TELL_AGAIN:
            told_at = now
            log.warning(
                "waiting for another deployer: %s", holder(cursor, database) or "not seen who"
            )


def _try(cursor: Any, name: str, seconds: int) -> bool:
    cursor.execute("SELECT GET_LOCK(%s, %s)", (name, seconds))
    return bool(cursor.fetchone()[0])


def holder(cursor: Any, database: str) -> Holder | None:
    """Return who holds the lock now; None if nobody does.

    Without the privilege PROCESS the sessions of other accounts are only numbers.
    """
    cursor.execute("SELECT IS_USED_LOCK(%s)", (lock_name(database),))
    (session,) = cursor.fetchone()
    if session is None:
        return None
    cursor.execute(
        "SELECT user, host, info, time FROM information_schema.processlist WHERE id = %s",
        (session,),
    )
    return Holder(int(session), *(cursor.fetchone() or (None, None, None, None)))
