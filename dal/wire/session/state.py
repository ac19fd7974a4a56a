"""The one SET: everything that a session's state is made of, and the server's own limits.

https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html has each variable.
"""

from __future__ import annotations

import math

from dal.settings import Settings
from dal.wire.purpose import Purpose

# MySQL 8's default, written out: RDS's own default is not strict, and without strict mode values
# are truncated in silence (manual, "Server SQL Modes").
SQL_MODE = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
)

#: Seconds that the client waits longer than the server's own limit, for the server's answer.
GRACE = 1.0

# Seconds that the server waits past the deadline, for what was sent before it. Rounded up to whole
# ones, they are what an orphan's locks cost others, so that they are few.
_MARGIN = 0.25

_LONGEST = 31_536_000  # a year: the highest value of these variables


def session_state(settings: Settings, purpose: Purpose, *, is_mariadb: bool) -> str:
    """Return the statement that gives a session the state that `purpose` asks for.

    MariaDB 10 has the older names of two variables and no limit that is for SELECT alone.
    """
    old = "tx" if is_mariadb else "transaction"
    state = {
        f"{old}_isolation": "'READ-COMMITTED'",
        "sql_mode": f"'{SQL_MODE}'",
        "time_zone": "'+00:00'",
        # Alone, a SELECT needs no transaction: autocommit spares its COMMIT.
        "autocommit": "1" if purpose.read_only else "0",
    }
    if purpose.read_only:
        state[f"{old}_read_only"] = "1"
    state |= limits(settings, purpose, is_mariadb=is_mariadb)
    if settings.pool == "warm":
        state["@dal_role"] = "CURRENT_ROLE()"  # as the login left it
    return f"SET NAMES utf8mb4, {_assignments(state)}"


def is_as_after_login() -> str:
    """Return a statement that fails where a reset would leave another session than a login does.

    COM_RESET_CONNECTION neither gives back the roles of the login nor runs `init_connect` again,
    and says so nowhere: both were tried on MySQL 9.7.
    """
    is_same = "CURRENT_ROLE() <=> @dal_role AND @@init_connect = ''"
    return f"SET sql_mode=IF({is_same}, @@sql_mode, 'not as after a login')"


def limits_again(settings: Settings, purpose: Purpose, *, is_mariadb: bool) -> str:
    """Return the statement that brings the server's limits down to the time that is left."""
    return f"SET {_assignments(limits(settings, purpose, is_mariadb=is_mariadb))}"


def limits(settings: Settings, purpose: Purpose, *, is_mariadb: bool) -> dict[str, str]:
    """Return the server's own limits, for the time that is left.

    None behind RDS Proxy: those on locks and SELECTs pin, and what is idle is the proxy's to end.
    """
    if settings.proxy:
        return {}
    left = purpose.deadline.remaining()
    patience = str(_seconds(min(settings.lock_wait_timeout, left)))
    found = {"lock_wait_timeout": patience, "innodb_lock_wait_timeout": patience}
    if not is_mariadb:
        statement = min(settings.statement_timeout or math.inf, left)
        milliseconds = 0 if statement == math.inf else max(1, int(statement * 1000))
        found["max_execution_time"] = str(milliseconds)
    idle = settings.idle_timeout if left == math.inf else _seconds(left + _MARGIN)
    if idle is not None:
        found |= {"wait_timeout": str(idle), "net_write_timeout": str(idle)}
    return found


def _assignments(variables: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in variables.items())


def _seconds(limit: float) -> int:
    """Return whole seconds, at least one: MySQL's wait limits know no fractions."""
    return max(1, math.ceil(min(limit, _LONGEST)))
