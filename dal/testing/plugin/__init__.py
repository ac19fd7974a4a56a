"""The pytest plugin `dal`: a server of its own, and tests of migrations on it.

Loaded by every pytest run where `lambda-dal` is installed, so nothing but pytest is imported until
a fixture is asked for.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dal.testing.plugin.migrations import Migrations
    from dal.testing.server import Server


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one setting."""
    parser.addini("dal_alembic", "Alembic's configuration, from the root on", default="alembic.ini")


@pytest.fixture(scope="session")
def dal_server() -> Iterator[Server]:
    """Give a MySQL server: of DAL_TEST_URL, else a container, else one of this machine."""
    from dal.testing.server import NoServer, start_server  # noqa: PLC0415  # when it is asked for

    try:
        server = start_server()
    except NoServer as reason:
        # Failed, not skipped: a run that tested nothing must not look green.
        pytest.fail(str(reason), pytrace=False)
    with server:
        yield server


@pytest.fixture
def dal_database(dal_server: Server) -> Iterator[str]:
    """Give the name of an empty database that is this test's alone."""
    name = f"dal_{secrets.token_hex(6)}"
    dal_server.create_database(name)
    yield name
    dal_server.drop_database(name)


@pytest.fixture
def dal_migrations(dal_server: Server, pytestconfig: pytest.Config) -> Iterator[Migrations]:
    """Give the checks of this project's migrations, each on databases of its own."""
    from dal.testing.plugin.migrations import Migrations  # noqa: PLC0415  # when it is asked for

    path = Path(pytestconfig.rootpath) / str(pytestconfig.getini("dal_alembic"))
    with Migrations(path, dal_server) as migrations:
        yield migrations
