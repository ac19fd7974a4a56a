"""Which login to try: the one that is known, or another after the server has refused it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pymysql.constants import CR

from dal import credentials as names
from dal.credentials import Login
from dal.errors import Error
from dal.settings import Settings
from dal.wire.network.connect_failed import ConnectFailed

#: Seconds for which a login that was refused is not sent again. Each refused one counts against
#: FAILED_LOGIN_ATTEMPTS of its account, which locks it for days
#: (https://dev.mysql.com/doc/refman/8.4/en/password-management.html).
QUARANTINE = 30.0


class _Refusal(NamedTuple):
    login: Login
    error: ConnectFailed
    until: float


# By address and user of the settings: what this process has given up with.
_refusals: dict[str, _Refusal] = {}


def first_login(settings: Settings) -> Login:
    """Return the login to begin with.

    Raises:
        ConnectFailed: the credentials still give what the server has refused a moment ago, or
            they could not be had.
    """
    if settings.credentials is None:
        return Login(settings.user, settings.current_password())
    refusal = _refusals.get(_place(settings))
    if refusal is None or time.monotonic() >= refusal.until:
        return _asked(settings, None)
    login = _asked(settings, refusal.login)
    if login == refusal.login:
        error = refusal.error
        number, text = error.args[0], str(error.args[-1])
        raise ConnectFailed(number, text, error.stage, settings, may_pass=False) from error
    return login


def next_login(
    settings: Settings, refused: Sequence[Login], error: ConnectFailed, wait: Callable[[], bool]
) -> Login | None:
    """Return another login than those that the server has refused, the last one just now; or None.

    A callable `password` is asked once more. `credentials` are asked again and again, while `wait`
    says that there is time: the secret may be written after the server has the new password.
    """
    if settings.credentials is None:
        if not callable(settings.password) or len(refused) > 1:
            return None
        login = Login(settings.user, settings.current_password())
        return login if login not in refused else None
    while True:
        login = _asked(settings, refused[-1])
        if login not in refused:
            return login
        if not wait():
            until = time.monotonic() + QUARANTINE
            _refusals[_place(settings)] = _Refusal(refused[-1], error, until)
            return None


def accepted(settings: Settings) -> None:
    """Forget what was refused: the server takes logins of these credentials again."""
    if _refusals:
        _refusals.pop(_place(settings), None)


def _asked(settings: Settings, refused: Login | None) -> Login:
    given = settings.credentials
    ask = names.named(given, settings.user) if isinstance(given, str) else given
    assert ask is not None  # noqa: S101
    try:
        login = ask(f"{settings.host}:{settings.port}", refused)
    except Error:
        raise
    except Exception as error:
        raise ConnectFailed(
            CR.CR_UNKNOWN_ERROR,
            f"the credentials raised {type(error).__name__}",
            "credentials",
            settings,
            may_pass=False,
        ) from error
    if not isinstance(login, Login):
        raise settings.wrong_credentials(type(login).__name__)
    return login


def _place(settings: Settings) -> str:
    return f"{settings.user}@{settings.host}:{settings.port}"
