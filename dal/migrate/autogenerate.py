"""What `run()` adds to Alembic's comparison of models and tables: one place for all of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData

from dal.migrate.names import journal_name


def keywords(metadata: MetaData | list[MetaData], given: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords for `context.configure()`: the user's, with those of dal around them."""
    return {
        "compare_server_default": True,
        **given,
        "target_metadata": metadata,
        "include_name": _include_name(given),
    }


def _include_name(given: dict[str, Any]) -> Any:
    journal = journal_name(given)
    asked = given.get("include_name")

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "table" and name == journal:
            return False
        return True if asked is None else bool(asked(name, kind, parents))

    return include_name
