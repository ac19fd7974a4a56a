"""Decimals that are stored as they are, or not at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from dal.model.refusal import RefusedValue


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
            raise RefusedValue(f"an exact number is a Decimal or an int, not {value!r}")
        number = Decimal(value)
        if not number.is_finite():
            raise RefusedValue(f"{value} is no number that MySQL knows")
        # Not quantize() nor normalize(): they round to the context's 28 digits.
        digits, exponent = number.as_tuple()[1:]
        while exponent < -self.scale and digits and digits[-1] == 0:  # type: ignore[operator]
            digits, exponent = digits[:-1], exponent + 1  # type: ignore[operator]
        if digits and any(digits) and exponent < -self.scale:  # type: ignore[operator]
            raise RefusedValue(f"{value} has more than {self.scale} digits behind the point")
        return number
