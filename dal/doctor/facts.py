"""What a server says of itself, of `dal`'s session and of this moment: all that the checks see.

Read once, in a handful of statements, none of which takes a lock. The checks are functions of it
alone, so that the branches of servers that nobody has at hand are tested with a recording.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from dal.engine import Settings

Known = TypeVar("Known")


class Unreadable(Exception):
    """A fact that could not be had: why, and who could have it."""

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.advice = advice


def known(fact: Known | Unreadable) -> Known:
    """Return the fact.

    Raises:
        Unreadable: it could not be had.
    """
    if isinstance(fact, Unreadable):
        raise fact
    return fact


@dataclass(frozen=True)
class Asked:
    """What the caller wants to know: see `examine`."""

    concurrency: int | None = None
    processes: int = 1
    reserve: int = 10
    long_transaction: float = 60.0


@dataclass(frozen=True)
class Account:
    """How the account logs in; its password's hash is not kept."""

    name: str
    plugin: str
    requires_tls: bool


@dataclass(frozen=True)
class Transaction:
    """A transaction that is open now. Its statement is not read: it holds people's data."""

    connection: int
    age: int
    is_waiting: bool
    rows_locked: int
    rows_modified: int
    #: `user@host`, or None where this account may not see it.
    who: str | None


@dataclass(frozen=True)
class Wait:
    """A connection that waits for a lock of another."""

    waiting: int
    blocking: int


# "the-proxy.proxy-abc123.eu-west-1.rds.amazonaws.com", the same for its further endpoints.
_PROXY_ENDPOINT = re.compile(r"\.proxy-[\w-]+\.[\w-]+\.rds\.amazonaws\.com(\.cn)?\.?$")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that was read.

    Attributes:
        variables: The server's global variables.
        session: The variables of a session as every scope gets it.
        status: The server's global counters.
        tls: Protocol and cipher of this connection, as its socket says; None without TLS.
        uncompiled: The packages that this function loads without bytecode; None elsewhere.
    """

    settings: Settings
    asked: Asked = field(default_factory=Asked)
    today: date
    seconds_to_connect: float
    variables: Mapping[str, str]
    session: Mapping[str, str]
    status: Mapping[str, str] | Unreadable
    tls: tuple[str, str] | None
    account: Account | Unreadable
    grants: Sequence[str] | Unreadable
    transactions: Sequence[Transaction] | Unreadable
    waits: Sequence[Wait] | Unreadable
    uncompiled: Sequence[str] | None = None

    def variable(self, name: str) -> str:
        """Return a global variable's value.

        Raises:
            Unreadable: this server has no such variable.
        """
        try:
            return self.variables[name]
        except KeyError:
            raise Unreadable(f"this server has no variable {name}") from None

    def counter(self, name: str) -> int:
        """Return a global counter.

        Raises:
            Unreadable: this server has no such counter.
        """
        try:
            return int(known(self.status)[name])
        except KeyError:
            raise Unreadable(f"this server does not count {name}") from None

    def is_on(self, name: str) -> bool:
        """Return whether a switch is on; False where the server has no such variable."""
        return self.variables.get(name, "OFF").upper() in {"ON", "1"}

    @property
    def version(self) -> str:
        """The version that the server gives, without what distributions append to it."""
        return self.variables["version"].partition("-")[0]

    @property
    def is_mariadb(self) -> bool:
        """Whether it is MariaDB."""
        return "mariadb" in self.variables["version"].lower()

    @property
    def aurora(self) -> str | None:
        """The version of Aurora MySQL; None where it is not Aurora."""
        return self.variables.get("aurora_version")

    @property
    def is_rds(self) -> bool:
        """Whether AWS runs it: its directories are named so, or the address."""
        places = self.variables.get("basedir", "") + self.variables.get("datadir", "")
        return (
            self.aurora is not None
            or "rdsdb" in places
            or ".rds.amazonaws.com" in self.settings.host
        )

    @property
    def has_proxy_endpoint(self) -> bool:
        """Whether the address is that of an RDS Proxy."""
        return _PROXY_ENDPOINT.search(self.settings.host.lower()) is not None

    @property
    def behind_proxy(self) -> bool:
        """Whether an RDS Proxy is in between: the setting says so, or the address."""
        return self.settings.proxy or self.has_proxy_endpoint

    @property
    def server(self) -> str:
        """Product and version, as a person would say it."""
        if self.aurora:
            product = f"Aurora MySQL {self.aurora} ({self.version})"
        elif self.is_mariadb:
            product = f"{'RDS for ' * self.is_rds}MariaDB {self.version}"
        else:
            product = f"{'RDS for ' * self.is_rds}MySQL {self.version}"
        return f"{product} behind RDS Proxy" if self.behind_proxy else product

    def set_to(self, name: str, value: str, *, at_start: bool = False) -> str:
        """Return how to set a variable on this server for good, perhaps only as it starts."""
        if self.is_rds:
            group = "DB cluster parameter group" if self.aurora else "DB parameter group"
            bare = value.strip("'")
            return f"set {name} = {bare} in the {group}" + (", and reboot" if at_start else "")
        if not at_start:
            also = ", and the same in the server's configuration file" if self.is_mariadb else ""
            return f"SET {'GLOBAL' if self.is_mariadb else 'PERSIST'} {name} = {value}{also}"
        if self.is_mariadb:
            return f"set {name} = {value} in the server's configuration file, and restart it"
        return f"SET PERSIST_ONLY {name} = {value}, and restart the server"

    def kill(self, connection: int) -> str:
        """Return the statement that ends another's connection; RDS has a procedure for it."""
        return f"CALL mysql.rds_kill({connection})" if self.is_rds else f"KILL {connection}"
