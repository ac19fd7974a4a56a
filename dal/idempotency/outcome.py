"""What became of a COMMIT whose answer was lost: a row of its transaction tells.

The row was inserted, and that was answered, before COMMIT was sent. So it is there, or it is locked
by the old session, or it was rolled back for good. One locking read with NOWAIT tells the three
apart, without waiting: https://dev.mysql.com/doc/refman/8.4/en/innodb-locking-reads.html
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pymysql
from pymysql.constants import ER

from dal.errors import DEMOTED, ConnectionLost
from dal.idempotency.table import select_outcome
from dal.wire.backoff import Backoff
from dal.wire.connecting import connect
from dal.wire.connection import Connection
from dal.wire.deadline import Deadline
from dal.wire.purpose import Purpose, connecting_for

log = logging.getLogger("dal")

#: Seconds from one question to the next while the old session holds the row.
_PAUSE = 0.02

#: Seconds of a handler's reserve that asking may take where the deadline has passed.
_LEAST = 0.25

_NOWAIT = 3572
_IS_LOCKED = {_NOWAIT, ER.LOCK_WAIT_TIMEOUT}  # MariaDB says the latter
_NO_SUCH_THREAD = ER.NO_SUCH_THREAD


@dataclass(frozen=True)
class Mark:
    """The row by which one transaction is known again."""

    name: str
    key: bytes
    run: bytes


class DoneElsewhere(ConnectionLost):
    """COMMIT did not commit, and another run with the same key has committed since."""


def was_committed(mark: Mark, lost: Connection) -> bool | None:
    """Return whether the transaction of `lost` was committed; None where nobody can be asked.

    Asks by connections of its own to the name of the host, until the deadline of `lost`; within
    `connect_timeout` where it has none. A session that holds the row still is killed once.

    Raises:
        ConnectionLost: it was rolled back.
        DoneElsewhere: and another run has done the work.
    """
    left = lost.purpose.deadline.remaining()
    limit = Deadline(lost.settings.connect_timeout if left == math.inf else max(left, _LEAST))
    backoff = Backoff(base=_PAUSE, cap=0.25)
    is_killed = False
    while True:
        try:
            with _connected(lost, limit) as asking:
                while (answer := _ask(asking, mark)) is None:
                    if not is_killed:
                        is_killed = True
                        _kill(asking, lost)
                    if limit.remaining() <= _PAUSE:
                        return None
                    time.sleep(_PAUSE)
        except pymysql.Error as error:
            log.info("the outcome of a COMMIT could not be asked for yet: %s", error)
        else:
            return _told(answer[0], mark)
        if not backoff.wait(limit):
            return None


def _told(run: bytes | None, mark: Mark) -> bool:
    if run == mark.run:
        log.info("COMMIT's answer was lost; it is committed")
        return True
    if run is None:
        raise ConnectionLost(
            "the connection was lost and COMMIT did not commit: nothing is stored; run the whole "
            "unit of work again"
        )
    raise DoneElsewhere(
        "the connection was lost and COMMIT did not commit; another run has done the work since"
    )


@contextlib.contextmanager
def _connected(lost: Connection, limit: Deadline) -> Iterator[Connection]:
    with connecting_for(Purpose(deadline=limit)):  # no owner: no scope hears of it
        asking = connect(lost.settings)
    try:
        yield asking
    finally:
        asking.drop()  # with its lock


def _ask(asking: Connection, mark: Mark) -> tuple[bytes | None] | None:
    """Return the run that the row holds, None for no row; None where the row is locked."""
    sql = select_outcome(asking.settings.table_prefix, is_mariadb=asking.is_mariadb)
    try:
        with asking.cursor() as cursor:
            cursor.execute(sql, (mark.name, mark.key))
            is_demoted, run = cursor.fetchone()
    except pymysql.Error as error:
        if error.args and error.args[0] in _IS_LOCKED:
            return None
        raise
    if is_demoted:
        raise pymysql.OperationalError(min(DEMOTED), "this is not the writer")
    return (run,)


def _kill(asking: Connection, lost: Connection) -> None:
    """Kill the session of `lost`, if it is surely that one; it may have ended by itself.

    Behind a proxy the number is not the server's. Another server, and one that was started since,
    gives the number to somebody else.
    """
    if asking.settings.proxy or not asking.is_same_server(lost):
        return
    try:
        with asking.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Uptime'")
            uptime = float(cursor.fetchone()[1])
            cursor.execute(
                "SELECT COUNT(*) FROM information_schema.processlist "
                "WHERE id = %s AND user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)",
                (lost.thread_id(),),
            )
            if uptime + 1 > lost.age and cursor.fetchone() == (1,):
                cursor.execute(f"KILL {lost.thread_id()}")
                log.info("killed session %d, whose COMMIT was given up", lost.thread_id())
    except pymysql.Error as error:
        if not asking.open or error.args[0] != _NO_SUCH_THREAD:
            raise
