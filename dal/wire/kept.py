"""The cautious pool: one session kept by a process, and lent to one scope at a time.

Given back, a session is wiped without waiting for it: COM_RESET_CONNECTION rolls back whatever is
open and drops temporary tables, user locks, variables; the schema is chosen again; and a short
`wait_timeout` ends a session that a frozen function has forgotten. Borrowed, it gets the one SET of
a new session in the first round trip. The answers to the wiping come before that of the SET, so a
session that ended meanwhile shows itself without a wait, and any surprise means a new connection,
unseen by the caller: nothing had begun.
https://dev.mysql.com/doc/c-api/8.4/en/mysql-reset-connection.html
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pymysql.constants import COMMAND

from dal.settings import Settings
from dal.wire.connecting import connect
from dal.wire.connection import Connection
from dal.wire.purpose import current_purpose
from dal.wire.session.state import is_as_after_login

log = logging.getLogger("dal")

#: Seconds that a kept session has to answer before a new connection is made instead.
PATIENCE = 0.5

#: Seconds that the server waits longer than `max_idle_seconds`, for the client to come first.
LENIENCE = 5

_RESET_CONNECTION = 0x1F  # PyMySQL has no name for it


class Keeper:
    """What an engine connects with: lends the kept session to scopes, or makes a new one.

    Connections outside scopes are always new, and never kept.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # One at the most. A deque needs no lock, which a fork might copy in its locked state.
        self._kept: deque[_Kept] = deque()
        self._wipe = (
            (COMMAND.COM_QUERY, is_as_after_login().encode()),
            (COMMAND.COM_INIT_DB, settings.database.encode()),
            (_RESET_CONNECTION, b""),
            (
                COMMAND.COM_QUERY,
                f"SET wait_timeout={settings.max_idle_seconds + LENIENCE}".encode(),
            ),
        )

    def connect(self) -> Connection:
        """Return the kept session, set for its new purpose, or a new connection.

        Raises:
            ConnectFailed: there was none to lend, and none could be made.
        """
        purpose = current_purpose()
        if purpose.owner is None:
            return connect(self._settings)
        began = time.monotonic()
        lent = next(filter(None, map(self._lend, self._usable())), None)
        purpose.tally.connect_seconds += time.monotonic() - began
        if lent is not None:
            return lent
        connection = connect(self._settings)
        connection.lender = _Loan(self)
        return connection

    def _lend(self, kept: _Kept) -> Connection | None:
        connection = kept.connection
        try:
            connection.resume(PATIENCE, owed=len(self._wipe))
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing had begun
            connection.drop()
            log.debug("the kept connection is of no use, a new one is made: %s", error)
            return None
        except BaseException:
            connection.drop()
            raise
        connection.lender = kept.loan
        return connection

    def keep(self, connection: Connection, loan: _Loan) -> bool:
        """Wipe the session and keep it; False if it is not wanted any more."""
        if self._kept or loan.is_foreign or loan.since.passed() > self._settings.max_age_seconds:
            return False
        try:
            heir = connection.hand_on(*self._wipe)
        except Exception as error:  # noqa: BLE001  # it is closed instead
            log.debug("the connection could not be kept: %s", error)
            return False
        self._kept.append(_Kept(heir, loan))
        while len(self._kept) > 1:  # another thread was as fast
            self._close_one()
        return True

    def close(self) -> None:
        """Close what is kept; the next scope makes a new connection."""
        while self._kept:
            self._close_one()

    def _usable(self) -> Iterator[_Kept]:
        while self._kept:
            try:
                kept = self._kept.pop()
            except IndexError:  # another thread took it
                return
            if kept.is_usable(self._settings):
                yield kept
            else:
                kept.close()

    def _close_one(self) -> None:
        try:
            self._kept.popleft().close()
        except IndexError:
            return


@dataclass(frozen=True)
class _Moment:
    """A point in time by both clocks: one may stand still in a freeze, the other may be set."""

    monotonic: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)

    def passed(self) -> float:
        """Return the seconds since then, by the clock that says more."""
        return max(time.monotonic() - self.monotonic, abs(time.time() - self.wall))


@dataclass(frozen=True)
class _Loan:
    """What goes with a session from scope to scope."""

    keeper: Keeper
    since: _Moment = field(default_factory=_Moment)
    process: int = field(default_factory=os.getpid)

    @property
    def is_foreign(self) -> bool:
        """Whether this is a copy that a fork made: the session is the parent's."""
        return self.process != os.getpid()

    def take_back(self, connection: Connection) -> bool:
        """Keep the session of `connection`, if it is wanted."""
        return self.keeper.keep(connection, self)


@dataclass(frozen=True)
class _Kept:
    connection: Connection
    loan: _Loan
    since: _Moment = field(default_factory=_Moment)

    def is_usable(self, settings: Settings) -> bool:
        return (
            not self.loan.is_foreign
            and self.since.passed() <= settings.max_idle_seconds
            and self.loan.since.passed() <= settings.max_age_seconds
        )

    def close(self) -> None:
        if self.loan.is_foreign:
            self.connection.drop()  # without a word: the parent goes on with it
        else:
            self.connection.close()
