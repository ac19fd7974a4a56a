"""A MySQL server that can be killed, shut down and started again with its data: a container."""

import contextlib
import os
import secrets
import time

import docker
import pymysql

from dal.testing._container import DEFAULT_IMAGE
from dal.testing._keeper import Keeper
from dal.testing._private import _free_port
from dal.testing._rung import MYSQL_OPTIONS, connect

# The ladder's servers may lose what they acknowledged a moment before they were killed.
DURABLE = ("--innodb-flush-log-at-trx-commit=2",)
# Such a server undoes the whole transaction where a wait for a row ends, not only the statement.
WHOLE = ("--innodb-rollback-on-timeout=ON",)
PATIENCE = 60.0


class CannotRestart(Exception):
    """There is no server here that could be restarted; the text says why."""


class Restartable:
    """A container of MySQL on a port that stays its own."""

    def __init__(self):
        image = os.environ.get("DAL_TEST_IMAGE", DEFAULT_IMAGE)
        self.host, self.port = "127.0.0.1", _free_port()
        self.user, self.password = "root", secrets.token_hex(16)
        name = f"dal-{secrets.token_hex(6)}"
        self._keeper = None
        self._client = None
        try:
            self._client = docker.from_env(timeout=30)
            self._client.images.get(image)
            self._keeper = Keeper("container", name)
            self._container = self._client.containers.run(
                image,
                [*MYSQL_OPTIONS, *DURABLE, *WHOLE],
                name=name,
                environment={"MYSQL_ROOT_PASSWORD": self.password},
                ports={"3306/tcp": (self.host, self.port)},
                detach=True,
            )
            self.wait_until_up()
        except (docker.errors.DockerException, OSError, pymysql.Error) as error:
            self.stop()
            raise CannotRestart(
                f"no container of {image} that could be restarted: {error}"
            ) from error

    def connect(self, database=None, *, user=None, password=None, **kwargs):
        login = (self.user, self.password) if user is None else (user, password)
        return connect((self.host, self.port), login, tls=True, database=database, **kwargs)

    @property
    def version(self):
        with self.connect() as connection:
            return connection.get_server_info()

    def wait_until_up(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.connect(connect_timeout=5, read_timeout=5).close()
            except pymysql.Error:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def kill(self):
        """SIGKILL the server."""
        self._container.kill()

    def shut_down(self):
        """SIGTERM, on which the server ends its sessions and shuts down."""
        self._container.stop(timeout=30)

    def start(self):
        self._container.start()
        self.wait_until_up()

    def stop(self):
        if self._keeper is not None:
            self._keeper.end()
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.close()
