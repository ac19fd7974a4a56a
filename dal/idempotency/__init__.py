"""Exactly once: a repeated event gets the answer of the first, and nothing runs again."""

from dal.idempotency.idempotency import Idempotency
from dal.idempotency.table import add_table

__all__ = ["Idempotency", "add_table"]
