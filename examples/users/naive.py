"""The old way, as articles show it: one connection, made when the module is imported.

It is fast, and reads yesterday's rows: a SELECT opens a transaction that nobody ends, and under
REPEATABLE READ, the default, all later reads of this process see what that first one saw.
"""

import os
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

connection = pymysql.connect(
    host=os.environ["DB_HOST"],
    port=int(os.environ["DB_PORT"]),
    user=os.environ["DB_USER"],
    password=os.environ["DB_PASSWORD"],
    database=os.environ["DB_NAME"],
    cursorclass=DictCursor,
)


def create_user(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    """Store a user and answer with its id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO users (email, name) VALUES (%s, %s)", (event["email"], event["name"])
        )
    connection.commit()
    return {"id": cursor.lastrowid}


def read_user(event: dict[str, Any], context: object) -> dict[str, Any] | None:  # noqa: ARG001
    """Answer with one user, or None."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, email, name FROM users WHERE id = %s", (event["id"],))
        return cursor.fetchone()  # type: ignore[no-any-return]
