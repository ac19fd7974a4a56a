"""Why no connection was made: the driver's error, with the stage that it came from."""

from __future__ import annotations

import functools
import socket
import ssl
from typing import Any

import pymysql
from pymysql.constants import CR, ER

from dal.errors import NAMED_WHILE_CONNECTING, ConnectError
from dal.settings import Settings
from dal.wire.network.channel import TimedOut


class WantsRSA(pymysql.OperationalError):
    """The server wants the password under a key that it shows, without TLS."""

    def __init__(self) -> None:
        super().__init__(CR.CR_AUTH_PLUGIN_ERR, "the server wants the password under its RSA key")


class ConnectFailed(pymysql.OperationalError):
    """The driver's error while connecting, with the stage that it came from."""

    def __init__(
        self, errno: int, message: str, stage: str, settings: Settings, *, may_pass: bool
    ) -> None:
        super().__init__(errno, message)
        self.stage = stage
        # Of the settings only what may travel: they hold a password, or what gives one.
        self.address = f"{settings.host}:{settings.port}"
        #: Whether the login is what `credentials` names.
        self.has_credentials = settings.credentials is not None
        #: Whether it only ran out of time.
        self.is_timeout = False
        #: Whose deadline passed meanwhile, if one did.
        self.passed: str | None = None
        #: Whether the server, or the account, has no connection left at this moment.
        self.is_full = may_pass and errno in _FULL
        #: Whether the same try may succeed a moment later.
        self.may_pass = may_pass

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(ConnectFailed.__new__, ConnectFailed), self.args, self.__dict__

    @property
    def kind(self) -> type[ConnectError]:
        """The class of `dal` for it."""
        return NAMED_WHILE_CONNECTING.get(self.args[0], ConnectError)


_FULL = {1040, 1203, 1226}

# Full, shutting down (1053), lost on the way in.
_MAY_PASS = _FULL | {1053, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST}


def connect_failed(
    error: Exception, failure: Exception, stage: str, settings: Settings
) -> ConnectFailed:
    """Return the driver's error for `error`, which came of `failure` on the socket, if on that."""
    number, text, may_pass = CR.CR_CONN_HOST_ERROR, str(failure), False
    if isinstance(failure, TimedOut):
        if failure.passed is not None:
            stage = "deadline"
        text = f"no complete answer within {settings.connect_timeout:g} s"
    elif isinstance(failure, ssl.SSLEOFError | ConnectionError):
        may_pass = True  # refused, reset or hung up, in the TLS handshake as well
    elif isinstance(failure, ssl.SSLError):
        number, stage = CR.CR_SSL_CONNECTION_ERROR, "tls"
    elif isinstance(failure, socket.gaierror):
        stage, may_pass = "name", failure.errno == socket.EAI_AGAIN
    elif isinstance(error, WantsRSA):
        (number, text), stage = error.args, "rsa"
    elif isinstance(error, pymysql.Error) and error.args and isinstance(error.args[0], int):
        number, text = error.args[0], str(error.args[-1])
        may_pass = number in _MAY_PASS
        if number == ER.USER_LIMIT_REACHED and "'max_user_connections'" not in text:
            may_pass = False  # what the account may do in an hour: waiting seconds does not help
    elif stage == "greeting":
        stage = "protocol"
    failed = ConnectFailed(number, text, stage, settings, may_pass=may_pass)
    failed.is_timeout = isinstance(failure, TimedOut)
    failed.passed = getattr(failure, "passed", None)
    return failed
