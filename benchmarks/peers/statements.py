"""The SQL of the functions that are written by hand, on whatever connection they are given."""

READ_ONE = "SELECT id, owner, balance FROM account WHERE id = %s"
READ_100 = "SELECT id, owner, balance FROM account ORDER BY id LIMIT 100"
LOCK_ONE = "SELECT balance FROM account WHERE id = %s FOR UPDATE"
SET_BALANCE = "UPDATE account SET balance = %s WHERE id = %s"
INSERT_TRANSFER = "INSERT INTO transfer (source, target, amount) VALUES (%s, %s, %s)"

INSERT_ENTRY = "INSERT INTO entry (id, owner, balance) VALUES (%(id)s, %(owner)s, %(balance)s)"
# VALUES() and not MySQL 8's row alias: PyMySQL sends one statement a row for the alias.
UPSERT_ENTRY = (
    INSERT_ENTRY + " ON DUPLICATE KEY UPDATE owner = VALUES(owner), balance = VALUES(balance)"
)
UPDATE_ENTRY = "UPDATE entry SET balance = %(balance)s WHERE id = %(id)s"
PURGE_ENTRIES = "DELETE FROM entry WHERE balance >= %s LIMIT 1000"

STREAM = "SELECT id, owner, balance FROM line WHERE id <= %s"
PAGE = "SELECT id, owner, balance FROM line WHERE id > %s ORDER BY id LIMIT %s"


def read_one(cursor, event):
    cursor.execute(READ_ONE, (event["id"],))
    return cursor.fetchone()


def read_100(cursor):
    cursor.execute(READ_100)
    return list(cursor.fetchall())


def insert_one(cursor, event):
    cursor.execute(INSERT_TRANSFER, (event["source"], event["target"], event["amount"]))
    return cursor.lastrowid


def read_modify_write(cursor, event):
    cursor.execute(LOCK_ONE, (event["source"],))
    balance = cursor.fetchone()["balance"] + event["amount"]
    cursor.execute(SET_BALANCE, (balance, event["source"]))
    return balance


def five_statements(cursor, event):
    cursor.execute(READ_ONE, (event["source"],))
    source = cursor.fetchone()
    cursor.execute(READ_ONE, (event["target"],))
    target = cursor.fetchone()
    cursor.execute(SET_BALANCE, (source["balance"] - event["amount"], source["id"]))
    cursor.execute(SET_BALANCE, (target["balance"] + event["amount"], target["id"]))
    insert_one(cursor, event)


def purge(cursor, connection, event):
    deleted = 0
    while cursor.execute(PURGE_ENTRIES, (event["from"],)):
        deleted += cursor.rowcount
        connection.commit()
    return deleted
