"""A real server for every test here, and a database of its own for each that asks for one."""

import contextlib
import os
import secrets
import signal
import time

import pytest
from accounts import Base

from dal import Database
from dal.engine import Settings, create_engine
from dal.testing.server import NoServer, start_server


@pytest.fixture(scope="session")
def tell(request):
    """Write a line to the terminal, past the capture of output."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")

    def write(line):
        if reporter is None:  # in a worker of pytest-xdist
            return
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"server: {line}")

    return write


@pytest.fixture(scope="session")
def server(tell):
    """The session's server; which one, and why, is told once."""
    try:
        started = start_server(say=tell)
    except NoServer as reason:
        # Failed, not skipped: a run that tested nothing must not look green.
        pytest.fail(str(reason), pytrace=False)
    with started:
        yield started


@pytest.fixture(autouse=True)
def _a_stand_in_will_do(request):
    marker = request.node.get_closest_marker("mysql")
    if marker is not None and request.getfixturevalue("server").is_mariadb:
        pytest.skip(f"{marker.args[0]}, and this is MariaDB")


@pytest.fixture
def database(server):
    """The name of an empty database that is this test's alone."""
    name = f"dal_{secrets.token_hex(6)}"
    server.create_database(name)
    yield name
    server.drop_database(name)


@pytest.fixture
def admin(server, database):
    """An administrator's connection to the test's database, in autocommit: the second witness."""
    with server.connect(database) as connection:
        yield connection


@pytest.fixture
def url(server, database):
    return server.url(database)


@pytest.fixture
def environment(server, database):
    """The variables with which `Database.from_env()` reaches the test's database.

    With DAL_TEST_POOL=warm every database of the tests keeps a session.
    """
    pool = {"DAL_POOL": os.environ["DAL_TEST_POOL"]} if "DAL_TEST_POOL" in os.environ else {}
    return {**server.environment(database), **pool}


@pytest.fixture
def db(environment):
    """A `Database` with the tables of accounts.py."""
    engine = create_engine(Settings.from_env(environment).for_migrations())
    Base.metadata.create_all(engine)
    return Database.from_env(environment)


@pytest.fixture
def connections(admin, database):
    """How many connections but the administrator's are on the test's database, 1 s at the most.

    Where databases keep a session, one that sleeps and has no transaction does not count.
    """

    def count():
        deadline = time.monotonic() + 1
        while True:
            with admin.cursor() as cursor:
                cursor.execute(
                    "SELECT command = 'Sleep' AND NOT EXISTS ("
                    " SELECT * FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = id) "
                    "FROM information_schema.processlist "
                    "WHERE db = %s AND id <> CONNECTION_ID()",
                    (database,),
                )
                found = [is_kept for (is_kept,) in cursor.fetchall()]
            if "DAL_TEST_POOL" in os.environ and 1 in found:
                found.remove(1)
            if not found or time.monotonic() > deadline:
                return len(found)
            time.sleep(0.01)

    return count


@pytest.fixture
def interrupt_after():
    """A block that gets KeyboardInterrupt after so many seconds, as from Ctrl-C."""

    @contextlib.contextmanager
    def block(seconds):
        def interrupt(*_):
            raise KeyboardInterrupt

        previous = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)

    return block
