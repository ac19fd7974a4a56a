"""What a warm unit of work costs the processor, counted and never timed.

Seconds depend on the machine and on what else it does; how often Python calls a function, and how
often SQLAlchemy makes SQL of a statement, do not.
"""

import gc
import sys
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from accounts import Account, Accounts
from sqlalchemy.sql import compiler

from dal import everything


@contextmanager
def calls_counted():
    """Count calls of Python's functions, those in C left out."""
    counted = [0]

    def count(_frame, event, _argument):
        counted[0] += event == "call"

    gc.disable()  # else finalizers of earlier tests count
    sys.setprofile(count)
    try:
        yield counted
    finally:
        sys.setprofile(None)
        gc.enable()


@pytest.fixture
def accounts(db):
    accounts = Accounts(db)
    with db.scope():
        accounts.insert_many({"id": key, "owner": f"owner {key}"} for key in range(1, 101))
    return accounts


def test_a_warm_read_makes_a_thousand_calls_at_the_most(db, accounts):
    read = db.handler(read_only=True)(lambda event, context: accounts.get_one(event).owner)
    for key in (1, 2):
        read(key, None)
    with calls_counted() as counted:
        assert read(3, None) == "owner 3"
    assert counted[0] <= 1000


def test_a_read_of_a_hundred_rows_makes_thirty_calls_more_for_each(db, accounts):
    def read(limit):
        with db.scope(read_only=True):
            return len(accounts.find(order_by=Account.id, limit=limit))

    counts = []
    for limit in (1, 100):
        read(limit)
        with calls_counted() as counted:
            assert read(limit) == limit
        counts += counted
    assert counts[1] - counts[0] <= 30 * 99


def test_a_row_inserted_by_insert_many_makes_twenty_calls_at_the_most(db, accounts):
    def insert(first, count):
        rows = [
            {"id": key, "owner": f"owner {key}", "balance": key}
            for key in range(first, first + count)
        ]
        with db.scope(), calls_counted() as counted:
            accounts.insert_many(rows)
        return counted[0]

    insert(1_000, 1)
    assert insert(10_000, 1_000) - insert(2_000, 1) <= 20 * 999


@pytest.mark.parametrize(
    "verb",
    [
        lambda accounts: accounts.get(1),
        lambda accounts: accounts.get_one(1, lock="update"),
        lambda accounts: accounts.one(Account.owner == "owner 1"),
        lambda accounts: accounts.find(order_by=Account.id, limit=10),
        lambda accounts: accounts.rows(Account.id, where=everything()),
        lambda accounts: accounts.page(order_by=Account.owner, limit=10),
        lambda accounts: accounts.exists(Account.id == 1),
        lambda accounts: accounts.update(1, {"balance": 3}),
        lambda accounts: accounts.upsert([{"owner": "owner 1"}], key=Account.owner),
    ],
    ids=["get", "lock", "one", "find", "rows", "page", "exists", "update", "upsert"],
)
def test_a_statement_is_compiled_once_for_all_invocations(db, accounts, verb, monkeypatch):
    compiled = []
    original = compiler.SQLCompiler.__init__

    def counted(self, dialect, statement, *args, **options):
        if isinstance(statement, sa.Executable):
            compiled.append(str(type(statement).__name__))
        original(self, dialect, statement, *args, **options)

    monkeypatch.setattr(compiler.SQLCompiler, "__init__", counted)
    for _ in range(3):
        with db.scope():
            verb(accounts)
        compiled_so_far, compiled[:] = list(compiled), []
    assert compiled_so_far == []
