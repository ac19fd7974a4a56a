"""Decimals that are stored as they are, or not at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from dal.errors import InvalidArgument
from dal.model.checks import digits_behind


class ExactNumeric(sa.TypeDecorator[Decimal]):
    """`NUMERIC(precision, scale)` that refuses what it would have to round.

    MySQL rounds digits behind the scale away, with a note that nobody reads, in strict mode, too
    (manual, "Precision Math"); and a float is rarely the number that was meant.

    Raises (at the statement):
        InvalidArgument: a float, NaN or an infinity, or more digits behind the point than `scale`.
    """

    impl = sa.Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale)
        self.precision, self.scale = precision, scale  # SQLAlchemy's cache goes by these names

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return the number as it is."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, Decimal | int):
            raise InvalidArgument(
                f"an exact number is a Decimal or an int, not {type(value).__name__}"
            )
        number = Decimal(value)
        if not number.is_finite():
            raise InvalidArgument("an exact number is neither NaN nor an infinity")
        if digits_behind(number) > self.scale:
            raise InvalidArgument(
                f"an exact number has at most {self.scale} digits behind the point here"
            )
        return number
