"""The article's cure by hand: connect in the handler, READ COMMITTED, commit, close."""

from contextlib import closing

import address
import pymysql
import statements
from pymysql.cursors import DictCursor, SSCursor

# PyMySQL's own verified TLS, which builds a context for each connection.
TLS = {"ssl": {"ca": address.CA}} if address.CA else {"ssl_disabled": True}


def connect():
    return closing(
        pymysql.connect(
            host=address.HOST,
            port=address.PORT,
            user=address.USER,
            password=address.PASSWORD,
            database=address.NAME,
            cursorclass=DictCursor,
            init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            **TLS,
        )
    )


def read_one(event, context):
    with connect() as connection:
        with connection.cursor() as cursor:
            row = statements.read_one(cursor, event)
        connection.commit()
    return row


def read_100(event, context):
    with connect() as connection:
        with connection.cursor() as cursor:
            rows = statements.read_100(cursor)
        connection.commit()
    return {"rows": rows}


def insert_one(event, context):
    with connect() as connection:
        with connection.cursor() as cursor:
            key = statements.insert_one(cursor, event)
        connection.commit()
    return {"id": key}


def read_modify_write(event, context):
    with connect() as connection:
        with connection.cursor() as cursor:
            balance = statements.read_modify_write(cursor, event)
        connection.commit()
    return {"balance": balance}


def five_statements(event, context):
    with connect() as connection:
        with connection.cursor() as cursor:
            statements.five_statements(cursor, event)
        connection.commit()
    return {}


def bulk_insert(event, context):
    with connect() as connection:
        with connection.cursor() as cursor:
            count = cursor.executemany(statements.INSERT_ENTRY, event["rows"])
        connection.commit()
    return {"count": count}


def bulk_upsert(event, context):
    with connect() as connection:
        with connection.cursor() as cursor:
            cursor.executemany(statements.UPSERT_ENTRY, event["rows"])
        connection.commit()
    return {}


def bulk_update(event, context):
    with connect() as connection:
        with connection.cursor() as cursor:
            cursor.executemany(statements.UPDATE_ENTRY, event["rows"])
        connection.commit()
    return {}


def bulk_purge(event, context):
    with connect() as connection, connection.cursor() as cursor:
        return {"count": statements.purge(cursor, connection, event)}


def stream(event, context):
    total = 0
    with connect() as connection, connection.cursor(SSCursor) as cursor:
        cursor.execute(statements.STREAM, (event["rows"],))
        for _, _, balance in cursor:
            total += balance
    return {"total": total}


def page(event, context):
    with connect() as connection:
        with connection.cursor() as cursor:
            cursor.execute(statements.PAGE, (event["after"], event["limit"]))
            rows = list(cursor.fetchall())
        connection.commit()
    return {"rows": rows}
