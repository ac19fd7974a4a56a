"""The faults: each a context manager around one invocation, which strikes at a stage of it."""

import contextlib
import threading
import time

import pymysql
from lanes import eventually, query

from dal.testing.proxy import Fault

# Stages, in the order in which an invocation comes through them.
CONNECT = "connect"
GREETING = "handshake: greeting"
TLS = "handshake: TLS"
LOGIN = "handshake: login"
SESSION = "handshake: the SET"
FIRST = "first statement"
LATER = "later statement"
BEFORE = "before COMMIT"
SENT = "COMMIT sent"
ANSWERED = "COMMIT answered"

#: Where the proxy holds or breaks the line. The fault strikes before the bytes are passed on, at
#: ANSWERED after the server has done its part. BEFORE is between two packets.
MOMENTS = {
    CONNECT: "accept",
    GREETING: "greeting",
    TLS: "tls",
    LOGIN: "login",
    SESSION: 1,
    FIRST: 2,
    LATER: 3,
    SENT: 4,
    ANSWERED: 4,
}
STEPS = {FIRST: 1, LATER: 2}
#: Seconds that the unit lies idle before COMMIT, where BEFORE is the stage; and where the server
#: shuts down meanwhile, which takes it longer.
PAUSE, LONG_PAUSE = 1.0, 4.0


def on_the_line(action, **options):
    @contextlib.contextmanager
    def fault(lane, stage, token):
        if stage == BEFORE:

            def strike():
                time.sleep(PAUSE / 3)
                lane.break_now(action)

            with lane.on_strike(idle_after_the_last_statement(lane), strike):
                yield
        else:
            armed = lane.proxy.on(MOMENTS[stage], action, answer=stage == ANSWERED, **options)
            yield
            assert armed.fired, f"never came: {armed.moment!r}"

    return fault


def idle_after_the_last_statement(lane) -> Fault:
    """Strikes when the answer to the last statement passes; changes nothing."""
    return lane.proxy.on(3, "drip", answer=True, interval=0.0)


@contextlib.contextmanager
def held(lane, stage, act):
    """Hold the line at the stage, `act`, and let go: the client notices nothing before that."""
    if stage == BEFORE:
        fault = idle_after_the_last_statement(lane)
    elif stage == ANSWERED:
        fault = lane.proxy.on(4, "swallow")
        original = act

        def act():
            time.sleep(0.2)  # the server is to have answered
            original()
    else:
        fault = lane.proxy.on(MOMENTS[stage], "stall")
    with lane.on_strike(fault, act):
        yield


@contextlib.contextmanager
def kill(lane, stage, token):
    with held(lane, stage, lane.kill_sessions):
        yield


@contextlib.contextmanager
def rival(lane, stage, token):
    """A transaction that holds the row of this stage's statement; give its cursor."""
    with lane.admin(autocommit=False) as connection, connection.cursor() as cursor:
        row = (token, STEPS[stage])
        cursor.execute("UPDATE deed SET times = times + 100 WHERE token = %s AND step = %s", row)
        yield cursor
        with contextlib.suppress(pymysql.Error):
            connection.rollback()


def passes(lane, stage) -> Fault:
    """Strikes when the stage's request passes; changes nothing."""
    return lane.proxy.on(MOMENTS[stage], "drip", interval=0.0)


def waits_for_a_lock(lane):
    """Return once the lane's function does so."""
    sql = "SELECT 1 FROM information_schema.processlist WHERE user = %s AND info LIKE 'UPDATE%%'"
    with lane.server.connect() as root:
        assert eventually(lambda: query(root, sql, lane.name), 5)


def kill_in_a_lock_wait(what="CONNECTION"):
    @contextlib.contextmanager
    def fault(lane, stage, token):
        def strike():
            waits_for_a_lock(lane)
            lane.kill_sessions(what)
            if what == "CONNECTION":
                holder.connection.rollback()

        with rival(lane, stage, token) as holder, lane.on_strike(passes(lane, stage), strike):
            yield

    return fault


@contextlib.contextmanager
def deadlock(lane, stage, token):
    def strike():
        wants_the_first = "UPDATE deed SET times = times + 100 WHERE token = %s AND step = 1"
        waiting = threading.Thread(target=lambda: holder.execute(wants_the_first, (token,)))
        waiting.start()
        time.sleep(0.3)
        lane.let_go()
        waiting.join()
        holder.connection.rollback()

    with rival(lane, stage, token) as holder:
        # InnoDB ends the transaction that has written less.
        heavy = [(f"{token[:4]}{number:04}", 9) for number in range(50)]
        holder.executemany("INSERT INTO deed VALUES (%s, %s, 0)", heavy)
        with lane.on_strike(lane.proxy.on(MOMENTS[stage], "stall"), strike):
            yield


@contextlib.contextmanager
def lock_wait(lane, stage, token):
    def strike():
        # Until the second attempt comes, or (with one attempt) will not come any more.
        eventually(lambda: len(lane.proxy.connections) > 1, 3.5)
        holder.connection.rollback()

    with rival(lane, stage, token) as holder, lane.on_strike(passes(lane, stage), strike):
        yield


@contextlib.contextmanager
def endless_lock_wait(lane, stage, token):
    with rival(lane, stage, token):
        yield


def account_full(seconds=None):
    @contextlib.contextmanager
    def fault(lane, stage, token):
        limit = "ALTER USER %s@'%%' WITH MAX_USER_CONNECTIONS %d"
        with lane.server.connect() as root:
            query(root, limit % (lane.name, 1))
        # Only now: a connection made under no limit is not counted.
        occupant = lane.occupy()
        leaving = threading.Timer(seconds or 60, occupant.close)
        leaving.start()
        try:
            yield
        finally:
            leaving.cancel()
            leaving.join()
            with contextlib.suppress(pymysql.Error):
                occupant.close()
            with lane.server.connect() as root:
                query(root, limit % (lane.name, 0))

    return fault


def password_changed(*, known):
    @contextlib.contextmanager
    def fault(lane, stage, token):
        alter = f"ALTER USER {lane.name}@'%%' IDENTIFIED BY %s"

        def strike():
            with lane.server.connect() as root:
                query(root, alter, "an other")
            if known:
                lane.vault.write_text("an other")

        try:
            with held(lane, stage, strike):
                yield
        finally:
            with lane.server.connect() as root:
                query(root, alter, lane.password)
            lane.vault.write_text(lane.password)

    return fault


@contextlib.contextmanager
def server_full(lane, stage, token):
    with lane.server.connect() as root, contextlib.ExitStack() as occupants:
        ((usual,),) = query(root, "SELECT @@max_connections")
        query(root, "SET GLOBAL max_connections = 10")
        try:
            with contextlib.suppress(pymysql.OperationalError):
                while True:
                    occupants.enter_context(lane.occupy())
            yield
        finally:
            query(root, f"SET GLOBAL max_connections = {usual}")


@contextlib.contextmanager
def read_only(lane, stage, token):
    def strike():
        query(root, "SET GLOBAL super_read_only = ON")

    with lane.server.connect() as root:
        try:
            with held(lane, stage, strike):
                yield
        finally:
            query(root, "SET GLOBAL read_only = OFF")


@contextlib.contextmanager
def read_only_for_a_moment(lane, stage, token):
    def strike():
        query(root, "SET GLOBAL super_read_only = ON")
        again = lane.proxy.on("login", "stall")
        lane.let_go()
        again.wait(1.5)  # the second attempt, if one comes
        query(root, "SET GLOBAL read_only = OFF")

    with lane.server.connect() as root:
        try:
            with held(lane, stage, strike):
                yield
        finally:
            query(root, "SET GLOBAL read_only = OFF")


def server_ends(how, *, comes_back):
    @contextlib.contextmanager
    def fault(lane, stage, token):
        def strike():
            getattr(lane.server, how)()
            lane.let_go()
            if comes_back:
                lane.server.start()

        try:
            with held(lane, stage, strike):
                yield
        finally:
            lane.server.start()

    return fault


@contextlib.contextmanager
def shutdown_in_a_lock_wait(lane, stage, token):
    def strike():
        waits_for_a_lock(lane)
        lane.server.shut_down()
        lane.server.start()

    with rival(lane, stage, token), lane.on_strike(passes(lane, stage), strike):
        yield


FAULTS = {
    "cut": on_the_line("cut"),
    "cut each time": on_the_line("cut", times=None),
    "RST": on_the_line("reset"),
    "stall": on_the_line("stall"),
    "stall, with a statement_timeout": on_the_line("stall"),
    "swallow the answer": on_the_line("swallow"),
    "drip": on_the_line("drip", interval=0.7),
    "KILL": kill,
    "KILL while it waits for a lock": kill_in_a_lock_wait(),
    "KILL QUERY while it waits for a lock": kill_in_a_lock_wait("QUERY"),
    "deadlock": deadlock,
    "lock wait": lock_wait,
    "lock wait without end": endless_lock_wait,
    "lock wait, with innodb_rollback_on_timeout": lock_wait,
    "account full for a moment": account_full(0.4),
    "account full": account_full(),
    "password changed": password_changed(known=False),
    "password changed, and known": password_changed(known=True),
    "server full": server_full,
    "read-only": read_only,
    "read-only for a moment": read_only_for_a_moment,
    "SIGKILL": server_ends("kill", comes_back=False),
    "SIGKILL and restart": server_ends("kill", comes_back=True),
    "shutdown and restart": server_ends("shut_down", comes_back=True),
    "shutdown and restart while it waits for a lock": shutdown_in_a_lock_wait,
}
