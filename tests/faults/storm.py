"""A storm: many functions begin at once, and the server has places for few of them."""

import contextlib
import json
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from lanes import query
from sqlalchemy import URL

CROWD = Path(__file__).parent / "crowd.py"
TICK = 0.02
TABLES = (
    "CREATE TABLE guest (id INT PRIMARY KEY, name VARCHAR(20), visits INT NOT NULL DEFAULT 0)",
    # No unique key: a second visit must show.
    "CREATE TABLE visit (guest INT NOT NULL)",
)


@dataclass(frozen=True)
class Storm:
    """What became of it. Times are seconds since all were let go."""

    clients: int
    max_connections: int
    tls: bool
    work: float
    waits: str
    ended: list[float]
    errors: list[str]
    refused: list[float]
    """When a try to connect had failed, of all clients."""
    connected: list[tuple[float, int]]
    """How many connections the server had, the one that looks not counted."""
    peak: int
    """The most connections that the server had at once, the one that looks among them."""
    aborted: int
    """By how much the server's own `Aborted_connects` grew."""
    visits: list[tuple[int, int]]
    """Of each guest: the rows inserted, and the rows counted in its own."""

    @property
    def most_at_once(self):
        """How many tries failed in the worst tenth of a second."""
        tenths = [int(at * 10) for at in self.refused]
        return max(map(tenths.count, set(tenths)), default=0)


@contextlib.contextmanager
def places(root, count):
    """Let the server have so many places, but for what others hold; `root` has one of them."""
    ((usual,),) = query(root, "SELECT @@max_connections")
    others = _status(root)["Threads_connected"] - 1
    query(root, f"SET GLOBAL max_connections = {count + others}")
    try:
        yield
    finally:
        query(root, f"SET GLOBAL max_connections = {usual}")


def blow(server, *, clients, max_connections, tls, deadline, work=0.05, waits="jitter"):
    """Let `clients` processes visit at once, each in a transaction of `work` seconds and more."""
    name, password = f"dal_{secrets.token_hex(6)}", secrets.token_hex(8)
    server.create_database(name)
    url = URL.create("mysql", name, password, server.host, server.port, name)
    try:
        with server.connect(name) as root:
            # Not the administrator: the place that MySQL keeps for that one is none of theirs.
            query(root, f"CREATE USER {name}@'%%' IDENTIFIED BY %s", password)
            query(root, f"GRANT ALL ON {name}.* TO {name}@'%'")
            for table in TABLES:
                query(root, table)
            guests = ", ".join(f"({number}, 'guest {number}')" for number in range(clients + 1))
            query(root, f"INSERT INTO guest (id, name) VALUES {guests}")
            # Without TLS a login goes by the server's cache, which one with it fills.
            server.connect(name, user=name, password=password).close()
            with _crowd(url, tls, clients, deadline, work, waits) as crowd:
                query(root, "DELETE FROM visit")  # of the one that warmed it up
                query(root, "UPDATE guest SET visits = 0")
                with places(root, max_connections):
                    told, connected, peak, aborted = _watched(root, crowd)
            visits = query(
                root,
                "SELECT (SELECT COUNT(*) FROM visit WHERE guest = id), visits FROM guest "
                "WHERE id > 0",
            )
    finally:
        server.drop_database(name)
        with server.connect() as root:
            query(root, f"DROP USER {name}@'%'")
    return Storm(
        clients=clients,
        max_connections=max_connections,
        tls=tls,
        work=work,
        waits=waits,
        ended=sorted(one["ended"] for one in told),
        errors=[one["error"] for one in told if one["error"]],
        refused=sorted(at for one in told for at in one["failed_at"]),
        connected=connected,
        peak=peak,
        aborted=aborted,
        visits=list(visits),
    )


@contextlib.contextmanager
def _crowd(url, tls, *arguments):
    command = [sys.executable, str(CROWD), *map(str, arguments)]
    environment = {
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "DAL_TLS": "unverified" if tls else "disabled",
        "PYTHONPATH": str(CROWD.parents[2]),
    }
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as crowd:
        try:
            assert crowd.stdout.readline() == "ready\n"
            yield crowd
        finally:
            crowd.kill()


def _watched(root, crowd):
    """Let the crowd go; return what it told, and what the server said meanwhile."""
    told = []
    query(root, "FLUSH STATUS")  # Max_used_connections begins anew
    before = _status(root)
    reader = threading.Thread(target=lambda: told.extend(map(json.loads, crowd.stdout)))
    reader.start()
    crowd.stdin.write("go\n")
    crowd.stdin.flush()
    began, connected = time.monotonic(), [(0.0, 0)]
    while reader.is_alive():
        reader.join(TICK)
        count = _status(root)["Threads_connected"] - before["Threads_connected"]
        connected.append((time.monotonic() - began, count))
    after = _status(root)
    peak = after["Max_used_connections"] - before["Threads_connected"] + 1
    return told, connected, peak, after["Aborted_connects"] - before["Aborted_connects"]


def _status(root):
    names = "'Threads_connected', 'Max_used_connections', 'Aborted_connects'"
    rows = query(root, f"SHOW GLOBAL STATUS WHERE Variable_name IN ({names})")
    return {name: int(value) for name, value in rows}
