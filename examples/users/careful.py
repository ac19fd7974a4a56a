"""The cure by hand: every handler connects, reads committed rows, commits and closes."""

import os
from typing import Any

import pymysql
from pymysql.cursors import DictCursor


def connect() -> pymysql.Connection:
    """Return a new connection; closing it is up to the handler."""
    return pymysql.connect(
        host=os.environ["DB_HOST"],
        port=int(os.environ["DB_PORT"]),
        user=os.environ["DB_USER"],
        password=os.environ["DB_PASSWORD"],
        database=os.environ["DB_NAME"],
        cursorclass=DictCursor,
        init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    )


def create_user(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001
    """Store a user and answer with its id."""
    with connect() as connection:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO users (email, name) VALUES (%s, %s)", (event["email"], event["name"])
            )
        connection.commit()
    return {"id": cursor.lastrowid}


def read_user(event: dict[str, Any], context: object) -> dict[str, Any] | None:  # noqa: ARG001
    """Answer with one user, or None."""
    with connect() as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, email, name FROM users WHERE id = %s", (event["id"],))
            user = cursor.fetchone()
        connection.commit()
    return user  # type: ignore[no-any-return]
