"""From the driver's error to dal's: the texts are those that the servers send."""

import contextlib
import errno as os_errno
import socket
import ssl
import threading
import traceback

import pymysql
import pytest

from dal import Database, errors
from dal.engine import create_engine
from dal.engine.translate import named_error
from dal.wire.backoff import Backoff
from dal.wire.connection import Connection
from dal.wire.deadline import NEVER, Deadline
from dal.wire.network.channel import Channel
from dal.wire.network.connect_failed import WantsRSA
from dal.wire.session.transactions import CommitUnanswered


@pytest.fixture(autouse=True)
def _connecting_is_tried_once(monkeypatch):
    monkeypatch.setattr(Backoff, "wait", lambda *_: False)


NOTHING = {"constraint": None, "table": None, "columns": ()}

# (number, text, class, names); the comment says whose text it is where the two differ.
SERVER_ERRORS = [
    # MySQL from 8.0.19
    (
        1062,
        "Duplicate entry 'ann@example.com' for key 'users.uq_users_email'",
        errors.DuplicateKey,
        {"constraint": "uq_users_email", "table": "users"},
    ),
    (
        1062,
        "Duplicate entry '1' for key 'users.PRIMARY'",
        errors.DuplicateKey,
        {"constraint": "PRIMARY", "table": "users"},
    ),
    (
        1062,
        "Duplicate entry 'Ann-O'Neil' for key 'users.uq_users_first_last'",
        errors.DuplicateKey,
        {"constraint": "uq_users_first_last", "table": "users"},
    ),
    (
        1062,
        "Duplicate entry 'x' for key 'evil.key' for key 'users.uq_users_name'",
        errors.DuplicateKey,
        {"constraint": "uq_users_name", "table": "users"},
    ),
    (
        1062,
        "Duplicate entry 'a\nb' for key 'users.uq_users_name'",
        errors.DuplicateKey,
        {"constraint": "uq_users_name", "table": "users"},
    ),
    # MariaDB, and MySQL to 8.0.18
    (
        1062,
        "Duplicate entry 'ann@example.com' for key 'uq_users_email'",
        errors.DuplicateKey,
        {"constraint": "uq_users_email"},
    ),
    (1062, "Duplicate entry '1' for key 'PRIMARY'", errors.DuplicateKey, {"constraint": "PRIMARY"}),
    (
        1586,
        "Duplicate entry 'x' for key 'users.uq_users_name'",
        errors.DuplicateKey,
        {"constraint": "uq_users_name", "table": "users"},
    ),
    (
        1451,
        "Cannot delete or update a parent row: a foreign key constraint fails (`shop`.`orders`, "
        "CONSTRAINT `fk_orders_user_id` FOREIGN KEY (`user_id`) REFERENCES `users` (`id`))",
        errors.ForeignKeyViolation,
        {"constraint": "fk_orders_user_id", "table": "orders", "columns": ("user_id",)},
    ),
    (
        1452,
        "Cannot add or update a child row: a foreign key constraint fails (`shop`.`orders`, "
        "CONSTRAINT `fk_orders_user_id` FOREIGN KEY (`user_id`) REFERENCES `users` (`id`) "
        "ON DELETE CASCADE ON UPDATE RESTRICT)",
        errors.ForeignKeyViolation,
        {"constraint": "fk_orders_user_id", "table": "orders", "columns": ("user_id",)},
    ),
    (
        1452,
        "Cannot add or update a child row: a foreign key constraint fails (`shop`.`lines`, "
        "CONSTRAINT `fk_lines_tenant_order` FOREIGN KEY (`tenant`, `order_no`) REFERENCES "
        "`orders` (`tenant`, `no`))",
        errors.ForeignKeyViolation,
        {
            "constraint": "fk_lines_tenant_order",
            "table": "lines",
            "columns": ("tenant", "order_no"),
        },
    ),
    # without privileges on the other table
    (
        1217,
        "Cannot delete or update a parent row: a foreign key constraint fails",
        errors.ForeignKeyViolation,
        {},
    ),
    (
        1216,
        "Cannot add or update a child row: a foreign key constraint fails",
        errors.ForeignKeyViolation,
        {},
    ),
    (1048, "Column 'email' cannot be null", errors.NotNullViolation, {"columns": ("email",)}),
    (
        1364,
        "Field 'email' doesn't have a default value",
        errors.NotNullViolation,
        {"columns": ("email",)},
    ),
    (
        1406,
        "Data too long for column 'name' at row 1",
        errors.DataTooLong,
        {"columns": ("name",)},
    ),
    (
        1264,
        "Out of range value for column 'age' at row 3",
        errors.OutOfRange,
        {"columns": ("age",)},
    ),
    (
        1690,
        "BIGINT UNSIGNED value is out of range in '(`shop`.`stock`.`n` - 5)'",
        errors.OutOfRange,
        {},
    ),
    (
        3819,
        "Check constraint 'ck_users_age' is violated.",
        errors.CheckViolation,
        {"constraint": "ck_users_age"},
    ),
    # MariaDB
    (
        4025,
        "CONSTRAINT `ck_users_age` failed for `shop`.`users`",
        errors.CheckViolation,
        {"constraint": "ck_users_age", "table": "users"},
    ),
    (
        4025,
        "CONSTRAINT `users.age` failed for `shop`.`users`",
        errors.CheckViolation,
        {"constraint": "users.age", "table": "users"},
    ),
    (
        1213,
        "Deadlock found when trying to get lock; try restarting transaction",
        errors.Deadlock,
        {},
    ),
    (
        1206,
        "The total number of locks exceeds the lock table size",
        errors.LockTableFull,
        {},
    ),
    (1205, "Lock wait timeout exceeded; try restarting transaction", errors.LockWaitTimeout, {}),
    (
        3572,
        "Statement aborted because lock(s) could not be acquired immediately and NOWAIT is set.",
        errors.LockNotAvailable,
        {},
    ),
    (
        3024,
        "Query execution was interrupted, maximum statement execution time exceeded",
        errors.StatementTimeout,
        {},
    ),
    # MariaDB
    (
        1969,
        "Query execution was interrupted (max_statement_time exceeded)",
        errors.StatementTimeout,
        {},
    ),
    (
        1290,
        "The MySQL server is running with the --read-only option so it cannot execute this "
        "statement",
        errors.ConnectionLost,
        {},
    ),
    (
        1290,
        "The MySQL server is running with the --super-read-only option so it cannot execute this "
        "statement",
        errors.ConnectionLost,
        {},
    ),
    (
        1290,
        "The MariaDB server is running with the --read-only option so it cannot execute this "
        "statement",
        errors.ConnectionLost,
        {},
    ),
    (1792, "Cannot execute statement in a READ ONLY transaction.", errors.ReadOnlyScope, {}),
    (1836, "Running in read-only mode", errors.ConnectionLost, {}),
    (3032, "The server is currently in offline mode", errors.ConnectionLost, {}),
    (
        3101,
        "Plugin instructed the server to rollback the current transaction.",
        errors.WriteConflict,
        {},
    ),
    (
        1180,
        "Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT",
        errors.WriteConflict,
        {},
    ),
    *(
        (number, "of TiDB", errors.WriteConflict, {})
        for number in (8002, 8005, 8022, 8028, 8147, 9007)
    ),
    (1105, "Information schema is changed, try again later", errors.WriteConflict, {}),
    *((number, "of TiDB", errors.ConnectionLost, {}) for number in range(9001, 9006)),
    (1317, "Query execution was interrupted", errors.StatementInterrupted, {}),
    (
        1153,
        "Got a packet bigger than 'max_allowed_packet' bytes",
        errors.StatementTooLarge,
        {},
    ),
    (1053, "Server shutdown in progress", errors.ConnectionLost, {}),
    (1047, "WSREP has not yet prepared node for application use", errors.ConnectionLost, {}),
    (1927, "Connection was killed", errors.ConnectionLost, {}),
    (2006, "MySQL server has gone away (BrokenPipeError(32, 'x'))", errors.ConnectionLost, {}),
    (2013, "Lost connection to MySQL server during query", errors.ConnectionLost, {}),
    (2014, "Command Out of Sync", errors.ConnectionLost, {}),
    (2045, "Can't open shared memory", errors.ConnectionLost, {}),
    (2055, "Lost connection to MySQL server at 'x', system error: 1", errors.ConnectionLost, {}),
    (3168, "Server isn't available", errors.ConnectionLost, {}),
    (3169, "Session was killed", errors.ConnectionLost, {}),
    (
        4031,
        "The client was disconnected by the server because of inactivity. See wait_timeout and "
        "interactive_timeout for configuring this behavior.",
        errors.ConnectionLost,
        {},
    ),
]


def name(number, text, statement=None):
    return named_error(pymysql.OperationalError(number, text), statement)


class TestWhatTheServerSays:
    @pytest.mark.parametrize(("number", "text", "kind", "names"), SERVER_ERRORS)
    def test_becomes_its_class_with_the_names_that_it_gives(self, number, text, kind, names):
        error = name(number, text, "INSERT INTO t VALUES (%s)")
        assert type(error) is kind
        assert error.errno == number
        assert error.statement == "INSERT INTO t VALUES (%s)"
        assert {key: getattr(error, key) for key in NOTHING} == {**NOTHING, **names}
        assert f"MySQL error {number}" in str(error)

    @pytest.mark.parametrize(
        ("number", "text"),
        [(1180, "Got error 28 - 'No space left' during COMMIT"), (1105, "Unknown error")],
    )
    def test_has_no_name_where_the_text_says_something_else(self, number, text):
        assert name(number, text) is None

    def test_is_covered_here_number_by_number(self):
        assert {number for number, *_ in SERVER_ERRORS} == set(errors.NAMED)

    @pytest.mark.parametrize("number", sorted(errors.NAMED))
    def test_has_its_class_even_if_its_text_says_nothing(self, number):
        text = {1290: "read", 1180: "149", 1105: "try again later"}.get(number, "")
        error = name(number, text)
        assert type(error) is errors.NAMED[number]
        assert {key: getattr(error, key) for key in NOTHING} == NOTHING

    @pytest.mark.parametrize(
        "text",
        [
            "Duplicate entry 'ann@example.com' for key 'users.uq_users_email'",
            "Duplicate entry 'ann@example.com' for key 'uq_users_email'",
            "Duplicate entry 'ann@example.com' for key 'it's'",
            "Doppelter Eintrag 'ann@example.com' für Schlüssel 'users.uq_users_email'",
            "ann@example.com",
        ],
    )
    def test_of_a_duplicate_shows_the_key_and_never_the_value(self, text):
        error = name(1062, text)
        assert "ann@example.com" not in f"{error} {error!r} {vars(error)}"

    @pytest.mark.parametrize("language", ["Doppelter Eintrag 'x' für Schlüssel 't.k'", ""])
    def test_of_a_duplicate_in_another_language_names_no_key(self, language):
        assert "None" not in str(name(1062, language))

    @pytest.mark.parametrize(
        ("number", "advice"),
        [
            (1213, "run the whole unit of work again"),
            (1205, "run the whole unit of work again"),
            (2013, "run the whole unit of work again"),
            (3024, "statement_timeout"),
            (1317, "KILL QUERY"),
            (1792, "without read_only"),
            (3572, "another transaction holds the row"),
        ],
    )
    def test_comes_with_what_to_do_where_the_text_does_not_say(self, number, advice):
        assert advice in str(name(number, "some text"))


class TestWhatHasNoName:
    @pytest.mark.parametrize(
        ("number", "text"),
        [
            (1064, "You have an error in your SQL syntax; check the manual"),
            (1054, "Unknown column 'x' in 'field list'"),
            (1146, "Table 'shop.t' doesn't exist"),
            (1292, "Incorrect datetime value: 'soon' for column 'at' at row 1"),
            (1366, "Incorrect integer value: 'x' for column 'n' at row 1"),
            (1045, "Access denied for user 'app'@'%' (using password: YES)"),
            (1049, "Unknown database 'shop'"),
            (1040, "Too many connections"),
            (99999, "of a future server"),
            (0, ""),
        ],
    )
    def test_is_passed_on_unnamed(self, number, text):
        assert name(number, text) is None

    @pytest.mark.parametrize(
        "option", ["--secure-file-priv", "--skip-grant-tables", "--skip-name-resolve"]
    )
    def test_is_1290_for_an_option_that_forbids_something_else(self, option):
        text = f"The MySQL server is running with the {option} option so it cannot execute this "
        assert name(1290, f"{text}statement") is None

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("1062"),
            KeyError(1062),
            TimeoutError("timed out"),
            KeyboardInterrupt(),
            pymysql.err.Error(),
            pymysql.err.ProgrammingError("Cursor closed"),
            pymysql.err.OperationalError("1062", "as text"),
        ],
        ids=repr,
    )
    def test_is_what_carries_no_number(self, error):
        assert named_error(error) is None


@pytest.fixture
def silent_server():
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@pytest.fixture
def unanswered(silent_server):
    """What PyMySQL raises for an answer that does not come in time, or that fails otherwise."""
    opened = []

    def wait(deadline=NEVER, failure=None):
        channel = Channel(*silent_server, 5, NEVER)
        opened.append(channel)
        channel._deadline = deadline
        channel.allow(0)
        reader = pymysql.connections.Connection(defer_connect=True)
        reader._sock, reader._rfile = channel, channel.makefile("rb")
        reader._current_timeout, reader._next_seq_id = None, 0
        if failure is not None:
            channel.receive_into = lambda buffer: (_ for _ in ()).throw(failure)
        with pytest.raises(pymysql.Error) as lost:
            reader._read_packet()
        return lost.value

    yield wait
    for channel in opened:
        channel.close()


class TestSilence:
    def test_of_the_server_is_a_statement_timeout(self, unanswered):
        error = named_error(unanswered(), "SELECT 1")
        assert type(error) is errors.StatementTimeout
        assert "statement_timeout" in str(error)
        assert error.statement == "SELECT 1"

    def test_beyond_the_deadline_is_the_deadlines_error(self, unanswered):
        error = named_error(unanswered(Deadline(0)), "SELECT 1")
        assert type(error) is errors.DeadlineExceeded
        assert error.statement == "SELECT 1"

    @pytest.mark.parametrize("failure", [ConnectionResetError(104, "x"), BrokenPipeError(32, "x")])
    def test_of_a_dead_connection_is_a_lost_connection(self, unanswered, failure):
        assert type(named_error(unanswered(failure=failure))) is errors.ConnectionLost

    @pytest.mark.parametrize("deadline", [NEVER, Deadline(0)])
    def test_after_commit_is_an_outcome_that_nobody_knows(self, unanswered, deadline):
        lost = unanswered(deadline)
        commit = CommitUnanswered(*lost.args)
        commit.__cause__ = commit.__context__ = lost
        error = named_error(commit)
        assert type(error) is errors.CommitOutcomeUnknown
        assert "may or may not be stored" in str(error)
        assert error.errno == 2013
        assert not error.transient

    def test_of_a_connection_that_is_closed_is_a_lost_connection(self):
        error = named_error(pymysql.InterfaceError(0, ""))
        assert type(error) is errors.ConnectionLost
        assert "closed" in str(error)
        assert error.errno is None


@pytest.fixture
def full_server():
    """The address of a server that greets everybody with an error."""
    text = b"\xff" + (1040).to_bytes(2, "little") + b"Too many connections"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        peer.sendall(len(text).to_bytes(3, "little") + b"\0" + text)

        thread = threading.Thread(target=answer)
        thread.start()
        yield "{}:{}".format(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


class TestWhatHappenedBefore:
    """An exception that user code is handling becomes the context of every new one."""

    @staticmethod
    def raised_while_handling(handled, number, text):
        try:
            raise handled
        except type(handled):
            try:
                raise pymysql.OperationalError(number, text)
            except pymysql.Error as error:
                return error

    @pytest.mark.parametrize(
        "handled", [TimeoutError("an HTTP call"), errors.DeadlineExceeded("another scope's")]
    )
    def test_makes_no_timeout_of_what_the_server_said(self, handled):
        error = self.raised_while_handling(handled, 1062, "Duplicate entry 'x' for key 't.k'")
        assert type(named_error(error)) is errors.DuplicateKey

    def test_makes_no_timeout_of_a_connection_that_the_server_closed(self):
        error = self.raised_while_handling(
            TimeoutError("an HTTP call"), 2013, "Lost connection to MySQL server during query"
        )
        assert type(named_error(error)) is errors.ConnectionLost

    def test_of_another_kind_changes_nothing(self):
        error = self.raised_while_handling(LookupError(), 1062, "Duplicate entry 'x' for key 't.k'")
        assert type(named_error(error)) is errors.DuplicateKey

    @pytest.mark.parametrize(
        "handled",
        [
            LookupError("in a cache"),
            FileNotFoundError(2, "cache"),
            TimeoutError("an HTTP call"),
            ssl.SSLError(1, "an HTTP call"),
            socket.gaierror(-2, "an HTTP call"),
        ],
        ids=lambda handled: type(handled).__name__,
    )
    def test_does_not_hide_why_no_connection_was_made(self, handled, full_server):
        db = Database(f"mysql://app@{full_server}/shop", connect_timeout=0.1)
        try:
            raise handled
        except type(handled):
            with pytest.raises(errors.TooManyConnections), db.scope() as session:
                session.connection()


def certificate_error(message):
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {message} (_ssl.c:1000)")
    error.verify_message = message
    return error


class TestConnecting:
    @pytest.fixture
    def connect(self, monkeypatch, silent_server):
        """Connect and fail with `error` at a stage; return what the engine raises."""

        def connect(error, stage="connect"):
            def fail(*_, **__):
                raise error

            steps = {
                "connect": (Channel, "_connect"),
                "greeting": (Connection, "_get_server_information"),
                "login": (Connection, "_request_authentication"),
                "session": (Connection, "_set_session"),
            }
            for step, (owner, name) in steps.items():
                if step == stage:
                    monkeypatch.setattr(owner, name, fail)
                    break
                if step != "connect":
                    monkeypatch.setattr(owner, name, lambda *_: None)
            host, port = silent_server
            engine = create_engine(f"mysql://app:Pa55w0rd@{host}:{port}/shop", connect_timeout=0.1)
            with pytest.raises(errors.Error) as raised:
                engine.connect()
            return raised.value

        return connect

    @pytest.mark.parametrize(
        ("error", "stage", "kind", "number", "advice"),
        [
            (
                socket.gaierror(-2, "Name or service not known"),
                "connect",
                errors.ConnectError,
                2003,
                "cannot be resolved; check DB_HOST",
            ),
            (
                ConnectionRefusedError(os_errno.ECONNREFUSED, "Connection refused"),
                "connect",
                errors.ConnectError,
                2003,
                "security group",
            ),
            (
                OSError(os_errno.EHOSTUNREACH, "No route to host"),
                "connect",
                errors.ConnectError,
                2003,
                "security group",
            ),
            (
                ConnectionResetError(os_errno.ECONNRESET, "Connection reset by peer"),
                "login",
                errors.ConnectError,
                2003,
                "while logging in",
            ),
            (
                BrokenPipeError(os_errno.EPIPE, "Broken pipe"),
                "session",
                errors.ConnectError,
                2003,
                "after the login",
            ),
            (ConnectionResetError(104, "x"), "greeting", errors.ConnectError, 2003, "no greeting"),
            (
                pymysql.OperationalError(2013, "Lost connection"),
                "greeting",
                errors.ConnectError,
                2013,
                "failing over",
            ),
            (
                pymysql.OperationalError(
                    1045, "Access denied for user 'app'@'10.0.0.1' (using password: YES)"
                ),
                "login",
                errors.AccessDenied,
                1045,
                "DB_USER and DB_PASSWORD",
            ),
            (
                pymysql.OperationalError(
                    1044, "Access denied for user 'app'@'%' to database 'shop'"
                ),
                "login",
                errors.AccessDenied,
                1044,
                "grants",
            ),
            (
                pymysql.OperationalError(
                    1130, "Host '10.0.0.1' is not allowed to connect to this MySQL server"
                ),
                "greeting",
                errors.AccessDenied,
                1130,
                "grants",
            ),
            (
                pymysql.OperationalError(1251, "Client does not support authentication protocol"),
                "login",
                errors.AccessDenied,
                1251,
                "DB_USER",
            ),
            (
                pymysql.OperationalError(1698, "Access denied for user 'root'@'localhost'"),
                "login",
                errors.AccessDenied,
                1698,
                "DB_USER",
            ),
            (
                pymysql.OperationalError(1049, "Unknown database 'shop'"),
                "login",
                errors.UnknownDatabase,
                1049,
                "DB_NAME",
            ),
            (
                pymysql.OperationalError(1040, "Too many connections"),
                "greeting",
                errors.TooManyConnections,
                1040,
                "max_connections",
            ),
            (
                pymysql.OperationalError(
                    1203, "User app already has more than 'max_user_connections' connections"
                ),
                "login",
                errors.TooManyConnections,
                1203,
                "concurrency",
            ),
            (
                pymysql.OperationalError(
                    1226, "User 'app' has exceeded the 'max_user_connections' resource"
                ),
                "login",
                errors.TooManyConnections,
                1226,
                "concurrency",
            ),
            (
                pymysql.OperationalError(2026, "SSL is required but the server doesn't support it"),
                "login",
                errors.TLSError,
                2026,
                "DAL_TLS",
            ),
            (
                pymysql.OperationalError(
                    3159,
                    "Connections using insecure transport are prohibited while "
                    "--require_secure_transport=ON.",
                ),
                "login",
                errors.TLSError,
                3159,
                "DAL_TLS",
            ),
            (
                certificate_error("unable to get local issuer certificate"),
                "login",
                errors.TLSError,
                2026,
                "global-bundle.pem",
            ),
            (
                certificate_error("self-signed certificate in certificate chain"),
                "login",
                errors.TLSError,
                2026,
                "DAL_TLS_CA",
            ),
            (
                certificate_error("certificate has expired"),
                "login",
                errors.TLSError,
                2026,
                "renew it on the server",
            ),
            (
                certificate_error("Hostname mismatch, certificate is not valid for 'db.example'."),
                "login",
                errors.TLSError,
                2026,
                "the name that the certificate is for",
            ),
            (
                certificate_error("IP address mismatch, certificate is not valid for '10.0.0.1'."),
                "login",
                errors.TLSError,
                2026,
                "the name that the certificate is for",
            ),
            (
                ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)"),
                "login",
                errors.TLSError,
                2026,
                "DAL_TLS",
            ),
            (
                WantsRSA(),
                "login",
                errors.TLSError,
                2061,
                "enable TLS",
            ),
            (
                pymysql.OperationalError(1105, "of a kind that nobody foresaw"),
                "session",
                errors.ConnectError,
                1105,
                "that is MySQL error 1105",
            ),
            (
                ValueError("a greeting that makes no sense"),
                "greeting",
                errors.ConnectError,
                2003,
                "makes no sense; what answers there is not MySQL",
            ),
            (
                pymysql.OperationalError(1129, "Host '10.0.0.1' is blocked"),
                "greeting",
                errors.AccessDenied,
                1129,
                "administrator",
            ),
        ],
    )
    def test_says_what_failed_where_and_what_to_do(
        self, connect, *, error, stage, kind, number, advice
    ):
        named = connect(error, stage)
        assert type(named) is kind
        assert named.errno == number
        assert str(named).startswith("cannot connect to MySQL at 127.0.0.1:")
        assert advice in str(named)
        assert named.__cause__ is not None
        assert "Pa55w0rd" not in "".join(traceback.format_exception(named))
        assert "Pa55w0rd" not in f"{named!r} {vars(named)} {vars(named.__cause__)}"

    @pytest.mark.parametrize(
        ("number", "text"),
        [
            (1129, "Host '10.0.0.1' is blocked because of many connection errors"),
            (1226, "User 'app' has exceeded the 'max_connections_per_hour' resource"),
        ],
    )
    def test_what_does_not_pass_by_itself_is_not_transient(self, connect, number, text):
        assert not connect(pymysql.OperationalError(number, text), "login").transient

    def test_says_of_silence_how_long_it_waited(self, silent_server):
        host, port = silent_server
        engine = create_engine(f"mysql://app@{host}:{port}/shop", connect_timeout=0.05)
        with pytest.raises(errors.ConnectError, match=r"within 0.05 s; it took the connection"):
            engine.connect()

    def test_says_of_a_certificate_only_what_is_wrong_with_it(self, connect):
        named = connect(certificate_error("certificate has expired"), "login")
        assert "its certificate is not trusted: certificate has expired; renew" in str(named)
        assert "_ssl.c" not in str(named)

    @pytest.mark.parametrize("number", sorted(errors.NAMED_WHILE_CONNECTING))
    def test_has_classes_of_its_own_for_some_numbers(self, connect, number):
        named = connect(pymysql.OperationalError(number, "some text"), "login")
        assert type(named) is errors.NAMED_WHILE_CONNECTING[number]

    @pytest.mark.parametrize("number", [1062, 1213, 1205, 3024, 1053, 2013, 9999])
    def test_does_not_lend_classes_from_statements(self, connect, number):
        named = connect(pymysql.OperationalError(number, "some text"), "session")
        assert type(named) is errors.ConnectError
        assert named.errno == number

    @pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
    def test_lets_an_exit_pass(self, monkeypatch, silent_server, stop):
        def leave(*_):
            raise stop

        monkeypatch.setattr(Connection, "_get_server_information", leave)
        host, port = silent_server
        with pytest.raises(type(stop)) as left:
            create_engine(f"mysql://app@{host}:{port}/shop").connect()
        assert left.value is stop
