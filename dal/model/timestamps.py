"""When a row was made and last changed, told by the server's clock."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from dal.model.datetimes import UTCDateTime

_NOW = "CURRENT_TIMESTAMP(6)"


class Timestamps:
    """Mixin: `created_at` and `updated_at`, set by the server whoever writes.

    The clocks of functions differ; the server's is one. Its session time zone is UTC in all that
    `dal` opens; another client that inserts from another time zone stores that zone's time. Both
    are the time at which the statement began, and `updated_at` stays where an UPDATE changes
    nothing (manual, "Automatic Initialization and Updating for TIMESTAMP and DATETIME"). After a
    write the entity's values are loaded when they are touched, by one SELECT for both.
    """

    created_at: Mapped[dt.datetime] = mapped_column(
        UTCDateTime, server_default=sa.text(_NOW), sort_order=9000
    )
    updated_at: Mapped[dt.datetime] = mapped_column(
        UTCDateTime,
        server_default=sa.text(f"{_NOW} ON UPDATE {_NOW}"),
        server_onupdate=sa.FetchedValue(),
        sort_order=9001,
    )
