"""A lane: one deployed function, its own account and database, and the line between, to break."""

import contextlib
import os
import secrets
import tempfile
import threading
import time
from pathlib import Path

import pymysql
from sqlalchemy import URL

from dal.testing.proxy import Proxy
from dal.testing.runtime import Function

#: Whether everything is to be tried, or an everyday's choice of it.
ALL = os.environ.get("DAL_TEST_FAULTS") == "all"
FUNCTIONS = Path(__file__).parent / "functions"
DEED = "CREATE TABLE deed (token CHAR(8), step INT, times INT, PRIMARY KEY (token, step))"
#: Seconds that a session may outlive the answer of its function, where nobody told the server.
SETTLED = 5.0


def query(connection, sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall()


def eventually(condition, seconds):
    """Whether the condition comes true within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Lane:
    """A function behind a proxy. Use it as a context manager; not from two threads at once."""

    def __init__(self, server, handler="deeds.handler", *, beside=None):
        """Make an account and a database; or share those of the lane `beside`."""
        self.server = server
        self._shares = beside is not None
        self.name = beside.name if beside else f"dal_{secrets.token_hex(6)}"
        self.password = beside.password if beside else secrets.token_hex(8)
        if not self._shares:
            self._make_account()
        self._occupants = set()
        self._directory = tempfile.TemporaryDirectory()
        self.vault = Path(self._directory.name) / "password"
        self.vault.write_text(self.password)
        self.proxy = Proxy(server.host, server.port)
        url = URL.create(
            "mysql", self.name, self.password, self.proxy.host, self.proxy.port, self.name
        )
        self.function = Function(
            handler,
            environment={
                "DATABASE_URL": url.render_as_string(hide_password=False),
                "DAL_POOL": os.environ.get("DAL_TEST_POOL", "none"),
                "VAULT": str(self.vault),
            },
            path=[FUNCTIONS],
        )

    def _make_account(self):
        with self.server.connect() as root:
            query(root, f"CREATE DATABASE {self.name}")
            query(root, f"CREATE USER {self.name}@'%%' IDENTIFIED BY %s", self.password)
            query(root, f"GRANT ALL ON {self.name}.* TO {self.name}@'%'")
        with self.admin() as admin:
            query(admin, DEED)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.function.close()
        self.proxy.close()
        self._directory.cleanup()
        if self._shares:
            return
        with contextlib.suppress(pymysql.Error), self.server.connect() as root:
            for session in self.sessions(root):
                with contextlib.suppress(pymysql.Error):
                    query(root, f"KILL {session}")
            query(root, f"DROP DATABASE {self.name}")
            query(root, f"DROP USER {self.name}@'%'")

    def admin(self, **kwargs):
        return self.server.connect(self.name, **kwargs)

    def log_in_once(self):
        """Fill the server's login cache: a first login takes a round trip more."""
        self.occupy().close()

    def occupy(self):
        """Return a connection of the function's account, which is not counted as the function's."""
        connection = self.server.connect(self.name, user=self.name, password=self.password)
        self._occupants.add(connection.thread_id())
        return connection

    def sessions(self, connection):
        sql = "SELECT id FROM information_schema.processlist WHERE user = %s"
        numbers = {number for (number,) in query(connection, sql, self.name)}
        return numbers - self._occupants

    def kill_sessions(self, what="CONNECTION", *, limit=None):
        """KILL the sessions of the function's account, the newest first, and so many at most."""
        with self.server.connect() as root:
            for number in sorted(self.sessions(root), reverse=True)[:limit]:
                with contextlib.suppress(pymysql.Error):
                    query(root, f"KILL {what} {number}")

    def no_sessions_within(self, seconds):
        roots = []

        def none():
            # Of a full server, the one place that is left may be in use for a moment.
            with contextlib.suppress(pymysql.OperationalError):
                roots[:] = roots or [stack.enter_context(self.server.connect())]
            return bool(roots) and not self.sessions(roots[0])

        with contextlib.ExitStack() as stack:
            return eventually(none, seconds)

    def break_now(self, action):
        """Cut or reset every connection that is open, this moment."""
        self.proxy._call(lambda: [getattr(link, action)() for link in self.proxy._links])

    def no_transactions_within(self, seconds):
        """Whether nothing of the function's is in a transaction any more; its sessions may be."""
        sql = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx"
        with self.server.connect() as root:
            return eventually(
                lambda: not {number for (number,) in query(root, sql)} & self.sessions(root),
                seconds,
            )

    def stall_now(self):
        """Let nothing pass any more on the connections that are open, not even their end."""

        def stall():
            for link in self.proxy._links:
                if not link.closed:
                    link._stalled = True
                    link._watch()

        self.proxy._call(stall)

    def let_go(self):
        """End stalls and drips; what is armed stays armed, what was swallowed is lost."""
        self.proxy._call(lambda: [link.release() for link in self.proxy._links])

    @contextlib.contextmanager
    def on_strike(self, fault, act):
        """Inside the block, wait in a thread until `fault` strikes, and `act` then."""
        failed = []

        def work():
            try:
                if not fault.wait(15):
                    raise AssertionError(f"never came: {fault.moment!r}")
                act()
            except BaseException as error:  # noqa: BLE001  # for the thread that joins
                failed.append(error)
            finally:
                self.let_go()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            thread.join()
        if failed:
            raise failed[0]
