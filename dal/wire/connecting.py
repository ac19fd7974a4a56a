"""Making a connection, again where nothing had begun and the next try may be luckier."""

from __future__ import annotations

import math
import time
from functools import partial

from dal.credentials import Login
from dal.settings import Settings
from dal.wire.backoff import Backoff
from dal.wire.connection import Connection
from dal.wire.deadline import Deadline
from dal.wire.logins import accepted, first_login, next_login
from dal.wire.network.connect_failed import ConnectFailed
from dal.wire.purpose import current_purpose
from dal.wire.tally import Tally

_ACCESS_DENIED = 1045


def connect(settings: Settings) -> Connection:
    """Return a new connection; all tries together take `connect_timeout` at the most.

    Tried again: a server that is full, refuses, or goes away while logging in. One that says it is
    full is waited for as long as the scope's deadline allows, where there is one, and
    `connect_timeout` begins anew: that wait is for a place, as for a lock. A login that was refused
    is never sent again: a callable password is asked once for another one, credentials until they
    give another one, as a secret may be written later than the server knows the new password.

    Raises:
        ConnectFailed: the last try's, once the time is up or another try would not help.
    """
    tally = current_purpose().tally
    began = time.monotonic()
    try:
        connection = _connect(settings, tally)
    finally:
        tally.connect_seconds += time.monotonic() - began
    tally.connections += 1
    return connection


def _connect(settings: Settings, tally: Tally) -> Connection:
    backoff = Backoff()
    first: ConnectFailed | None = None
    deadline = current_purpose().deadline
    limit = Deadline(settings.connect_timeout)
    login = first_login(settings)
    refused: list[Login] = []
    while True:
        try:
            connection = Connection(settings, login, limit.remaining())
        except ConnectFailed as failure:
            if first is not None and failure.is_timeout:
                raise first from failure  # the last try had no time left to say why
            first = first or failure
            until = deadline if failure.is_full and deadline.remaining() < math.inf else limit
            if failure.args[0] == _ACCESS_DENIED:
                refused.append(login)
                other = next_login(
                    settings, refused, failure, partial(backoff.wait, limit, deadline)
                )
                if other is None:
                    raise
                login = other
            elif not failure.may_pass or not backoff.wait(until, deadline):
                raise
            if until is deadline:
                limit = Deadline(settings.connect_timeout)  # it answers, so the network is fine
            tally.retry(failure.kind)
        else:
            accepted(settings)
            return connection
