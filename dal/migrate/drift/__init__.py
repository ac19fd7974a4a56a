"""What differs between models and database, as the server itself sees it."""

from dal.migrate.drift.comparing import compare
from dal.migrate.drift.own import OwnTables
from dal.migrate.drift.quiet import without_answered_warnings

__all__ = ["OwnTables", "compare", "without_answered_warnings"]
