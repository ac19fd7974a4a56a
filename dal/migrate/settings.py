"""How long a migration waits, and what it may do to a big table."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from dal.errors import ConfigurationError

_PREFIX = "DAL_MIGRATE_"


@dataclass(frozen=True, kw_only=True)
class MigrationSettings:
    """Keywords of `run()`, or the variables `DAL_MIGRATE_<NAME>`; keywords stand above variables.

    Attributes:
        wait: Seconds to wait for another deployer's migration to end.
        lock_wait: Whole seconds that a statement waits for a table's lock in one try. Everybody
            else who wants that table waits behind it meanwhile.
        patience: Seconds for all tries of one statement together.
        big_table: Bytes of data and indexes from which on a table is big: what copies it or blocks
            its writes is refused without `allow()`.
    """

    wait: float = 900.0
    lock_wait: int = 1
    patience: float = 60.0
    big_table: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            object.__setattr__(self, name, _number(name, value))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **keywords: Any) -> Self:
        """Read the variables that are set; None among the keywords means: as the variable says.

        Raises:
            ConfigurationError: a variable or keyword is wrong or unknown.
        """
        names = {item.name for item in dataclasses.fields(cls)}
        found: dict[str, Any] = {}
        for variable, value in (os.environ if environ is None else environ).items():
            if variable.startswith(_PREFIX):
                name = variable.removeprefix(_PREFIX).lower()
                if name not in names:
                    known = ", ".join(_PREFIX + name.upper() for name in sorted(names))
                    raise ConfigurationError(f"{variable} is no setting of dal; there are {known}")
                found[name] = value
        return cls(**found | {name: it for name, it in keywords.items() if it is not None})


def _number(name: str, value: object) -> float:
    kind = MigrationSettings.__annotations__[name]
    try:
        number = (int if kind == "int" else float)(cast("Any", value))
        fits = not isinstance(value, bool) and 0 <= number < 1e15
        fits = fits and (isinstance(value, str) or number == value)
        fits = fits and (name != "lock_wait" or number >= 1)
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        noun = "a whole number" if kind == "int" else "a number"
        least = 1 if name == "lock_wait" else 0
        raise ConfigurationError(
            f"{name} is not {noun} from {least} up; its variable is {_PREFIX}{name.upper()}"
        )
    return float(number) if kind == "float" else number
