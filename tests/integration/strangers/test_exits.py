"""An exit while COMMIT is pending: it leaves as it is, and nothing says that nothing is stored."""

import logging
import os
import signal
import threading

import pytest
from accounts import Account, Accounts

from dal import CommitOutcomeUnknown, Database
from dal.testing.proxy import Proxy

#: The commands before it are the SET and the INSERT.
COMMIT = 3


class Alarm(Exception):
    """What a signal's handler raises that is no exit."""


@pytest.fixture(params=["none", "warm"])
def line(request, server, environment, db):
    with Proxy(server.host, server.port) as proxy:
        database = Database.from_env(
            environment,
            host=proxy.host,
            port=proxy.port,
            tls="disabled",
            pool=request.param,
            report="log",
        )
        yield proxy, database
        database.engine.dispose()


@pytest.fixture
def while_committing():
    """Raise an exception in the main thread once `fault` has struck, by a signal's handler."""
    previous = signal.getsignal(signal.SIGTERM)

    def arm(fault, exception):
        def strike(*_):
            raise exception

        signal.signal(signal.SIGTERM, strike)

        def wait():
            assert fault.wait(10)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=wait, daemon=True).start()

    yield arm
    signal.signal(signal.SIGTERM, previous)


def reported(caplog):
    (record,) = [record for record in caplog.records if record.name == "dal.report"]
    return record.msg


@pytest.mark.parametrize(
    "exit_",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit()],
    ids=lambda exit_: type(exit_).__name__,
)
def test_an_exit_leaves_and_the_outcome_is_unknown(line, while_committing, admin, caplog, exit_):
    proxy, database = line
    told, ran = [], []
    while_committing(proxy.on(COMMIT, "swallow"), exit_)

    def unit():
        ran.append(1)
        database.after_commit(lambda: told.append(1))
        Accounts(database).add(Account(owner="ada"))

    with caplog.at_level(logging.INFO, "dal"), pytest.raises(type(exit_)) as left:
        database.run(unit, attempts=3)
    assert left.value is exit_
    assert (ran, told) == ([1], [])
    line = reported(caplog)
    assert (line["outcome"], line["error"]) == ("unknown", type(exit_).__name__)
    assert "COMMIT was pending" in caplog.text
    with admin.cursor() as cursor:
        cursor.execute("SELECT owner FROM account")
        assert cursor.fetchall() == (("ada",),)  # it was stored, as it happens


def test_an_exception_of_a_handler_is_an_unknown_outcome_and_not_run_again(
    line, while_committing, caplog
):
    proxy, database = line
    ran = []
    while_committing(proxy.on(COMMIT, "swallow"), Alarm())

    def unit():
        ran.append(1)
        Accounts(database).add(Account(owner="ada"))

    with caplog.at_level(logging.INFO, "dal"), pytest.raises(CommitOutcomeUnknown):
        database.run(unit, attempts=3)
    assert ran == [1]
    assert reported(caplog)["outcome"] == "unknown"


def test_an_exit_before_commit_is_a_failure(line, caplog, admin):
    _, database = line
    with caplog.at_level(logging.INFO, "dal"), pytest.raises(SystemExit), database.scope():
        Accounts(database).add(Account(owner="ada"))
        raise SystemExit
    assert reported(caplog)["outcome"] == "failed"
    with admin.cursor() as cursor:
        assert cursor.execute("SELECT * FROM account") == 0


def test_an_exit_in_a_callback_leaves_what_was_committed(line, caplog, admin):
    _, database = line

    def leave():
        raise SystemExit

    with caplog.at_level(logging.INFO, "dal"), pytest.raises(SystemExit), database.scope():
        Accounts(database).add(Account(owner="ada"))
        database.after_commit(leave)
    assert (reported(caplog)["outcome"], reported(caplog)["error"]) == ("committed", "SystemExit")
    with admin.cursor() as cursor:
        assert cursor.execute("SELECT * FROM account") == 1
