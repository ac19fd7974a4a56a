"""By hand with all spared that can be: one `SSLContext`, and autocommit for single statements.

Elsewhere one SET has both autocommit and the isolation level. No wait has a limit.
"""

import ssl
from contextlib import closing

import address
import pymysql
import statements
from pymysql.cursors import DictCursor

CONTEXT = ssl.create_default_context(cafile=address.CA) if address.CA else None


def connect(**options):
    return closing(
        pymysql.connect(
            host=address.HOST,
            port=address.PORT,
            user=address.USER,
            password=address.PASSWORD,
            database=address.NAME,
            cursorclass=DictCursor,
            ssl=CONTEXT,
            ssl_disabled=CONTEXT is None,
            **options,
        )
    )


def alone():
    return connect(autocommit=True)


def transaction():
    return connect(
        autocommit=None,
        init_command="SET autocommit = 0, transaction_isolation = 'READ-COMMITTED'",
    )


def read_one(event, context):
    with alone() as connection, connection.cursor() as cursor:
        return statements.read_one(cursor, event)


def read_100(event, context):
    with alone() as connection, connection.cursor() as cursor:
        return {"rows": statements.read_100(cursor)}


def insert_one(event, context):
    with alone() as connection, connection.cursor() as cursor:
        return {"id": statements.insert_one(cursor, event)}


def read_modify_write(event, context):
    with transaction() as connection, connection.cursor() as cursor:
        balance = statements.read_modify_write(cursor, event)
        connection.commit()
        return {"balance": balance}


def five_statements(event, context):
    with transaction() as connection, connection.cursor() as cursor:
        statements.five_statements(cursor, event)
        connection.commit()
        return {}


def page(event, context):
    with alone() as connection, connection.cursor() as cursor:
        cursor.execute(statements.PAGE, (event["after"], event["limit"]))
        return {"rows": list(cursor.fetchall())}
