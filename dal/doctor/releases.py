"""Until when each release is supported: a table of November 2026, with its sources.

MySQL: Oracle's "Lifetime Support Policy: Technology" (8.4 and 9.7 are LTS, eight years each; an
innovation release ends with the next release). RDS: "MySQL on Amazon RDS versions", end of standard
support. Aurora: "Release calendar for Aurora MySQL major versions", end of standard support.
MariaDB: the foundation's maintenance policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

#: The day up to which this table is known to be right.
AS_OF = date(2026, 11, 22)

_MYSQL = {
    "5.6": date(2021, 2, 28),
    "5.7": date(2023, 10, 31),
    "8.0": date(2026, 4, 30),
    "8.1": date(2024, 4, 30),
    "8.2": date(2024, 4, 30),
    "8.3": date(2024, 4, 30),
    "8.4": date(2032, 4, 30),
    **{f"9.{minor}": date(2026, 4, 21) for minor in range(7)},
    "9.7": date(2034, 4, 21),
}
_RDS = {
    "5.7": date(2024, 2, 29),
    "8.0": date(2026, 7, 31),
    "8.4": date(2029, 7, 31),
}
_AURORA = {
    "1": date(2023, 2, 28),
    "2": date(2024, 10, 31),
    "3": date(2028, 4, 30),
}
_MARIADB = {
    "10.5": date(2025, 6, 24),
    "10.6": date(2026, 7, 6),
    "10.11": date(2028, 2, 16),
    "11.4": date(2029, 5, 29),
    "11.8": date(2028, 6, 4),
    "12.3": date(2029, 6, 30),
}


@dataclass(frozen=True)
class Release:
    """A release and its last supported day; None where the table does not know it."""

    name: str
    ends: date | None
    #: What that day ends.
    support: str = "support"


def mysql(version: str) -> Release:
    """Return the release that a community version belongs to."""
    series = _series(version)
    return Release(f"MySQL {series}", _MYSQL.get(series))


def rds(version: str) -> Release:
    """Return the release of RDS for MySQL; what has left the standard support costs extra."""
    series = _series(version)
    return Release(f"RDS for MySQL {series}", _RDS.get(series), "RDS standard support")


def aurora(version: str) -> Release:
    """Return the major release of an Aurora MySQL version such as 3.10.1."""
    major = version.partition(".")[0]
    return Release(f"Aurora MySQL {major}", _AURORA.get(major), "Aurora standard support")


def mariadb(version: str) -> Release:
    """Return the release of a MariaDB."""
    series = _series(version)
    return Release(f"MariaDB {series}", _MARIADB.get(series))


def _series(version: str) -> str:
    return ".".join(version.split(".")[:2])
