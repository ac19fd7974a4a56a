"""The tables of the outbox in each test's database, and a publisher that remembers."""

import threading
import time

import pytest
import sqlalchemy as sa

from dal import tables
from dal.engine import Settings, create_engine


class Context:
    """Lambda's context: so many seconds are left."""

    aws_request_id = "1"

    def __init__(self, seconds=30.0):
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self._end - time.monotonic()) * 1000)


class Publisher:
    """Takes messages; refuses and fails as it is told."""

    def __init__(self):
        self.calls = []
        self.refuse = lambda message: None
        self.fail = lambda messages: None
        self._lock = threading.Lock()

    def __call__(self, messages):
        error = self.fail(messages)
        if error is not None:
            raise error
        refused = {one.id: why for one in messages if (why := self.refuse(one)) is not None}
        with self._lock:
            self.calls.append([one for one in messages if one.id not in refused])
        return refused

    @property
    def sent(self):
        return [message for call in self.calls for message in call]

    @property
    def payloads(self):
        return [message.payload for message in self.sent]


@pytest.fixture
def context():
    return Context


@pytest.fixture
def publisher():
    return Publisher()


@pytest.fixture
def db(db, environment):
    metadata = sa.MetaData()
    tables(metadata)
    metadata.create_all(create_engine(Settings.from_env(environment).for_migrations()))
    return db


@pytest.fixture
def rows(admin):
    """What is in the outbox, as another connection sees it."""

    def read(columns="payload"):
        with admin.cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM dal_outbox ORDER BY id")
            found = cursor.fetchall()
        return [row[0] for row in found] if "," not in columns else list(found)

    return read
