"""Short waits for a table's lock, with pauses in which everybody else gets it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from dal.migrate.journal.kinds import tokens
from dal.migrate.journal.steps import number_of, short

log = logging.getLogger("dal.migrate")

_LOCK_WAIT_TIMEOUT = 1205
_PAUSES = (1.0, 2.0, 4.0, 8.0, 10.0)

# https://dev.mysql.com/doc/refman/8.4/en/performance-schema-metadata-locks-table.html
_BLOCKERS = """
SELECT DISTINCT t.processlist_id, t.processlist_user, t.processlist_host,
       t.processlist_command, t.processlist_time, CONCAT('on ', m.object_name)
FROM performance_schema.metadata_locks m
JOIN performance_schema.threads t ON t.thread_id = m.owner_thread_id
WHERE m.object_type = 'TABLE' AND m.lock_status = 'GRANTED'
  AND m.object_schema = DATABASE() AND m.object_name IN ({marks})
  AND t.processlist_id <> CONNECTION_ID()
LIMIT 5
"""

# Where that is off, or is MariaDB: whoever has a transaction open in this database.
_TRANSACTIONS = """
SELECT p.id, p.user, p.host, p.command, p.time, 'has a transaction open'
FROM information_schema.innodb_trx x
JOIN information_schema.processlist p ON p.id = x.trx_mysql_thread_id
WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()
ORDER BY x.trx_started LIMIT 5
"""


def patiently(connection: Any, send: Callable[[], Any], sql: str, patience: float) -> Any:
    """Send a DDL, again for `patience` seconds while another transaction holds its table.

    A DDL that did not get its lock did nothing, so it may be sent again. The error of the last try
    has a note of who holds the table, where the account may see it.
    """
    ends_at = time.monotonic() + patience
    tries = 0
    while True:
        try:
            return send()
        except Exception as error:
            if number_of(error) != _LOCK_WAIT_TIMEOUT:
                raise
            who = blockers(connection, sql)
            pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
            if time.monotonic() + pause >= ends_at:
                error.add_note(f"held by {who}" if who else _UNSEEN)
                raise
        tries += 1
        log.warning("%s; again in %g s: %s", f"waiting for {who or _UNSEEN}", pause, short(sql))
        time.sleep(pause)


_UNSEEN = (
    "a transaction that this account may not see: it lacks SELECT on performance_schema, or PROCESS"
)


def blockers(connection: Any, sql: str) -> str:
    """Return which sessions hold the tables that `sql` names; empty where none is seen."""
    names = [*{word.strip("`") for word in tokens(sql) if word not in "().,;="}]
    marks = ", ".join(["%s"] * len(names))
    for query, arguments in ((_BLOCKERS.format(marks=marks), names), (_TRANSACTIONS, None)):
        with contextlib.suppress(Exception), connection.cursor() as cursor:
            cursor.execute(query, arguments)
            if found := cursor.fetchall():
                return ", ".join(
                    f"session {number} ({user} from {host}: {command} for {seconds} s, {what})"
                    for number, user, host, command, seconds, what in found
                )
    return ""
