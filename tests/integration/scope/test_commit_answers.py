"""What a COMMIT that is answered by an error means: refused for sure, or nobody knows."""

import contextlib
import socket
import struct
import threading

import pytest
from accounts import Account

from dal import CommitOutcomeUnknown, ConnectionLost, Database, WriteConflict


class Relay:
    """Stands before the server, and answers COMMIT by an error of its own once the server has."""

    def __init__(self, host, port, number, text):
        self._upstream = (host, port)
        self._error = b"\xff" + struct.pack("<H", number) + b"#HY000" + text.encode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.commits = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client):
        with client, socket.create_connection(self._upstream) as server:
            sent = []
            up = threading.Thread(target=self._upwards, args=(client, server, sent), daemon=True)
            up.start()
            while data := server.recv(65536):
                if sent:
                    sent.clear()
                    data = struct.pack("<I", len(self._error) | 1 << 24) + self._error
                client.sendall(data)

    def _upwards(self, client, server, sent):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if data[5:] == b"COMMIT":
                    self.commits += 1
                    sent.append(data)
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()


@pytest.fixture
def commit_answered_by(server, environment):
    """A database whose COMMITs are done, and then answered by this error."""
    with contextlib.ExitStack() as stack:

        def database(number, text):
            relay = stack.enter_context(Relay(server.host, server.port, number, text))
            plain = environment | {"DAL_TLS": "disabled"}
            return relay, Database.from_env(plain, host="127.0.0.1", port=relay.port)

        yield database


def stored(admin):
    with admin.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM account WHERE owner = 'new'")
        return cursor.fetchone()[0]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (3100, "Error on observer while running replication hook 'before_commit'."),
        (1180, "Got error 28 - 'No space left on device' during COMMIT"),
        (1105, "Unknown error"),
        (1026, "Error writing file"),
        (1047, "WSREP has not yet prepared node for application use"),
        (1317, "Query execution was interrupted"),
        (1969, "Query execution was interrupted (max_statement_time exceeded)"),
        (3168, "Server isn't available"),
        (20000, "of a server that is not written yet"),
    ],
)
def test_a_number_that_does_not_mean_a_rollback_leaves_the_outcome_unknown(
    commit_answered_by, db, admin, number, text
):
    relay, through = commit_answered_by(number, text)

    def unit():
        with through.scope() as session:
            session.add(Account(owner="new", balance=1))

    with pytest.raises(CommitOutcomeUnknown) as unknown:
        through.run(unit, attempts=3)
    assert unknown.value.errno == number
    assert (unknown.value.transient, relay.commits, stored(admin)) == (False, 1, 1)


@pytest.mark.parametrize(
    ("number", "text", "kind"),
    [
        (3101, "Plugin instructed the server to rollback the current transaction.", WriteConflict),
        (1180, "Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT", WriteConflict),
        (9007, "Write conflict, txnStartTS=1", WriteConflict),
        (1290, "The MySQL server is running with the --read-only option", ConnectionLost),
    ],
)
def test_a_number_that_means_a_rollback_is_run_again(commit_answered_by, db, number, text, kind):
    relay, through = commit_answered_by(number, text)
    owners = iter(["first", "second"])
    with pytest.raises(kind) as refused:
        through.run(lambda: through.session.add(Account(owner=next(owners))), attempts=2)
    assert (refused.value.errno, refused.value.transient, relay.commits) == (number, True, 2)
