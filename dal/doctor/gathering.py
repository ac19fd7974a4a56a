"""Reading the facts from a server, by an account that may be allowed little."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import sqlalchemy.exc
from sqlalchemy.engine import Connection

from dal.doctor.facts import Account, Asked, Facts, Known, Transaction, Unreadable, Wait
from dal.doctor.packages import uncompiled
from dal.engine import Settings
from dal.errors import Error

# Of databases, tables, columns, routines, and of the server as a whole (manual, "Server Error
# Message Reference").
_DENIED = {1044, 1142, 1143, 1227, 1370}

_PROCESS = (
    "ask with an account that has the PROCESS privilege, by --url; the functions' own need not "
    "have it"
)

# Both tables have the server's local time, whatever the session's time zone (MySQL's
# storage/innobase/handler/i_s.cc, field_store_time_t); so NOW() has to be local, too.
_LOCAL_TIME = "SET time_zone = 'SYSTEM'"
_TRANSACTIONS = """
SELECT trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, trx_started, NOW()),
       trx_state = 'LOCK WAIT', trx_rows_locked, trx_rows_modified, p.user, p.host
FROM information_schema.innodb_trx
LEFT JOIN information_schema.processlist p ON p.id = trx_mysql_thread_id
WHERE trx_mysql_thread_id <> CONNECTION_ID()
ORDER BY trx_started LIMIT 1000
"""
_WAITS = """
SELECT DISTINCT r.trx_mysql_thread_id, b.trx_mysql_thread_id
FROM {waits} w
JOIN information_schema.innodb_trx r ON r.trx_id = w.{requesting}
JOIN information_schema.innodb_trx b ON b.trx_id = w.{blocking}
LIMIT 1000
"""
_MYSQL_WAITS = _WAITS.format(
    waits="performance_schema.data_lock_waits",
    requesting="requesting_engine_transaction_id",
    blocking="blocking_engine_transaction_id",
)
_MARIADB_WAITS = _WAITS.format(
    waits="information_schema.innodb_lock_waits",
    requesting="requesting_trx_id",
    blocking="blocking_trx_id",
)

# "IDENTIFIED WITH 'plugin' AS ..." on MySQL; "IDENTIFIED VIA plugin USING ..." on MariaDB, which
# leaves its default out and writes "IDENTIFIED BY PASSWORD ...".
_PLUGIN = re.compile(r"IDENTIFIED (?:WITH|VIA) '?(\w+)'?")
_REQUIRE = re.compile(r"REQUIRE (?:SSL|X509|SUBJECT|ISSUER|CIPHER)")


def gather(
    connection: Connection, settings: Settings, asked: Asked, seconds_to_connect: float
) -> Facts:
    """Read everything; what this account may not see is an `Unreadable` in its place.

    Raises:
        dal.errors.DatabaseError: the connection was lost, or an answer did not come in time.
    """

    def rows(sql: str) -> Sequence[Any]:
        return connection.exec_driver_sql(sql).all()

    def attempt(read: Callable[[], Known], advice: str = "") -> Known | Unreadable:
        try:
            return read()
        except sqlalchemy.exc.DBAPIError as error:
            if isinstance(error, Error):  # a lost connection and its like
                raise
            number = error.orig.args[0] if error.orig else None
            if number in _DENIED:
                return Unreadable("this account may not look", advice)
            return Unreadable(f"the server refused the question (MySQL error {number})")

    variables = _pairs(rows("SHOW GLOBAL VARIABLES"))
    session = _pairs(rows("SHOW SESSION VARIABLES"))
    status = attempt(lambda: _pairs(rows("SHOW GLOBAL STATUS")))
    account = attempt(
        lambda: _account(
            rows("SELECT CURRENT_USER()")[0][0], rows("SHOW CREATE USER CURRENT_USER()")[0][0]
        )
    )
    grants = attempt(lambda: [row[0] for row in rows("SHOW GRANTS")])
    connection.exec_driver_sql(_LOCAL_TIME)
    waits = _MARIADB_WAITS if "mariadb" in variables["version"].lower() else _MYSQL_WAITS
    driver: Any = connection.connection.dbapi_connection
    return Facts(
        settings=settings,
        asked=asked,
        today=date.today(),
        seconds_to_connect=seconds_to_connect,
        variables=variables,
        session=session,
        status=status,
        tls=driver.encryption,
        account=account,
        grants=grants,
        transactions=attempt(lambda: [_transaction(row) for row in rows(_TRANSACTIONS)], _PROCESS),
        waits=attempt(lambda: [Wait(*row) for row in rows(waits)], _PROCESS),
        uncompiled=uncompiled(),
    )


def _pairs(rows: Sequence[Any]) -> Mapping[str, str]:
    return {row[0]: row[1] for row in rows}


def _account(name: str, definition: str) -> Account:
    plugin = _PLUGIN.search(definition)
    return Account(
        name=name,
        plugin=plugin[1] if plugin else "mysql_native_password",
        requires_tls=_REQUIRE.search(definition) is not None,
    )


def _transaction(row: Any) -> Transaction:
    connection, age, is_waiting, locked, modified, user, host = row
    who = f"{user}@{(host or '').partition(':')[0]}" if user else None
    return Transaction(connection, age, bool(is_waiting), locked, modified, who)
