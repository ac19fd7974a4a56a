"""What the rooms between the scope and `Database` need of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from dal.scope.session import Session
from dal.settings import Settings

Result = TypeVar("Result")


class UnitsOfWork(Protocol):
    """What opens scopes: a `dal.Database`."""

    @property
    def settings(self) -> Settings:
        """What this database was made with."""

    @property
    def has_scope(self) -> bool:
        """Whether a scope is open here, which a new one would join."""

    @property
    def session(self) -> Session:
        """The session of the current scope."""

    def scope(
        self, *, read_only: bool = ..., deadline: float | None = ...
    ) -> AbstractContextManager[Session]:
        """Open a scope, or join the one that is open."""

    def run(
        self,
        unit: Callable[[], Result],
        *,
        attempts: int = ...,
        read_only: bool = ...,
        deadline: float | None = ...,
    ) -> Result:
        """Return what `unit` returns, run in a scope, again after a transient error."""

    def rollback_only(self) -> None:
        """Let the current scope end with ROLLBACK."""
