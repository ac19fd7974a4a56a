"""From the driver's error to `dal`'s: by number, with the names that the server gave.

The texts that are parsed here are MySQL's own, from its "Server Error Message Reference"; they are
parsed only after the number has said what they are.
"""

from __future__ import annotations

import re
import ssl

import pymysql
import sqlalchemy
from pymysql.constants import ER
from sqlalchemy.engine import ExceptionContext

from dal import errors
from dal.wire.network.channel import TimedOut, TooMuch
from dal.wire.network.connect_failed import ConnectFailed
from dal.wire.network.tls import RDS_BUNDLE
from dal.wire.session.rows import Malformed, Undecodable
from dal.wire.session.transactions import CommitUnanswered

_KEY = re.compile(r"for key '(?:(?P<table>[^'.]+)\.)?(?P<constraint>[^']+)'$")
_FOREIGN_KEY = re.compile(
    r"\(`[^`]+`\.`(?P<table>[^`]+)`, CONSTRAINT `(?P<constraint>[^`]+)` "
    r"FOREIGN KEY \((?P<columns>[^)]+)\)"
)
_CHECK = re.compile(
    r"(?:Check constraint '(?P<constraint>[^']+)'"
    r"|CONSTRAINT `(?P<mariadb>[^`]+)` failed for `[^`]+`\.`(?P<table>[^`]+)`)"
)
_COLUMN = re.compile(r"(?:[Cc]olumn|Field) '(?P<columns>[^']+)'")

_NAMES: dict[type[errors.Error], re.Pattern[str]] = {
    errors.DuplicateKey: _KEY,
    errors.ForeignKeyViolation: _FOREIGN_KEY,
    errors.CheckViolation: _CHECK,
    errors.NotNullViolation: _COLUMN,
    errors.DataTooLong: _COLUMN,
    errors.OutOfRange: _COLUMN,
}


# What to do about it, for errors whose text does not say.
_ADVICE: dict[type[errors.Error], str] = {
    errors.Deadlock: "nothing of this transaction is stored; run the whole unit of work again",
    errors.WriteConflict: "nothing of this transaction is stored; run the whole unit of work again",
    errors.LockWaitTimeout: "another transaction holds the lock; run the whole unit of work again",
    errors.LockNotAvailable: "another transaction holds the row",
    errors.ReadOnlyScope: "open the scope, or the handler, without read_only",
    errors.StatementInterrupted: "somebody ended it by KILL QUERY",
    errors.StatementTimeout: "make the statement faster or raise statement_timeout",
    errors.StatementTooLarge: "send less at once, or raise it on the server",
    errors.ConnectionLost: "what was not committed is lost; run the whole unit of work again",
}

_STAGES = {
    "name": "its name cannot be resolved; check DB_HOST and the function's DNS",
    "connect": "check that the server runs there and that the network (security group) lets "
    "this function in",
    "greeting": "it took the connection and gave no greeting: overloaded, failing over, or not "
    "MySQL",
    "protocol": "what answers there is not MySQL; check DB_HOST and DB_PORT",
    "login": "it went silent or away while logging in",
    "credentials": "see the cause; DAL_CREDENTIALS names them",
    "session": "it went silent or away after the login",
    "rsa": "without TLS the first login of a user wants RSA, which dal does not do; enable TLS",
}

# Numbers that have their name only where the text has this.
_SAID_BY_TEXT = {
    1290: "read",  # the same number names other options, too
    1180: "149",  # HA_ERR_LOCK_DEADLOCK of the storage engine
    1105: "try again later",  # TiDB's, of a changed schema; elsewhere "Unknown error"
}

# A host that is blocked, a password that has expired, an account that is locked, by hand or by
# failed logins.
_FOR_THE_ADMINISTRATOR = {1129, 1862, 3118, 3955}

_CERTIFICATE = {
    "certificate has expired": "renew it on the server",
    "Hostname mismatch": "connect by the name that the certificate is for",
    "IP address mismatch": "connect by the name that the certificate is for",
    "unable to get local issuer": RDS_BUNDLE,
    "self-signed certificate": RDS_BUNDLE,
    "self signed certificate": RDS_BUNDLE,
}


def name_the_error(context: ExceptionContext) -> BaseException | None:
    """Return the error to raise in place of SQLAlchemy's: a listener for `handle_error`."""
    original = context.original_exception
    named = named_error(original, context.statement) or _unbound(context)
    if isinstance(named, errors.ConnectionLost):
        context.is_disconnect = True  # settable, says its documentation
    owner = context.connection and context.connection.get_execution_options().get("dal_owner")
    if owner:
        # The connection told of what failed in sending or answering; this is what failed in
        # fetching, and the interrupt after which SQLAlchemy drops the connection.
        # Of a value that cannot be decoded it does not hear: nothing failed on the server.
        is_drivers = isinstance(original, pymysql.Error) and not isinstance(original, Undecodable)
        if is_drivers or not isinstance(original, Exception):
            owner.statement_failed(original)
        shown = named or context.sqlalchemy_exception or original
        owner.raised_as(original, shown)
        # PyMySQL sends it as several statements, and those before the failing one stand.
        execution = context.execution_context
        if (
            execution is not None
            and execution.executemany
            and not execution.execution_options.get("dal_is_whole")
        ):
            owner.fail(shown)
    return named


def _unbound(context: ExceptionContext) -> errors.Error | None:
    """Return the error for what failed before there was anything to send: a value, by its type.

    SQLAlchemy shows it as a `StatementError` around whatever the column's type has raised, such as
    `AttributeError`, and in its text the value.
    """
    original = context.original_exception
    if context.execution_context is not None or context.sqlalchemy_exception is None:
        return None
    if isinstance(original, errors.Error):
        return original
    if isinstance(original, pymysql.Error):
        return None
    if isinstance(original, sqlalchemy.exc.InvalidRequestError):  # bindparam() without a value
        return errors.InvalidArgument(str(original), statement=context.statement)
    if isinstance(original, sqlalchemy.exc.SQLAlchemyError):
        return None
    return errors.InvalidArgument(
        "a column's type does not take a value that it was given (its check raised "
        f"{type(original).__name__}); nothing was sent",
        statement=context.statement,
    )


def named_error(original: BaseException, statement: str | None = None) -> errors.Error | None:
    """Return `dal`'s error for the driver's; None where it has no name."""
    if not isinstance(original, pymysql.Error):
        return None
    number = original.args[0] if original.args and isinstance(original.args[0], int) else 0
    text = str(original.args[-1]) if original.args else ""
    named = _own_error(original, number, text, statement)
    if named is not None:
        return named
    kind = errors.NAMED.get(number)
    if isinstance(original, TimedOut):
        kind, text = errors.StatementTimeout, "the server did not answer in time"
    elif isinstance(original, pymysql.InterfaceError) and number == 0:
        kind, text = errors.ConnectionLost, "the connection is closed"
    elif number in _SAID_BY_TEXT and _SAID_BY_TEXT[number] not in text:
        kind = None
    return None if kind is None else _server_error(kind, number, text, statement)


def _own_error(
    original: pymysql.Error, number: int, text: str, statement: str | None
) -> errors.Error | None:
    """Return the error for one of `dal.wire`'s own; None for those of PyMySQL."""
    if isinstance(original, ConnectFailed):
        return _connect_error(original, number, text)
    if isinstance(original, CommitUnanswered):
        return errors.CommitOutcomeUnknown(
            f"COMMIT was sent, and no answer says what became of it ({text}): the transaction may "
            "or may not be stored; ask the data before running it again, by an INSERT of a unique "
            "key",
            errno=number,
        )
    lost = "the connection is closed and what was not committed is lost"
    if isinstance(original, TimedOut) and original.passed is not None:
        return errors.DeadlineExceeded(
            f"the deadline of {original.passed} passed; {lost}", statement=statement
        )
    if isinstance(original, Malformed):
        return errors.ProtocolError(
            f"the answer breaks MySQL's protocol ({text}); {lost}", statement=statement
        )
    if isinstance(original, TooMuch):
        return errors.ResultTooLarge(
            f"{text}, which is all that max_result_bytes (DAL_MAX_RESULT_BYTES) allows; {lost}; "
            "read fewer rows at once, by page() or stream(), or raise it",
            statement=statement,
        )
    if isinstance(original, Undecodable):
        return errors.UnreadableValue(
            f"{text}; HEX() of it shows the bytes",
            columns=(original.args[0],),
            statement=statement,
        )
    return None


def _server_error(
    kind: type[errors.Error], number: int, text: str, statement: str | None
) -> errors.Error:
    found = _NAMES[kind].search(text) if kind in _NAMES else None
    names = found.groupdict() if found else {}
    constraint = names.get("constraint") or names.get("mariadb")
    if kind is errors.DuplicateKey:  # MySQL's text quotes the value
        where = ".".join(filter(None, (names.get("table"), constraint)))
        text = f"another row has this value of {f'the key {where}' if where else 'a unique key'}"
    advice = f"; {_ADVICE[kind]}" if kind in _ADVICE else ""
    return kind(
        f"{text}{advice} (MySQL error {number})" if number else f"{text}{advice}",
        errno=number or None,
        constraint=constraint,
        table=names.get("table"),
        columns=tuple(part.strip(" `") for part in (names.get("columns") or "").split(",") if part),
        statement=statement,
    )


def _connect_error(original: ConnectFailed, number: int, text: str) -> errors.Error:
    if original.stage == "deadline":
        return errors.DeadlineExceeded(
            f"the deadline of {original.passed} passed while connecting to MySQL at "
            f"{original.address}"
        )
    kind = original.kind
    if number in _FOR_THE_ADMINISTRATOR:
        advice = "only an administrator of the server can mend that"
    elif kind is errors.AccessDenied:
        advice = (
            "check DB_USER and DB_PASSWORD (or DATABASE_URL), and the user's grants"
            if not original.has_credentials
            else "check what DAL_CREDENTIALS names, and the user's grants"
        )
    elif kind is errors.UnknownDatabase:
        advice = "check DB_NAME (or DATABASE_URL)"
    elif kind is errors.TooManyConnections:
        advice = "limit the functions' concurrency or raise max_connections"
    elif kind is errors.TLSError and original.stage != "rsa":
        known = (advice for sign, advice in _CERTIFICATE.items() if sign in text)
        advice = next(known, "dal wants TLS; DAL_TLS says which kind")
    elif errors.is_servers(number):
        advice = f"that is MySQL error {number}"
    else:
        advice = _STAGES[original.stage]
    if isinstance(original.__cause__, ssl.SSLCertVerificationError):
        text = f"its certificate is not trusted: {original.__cause__.verify_message}"
    error = kind(
        f"cannot connect to MySQL at {original.address}: {text}; {advice}",
        errno=number,
    )
    lasts = original.stage in {"name", "rsa"} or number == ER.USER_LIMIT_REACHED
    if lasts and not original.may_pass:
        error.transient = False
    return error
