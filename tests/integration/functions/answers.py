"""The same answers with `dal` and without."""

import datetime
import decimal
from collections import namedtuple

from sqlalchemy import text

from dal import Database

db = Database.from_env()
Point = namedtuple("Point", "x y")

ANSWERS = {
    "nothing": None,
    "text": "Grüße, 世界 \u2028 </script>",
    "number": 12345678901234567890,
    "float": 0.1,
    "decimal": decimal.Decimal("12.50"),
    "true": True,
    "list": [1, [2, [3]], {}],
    "tuple": (1, 2),
    "namedtuple": Point(1, decimal.Decimal(2)),
    "dictionary": {"é": None, "b": "\x00", "1": 1.0},
    "keys that are no text": {1: "a", None: "b", False: "c"},
    "http": {"statusCode": 200, "headers": {"X": "1"}, "body": '{"id": 1}'},
    "bytes": b"\x00plain",
    "empty bytes": b"",
    "date": datetime.date(2026, 1, 1),
    "set": {1},
    "not a number": float("nan"),
    "bytes inside": {"a": b"x"},
}


def plain(event, context):
    return list(ANSWERS) if event == "names" else ANSWERS[event]


@db.handler
def on_dal(event, context):
    db.session.execute(text("INSERT INTO ledger (token) VALUES (:token)"), {"token": event})
    return ANSWERS[event]
