"""What a revision read, kept and shown to it again, so that its Python code decides the same.

A revision that goes on after a failure runs its code from the beginning. Without this an
`if column not in columns:` sees what the first run has added, and goes another way.
"""

from __future__ import annotations

import base64
import datetime
import json
from decimal import Decimal
from typing import Any

from pymysql.cursors import Cursor, SSCursor

#: Characters of the longest result that is kept; a longer one is read anew.
LONGEST = 1_000_000


def kept(cursor: Any) -> str | None:
    """Return the rows that this cursor has read, as JSON; None where they cannot be kept."""
    if isinstance(cursor, SSCursor) or cursor.description is None:
        return None
    try:
        text = json.dumps(
            [cursor.rowcount, cursor.description, [list(row) for row in cursor._rows]],  # noqa: SLF001
            default=_encode,
            separators=(",", ":"),
            allow_nan=False,
        )
    except (TypeError, ValueError):
        return None
    return text if len(text) <= LONGEST else None


def show_again(cursor: Any, text: str) -> None:
    """Put the kept rows into the cursor, as if it had read them now."""
    count, description, rows = json.loads(text, object_hook=_decode)
    found = tuple(map(tuple, rows))
    answer(cursor, count, None)
    cursor.description = tuple(map(tuple, description))
    cursor._rows = found  # noqa: SLF001  # as PyMySQL's own _do_get_result


def answer(cursor: Cursor, count: int, last_id: int | None) -> None:
    """Let the cursor look as after a statement that affected `count` rows."""
    cursor._clear_result()  # noqa: SLF001
    cursor._result = None  # noqa: SLF001
    cursor._executed = b"-- done by an earlier run"  # noqa: SLF001
    cursor.rowcount, cursor.lastrowid, cursor.rownumber = count, last_id, 0


def _encode(value: object) -> dict[str, Any]:
    match value:
        case bytes() | bytearray():
            return {"bytes": base64.b64encode(value).decode()}
        case Decimal():
            return {"decimal": str(value)}
        case datetime.datetime():
            return {"datetime": value.isoformat()}
        case datetime.date():
            return {"date": value.isoformat()}
        case datetime.timedelta():
            return {"timedelta": [value.days, value.seconds, value.microseconds]}
        case _:
            raise TypeError(type(value).__name__)


def _decode(found: dict[str, Any]) -> Any:
    ((kind, value),) = found.items()
    match kind:
        case "bytes":
            return base64.b64decode(value)
        case "decimal":
            return Decimal(value)
        case "datetime":
            return datetime.datetime.fromisoformat(value)
        case "date":
            return datetime.date.fromisoformat(value)
        case _:
            return datetime.timedelta(*value)
