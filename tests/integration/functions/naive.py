"""The old way: a connection of the module, which outlives the invocation with its transaction."""

import os

import pymysql
from sqlalchemy import make_url

url = make_url(os.environ["DATABASE_URL"])
connection = pymysql.connect(
    host=url.host,
    port=url.port,
    user=url.username,
    password=url.password,
    database=url.database,
)


def read(event, context):
    with connection.cursor() as cursor:
        cursor.execute("SELECT value FROM counter WHERE id = 1")
        return cursor.fetchone()[0]
