"""One line of a log that programs read."""

from __future__ import annotations

import json
from typing import Any

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Line(dict[str, Any]):
    """The fields of the line, in their order; given to a logger in place of a message.

    A formatter that writes JSON takes them as they are (Lambda's own, Powertools'). Any other
    takes the text: JSON as well, which CloudWatch Logs Insights finds within what is around it.
    """

    def __str__(self) -> str:
        return _encode(self)


def milliseconds(seconds: float) -> float:
    """Return milliseconds, to a hundredth."""
    return round(seconds * 1000, 2)
