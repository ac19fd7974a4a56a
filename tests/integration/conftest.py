"""A real server for every test here, and a database of its own for each that asks for one."""

import secrets

import pytest

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
    """The variables with which `Database.from_env()` reaches the test's database."""
    return server.environment(database)
