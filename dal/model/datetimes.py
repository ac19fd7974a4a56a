"""Points in time: aware, in UTC, to the microsecond."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from dal.errors import InvalidArgument


class UTCDateTime(sa.TypeDecorator[dt.datetime]):
    """`DATETIME(6)` that takes aware datetimes and returns them in UTC.

    MySQL's DATETIME knows no time zone, and PyMySQL drops that of a datetime without a word:
    12:00+02:00 would be stored as 12:00. DATETIME without (6) would round to seconds. TIMESTAMP
    ends in 2038.

    Raises (at the statement):
        InvalidArgument: the datetime is naive, or beyond the years 1 to 9999 in UTC.
    """

    impl = sa.DATETIME
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Return MySQL's `DATETIME(6)`."""
        from sqlalchemy.dialects import mysql  # noqa: PLC0415  # `import dal` does without

        return dialect.type_descriptor(mysql.DATETIME(fsp=6))

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return the same point in time as a naive datetime in UTC."""
        if value is None:
            return None
        if not isinstance(value, dt.datetime) or value.utcoffset() is None:
            raise InvalidArgument(
                "a point in time is an aware datetime, such as datetime.now(UTC), not "
                + ("a naive one" if isinstance(value, dt.datetime) else type(value).__name__)
            )
        try:
            return value.astimezone(dt.UTC).replace(tzinfo=None)
        except OverflowError:
            raise InvalidArgument(
                "a point in time is not beyond the years 1 to 9999 in UTC"
            ) from None

    def process_result_value(
        self,
        value: dt.datetime | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> dt.datetime | None:
        """Return the stored datetime as an aware one."""
        return None if value is None else value.replace(tzinfo=dt.UTC)
