"""The table of keys in each test's database, and what Lambda gives beside an event."""

import time
import uuid

import pytest
import sqlalchemy as sa

from dal import tables
from dal.engine import Settings, create_engine


class Context:
    """Lambda's context: so many seconds are left."""

    def __init__(self, seconds=30.0, request_id=None):
        self._end = time.monotonic() + seconds
        self.aws_request_id = request_id or str(uuid.uuid4())

    def get_remaining_time_in_millis(self):
        return int((self._end - time.monotonic()) * 1000)


@pytest.fixture
def context():
    return Context


@pytest.fixture
def db(db, environment):
    metadata = sa.MetaData()
    tables(metadata)
    engine = create_engine(Settings.from_env(environment).for_migrations())
    metadata.create_all(engine)
    return db


@pytest.fixture
def owners(admin):
    """The owners of all accounts, as another connection sees them."""

    def read():
        with admin.cursor() as cursor:
            cursor.execute("SELECT owner FROM account ORDER BY owner")
            return [owner for (owner,) in cursor.fetchall()]

    return read


@pytest.fixture
def keys(admin):
    """The keys that are stored, as another connection sees them."""

    def read():
        with admin.cursor() as cursor:
            cursor.execute("SELECT idempotency_key FROM dal_idempotency ORDER BY 1")
            return [key.decode() for (key,) in cursor.fetchall()]

    return read
