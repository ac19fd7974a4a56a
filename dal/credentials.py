"""Who a connection logs in as: a seam for secrets that rotate and for tokens that expire."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NoReturn

# Each gives credentials for (what stands behind the colon, the user of the settings).
_NAMED = {
    "secretsmanager": ("dal.aws.credentials", "SecretsManager"),
    "ssm": ("dal.aws.credentials", "ParameterStore"),
    "iam": ("dal.aws.credentials", "IAMToken"),
}
SHAPES = "secretsmanager:NAME_OR_ARN, ssm:PARAMETER or iam"


@dataclass(frozen=True, eq=False)
class Login:
    """A user and the password that goes with it. The password is in no `repr` and no pickle."""

    user: str
    password: str | bytes = field(repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Login):
            return NotImplemented
        return (self.user, self.encoded()) == (other.user, other.encoded())

    def __hash__(self) -> int:
        return hash((self.user, self.encoded()))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Login holds a password and is not pickled")

    def encoded(self) -> bytes:
        """Return the password as UTF-8; PyMySQL would make Latin-1 of text."""
        if isinstance(self.password, bytes):
            return self.password
        # Bytes that are not UTF-8 come from the environment as surrogates.
        return self.password.encode("utf-8", "surrogateescape")


#: Called as `(address, refused)` for each new connection. `address` is "HOST:PORT". `refused` is
#: the login that the server has refused, for which a cache must not be believed; None at first.
Credentials = Callable[[str, Login | None], Login]


def is_known(text: str) -> bool:
    """Return whether `text` names credentials: `SHAPES`."""
    kind, _, name = text.partition(":")
    return kind in _NAMED and bool(name) is (kind != "iam")


@functools.lru_cache(maxsize=16)
def named(text: str, user: str) -> Credentials:
    """Return the credentials that `text` names; what they need is imported here.

    One for each process, so that all connections share what it has fetched.
    """
    kind, _, name = text.partition(":")
    module, attribute = _NAMED[kind]
    make: Any = getattr(import_module(module), attribute)
    made: Credentials = make(user) if kind == "iam" else make(name, user=user)
    return made
