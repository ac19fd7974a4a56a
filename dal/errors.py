"""What can go wrong, as one tree and one table.

Error:
     ├─ ConfigurationError         a setting is wrong; names the variable, never a secret
     ├─ UsageError                 the calling code breaks a rule; says which and what to write
     │   ├─ NoActiveScope          a session was asked for outside `db.scope()` or a handler
     │   ├─ ScopeEnded             a session or connection was used after its scope
     │   ├─ WrongThread            a scope was used from a thread that did not open it
     │   ├─ TransactionControl     COMMIT, BEGIN, DDL and their like inside a scope
     │   ├─ ReadOnlyScope          a write, a lock or a savepoint in a read-only scope
     │   ├─ UnflushedChanges       a read that would overwrite changes not written yet
     │   └─ InvalidArgument        a value that cannot mean anything here
     │       └─ InvalidCursor      a page token that is not of this ordering, or was altered
     ├─ RollbackOnly               the scope goes on after something already ended it
     ├─ UnencodableAnswer          the handler's answer is not JSON, or too large
     ├─ NotFound, MultipleFound    a row that must be there, or must be alone
     ├─ UnreadableValue            a column holds what Python has no value for
     ├─ IdempotencyError           an event that is repeated, and has no answer to be given
     │   ├─ AlreadyInProgress      another invocation is at work on the same key
     │   └─ PayloadMismatch        the key was used before, with another payload
     ├─ StaleVersion               the row has another version than the one it was read with
     ├─ DeadlineExceeded           no time left in this invocation
     └─ DatabaseError              what the server or the connection said, by error number
         ├─ ConnectError           no connection was made; nothing began
         │   └─ AccessDenied, UnknownDatabase, TooManyConnections, TLSError
         ├─ ConnectionLost         the transaction went with the connection
         ├─ ProtocolError          an answer that breaks MySQL's protocol; the connection is closed
         ├─ ResultTooLarge         an answer above `max_result_bytes`; the connection is closed
         ├─ StatementTooLarge      a statement above the server's `max_allowed_packet`
         ├─ CommitOutcomeUnknown   COMMIT was sent, its answer never came
         ├─ Deadlock, WriteConflict, LockTableFull, LockWaitTimeout, LockNotAvailable
         ├─ StatementTimeout, StatementInterrupted
         ├─ ConstraintViolation
         │   └─ DuplicateKey, ForeignKeyViolation, CheckViolation, NotNullViolation
         └─ DataTooLong, OutOfRange

What has no name here passes through as SQLAlchemy raised it. Of every named error, `__cause__` is
the driver's own; a `DatabaseError` is SQLAlchemy's error of that kind, too. Numbers are those of
the MySQL Server Error Message Reference; what each leaves behind follows the manual's "InnoDB Error
Handling".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import exc

__all__ = [
    "COMMIT_REFUSED",
    "DEMOTED",
    "NAMED",
    "STATEMENT_ONLY",
    "AccessDenied",
    "AlreadyInProgress",
    "CheckViolation",
    "CommitOutcomeUnknown",
    "ConfigurationError",
    "ConnectError",
    "ConnectionLost",
    "ConstraintViolation",
    "DataTooLong",
    "DatabaseError",
    "DeadlineExceeded",
    "Deadlock",
    "DuplicateKey",
    "Error",
    "ForeignKeyViolation",
    "IdempotencyError",
    "InvalidArgument",
    "InvalidCursor",
    "LockNotAvailable",
    "LockTableFull",
    "LockWaitTimeout",
    "MultipleFound",
    "NoActiveScope",
    "NotFound",
    "NotNullViolation",
    "OutOfRange",
    "PayloadMismatch",
    "ProtocolError",
    "ReadOnlyScope",
    "ResultTooLarge",
    "RollbackOnly",
    "ScopeEnded",
    "StaleVersion",
    "StatementInterrupted",
    "StatementTimeout",
    "StatementTooLarge",
    "TLSError",
    "TooManyConnections",
    "TransactionControl",
    "UnencodableAnswer",
    "UnflushedChanges",
    "UnknownDatabase",
    "UnreadableValue",
    "UsageError",
    "WriteConflict",
    "WrongThread",
]


class Error(Exception):
    """The root of all errors of `dal`.

    Attributes:
        errno: MySQL's error number, or None where no server spoke.
        transient: Whether running the whole unit of work again may succeed.
        transaction_lost: Whether the transaction is gone, with everything written in it.
        constraint, table, columns: The names that the server gave, where it gave any.
        statement: The SQL text without its parameters, where there was a statement.
        attempts: The errors of the attempts before this one, where the unit of work ran again.
    """

    transient: bool = False
    transaction_lost: bool = False
    attempts: tuple[Exception, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        errno: int | None = None,
        constraint: str | None = None,
        table: str | None = None,
        columns: tuple[str, ...] = (),
        statement: str | None = None,
    ) -> None:
        Exception.__init__(self, message)  # not SQLAlchemy's, which takes other arguments
        self.errno = errno
        self.constraint = constraint
        self.table = table
        self.columns = columns
        self.statement = statement

    def __str__(self) -> str:
        """Return the message alone."""
        return Exception.__str__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive pickling, as SQLAlchemy's errors do: keyword arguments come back as state."""
        return type(self), self.args, self.__dict__


class ConfigurationError(Error, ValueError):
    """A setting is missing or wrong. Names the setting and its variable, never its secret."""


class UsageError(Error):
    """The calling code breaks a rule of `dal`; the message says what to write instead."""


class NoActiveScope(UsageError):
    """A session was asked for where no scope is open."""


class ScopeEnded(UsageError):
    """A session, a connection or an object of it was used after its scope had ended."""


class WrongThread(UsageError):
    """A scope was used from a thread that did not open it."""


class TransactionControl(UsageError):
    """Code inside a scope tried to begin, commit or roll back, or to run what commits by itself.

    Or the server shows that something has done so, and then what ran in the scope may be stored; or
    a savepoint did not end as the innermost one.
    """


class ReadOnlyScope(UsageError):
    """A write, a lock or a savepoint in a read-only scope."""


class UnflushedChanges(UsageError):
    """A read with autoflush off would have overwritten changes that are not written yet."""


class InvalidArgument(UsageError, ValueError, exc.DontWrapMixin):
    """An argument that cannot mean anything here, or a value that MySQL would change on the way.

    SQLAlchemy passes it on as it is where it is raised inside a statement.
    """


class InvalidCursor(InvalidArgument):
    """A page token of another ordering, truncated or altered; usually the client's fault."""


class UnreadableValue(Error, ValueError):
    """A column holds what Python has no value for; `columns` names it, no message shows the value.

    Such as the date 0000-00-00, a text that is none of its Enum, or bytes that are no text in the
    connection's character set. The answer was read to its end, and the scope goes on.
    """


class StaleVersion(Error):
    """The row was changed by another transaction since it was read: its version differs."""

    transient = True


class RollbackOnly(Error):
    """The scope was used, or left normally, after an exception had already ended it.

    `__cause__` is that exception.
    """


class UnencodableAnswer(Error, TypeError):
    """The handler's answer cannot leave: not JSON, or larger than Lambda lets through."""


class IdempotencyError(Error):
    """An event with a key that was used before, and no answer to give for it."""


class AlreadyInProgress(IdempotencyError):
    """Another invocation is at work on the same key, and did not end while this one waited.

    The handler has not begun. Repeat the event later, as a queue does: answer 409 over HTTP.
    """

    transient = True


class PayloadMismatch(IdempotencyError):
    """The key was used before, with another payload: two events share it. Answer 422 over HTTP."""


class NotFound(Error, LookupError):
    """No row has this identity, or fits these conditions.

    Attributes:
        keys: The keys that no row has, all of them; empty where conditions were asked for.
            `get_many` gives those of several columns as tuples.
    """

    def __init__(self, message: str, *, keys: Sequence[Any] = (), **named: Any) -> None:
        super().__init__(message, **named)
        self.keys = tuple(keys)


class MultipleFound(Error, LookupError):
    """More than one row fits where one was asked for."""


class DeadlineExceeded(Error):
    """The time of this invocation, less its reserve, is used up."""

    transaction_lost = True


class DatabaseError(Error, exc.DatabaseError):
    """What the server, or the way to it, answered.

    It is SQLAlchemy's error of that kind as well (`IntegrityError`, `DataError`,
    `OperationalError`), for code that knows nothing of `dal`.
    """

    params = None  # values, which errors do not hold
    ismulti = None
    hide_parameters = True
    connection_invalidated = False

    def __init__(self, message: str, **named: Any) -> None:
        super().__init__(message, **named)
        self.detail: list[str] = []  # SQLAlchemy adds to it where autoflush raised this

    @property
    def orig(self) -> BaseException | None:  # type: ignore[override]
        """The driver's error, which is also `__cause__`."""
        return self.__cause__


class ConnectError(DatabaseError, exc.OperationalError):
    """No connection was made. Nothing began, so nothing is lost."""

    transient = True


class AccessDenied(ConnectError):
    """The server refused the user, the password or the host (1045, 1044, 1130, 1251, 1698).

    So it does by 1129 (too many errors of this host), 1862 (password expired), 3118 (locked), 3955
    (too many failed logins of this account: each further try may lock it for longer).
    """

    transient = False


class UnknownDatabase(ConnectError):
    """The server has no database of that name (1049)."""

    transient = False


class TooManyConnections(ConnectError):
    """The server, or the account, has no connection left (1040, 1203, 1226)."""


class TLSError(ConnectError):
    """No trusted TLS connection: wrong certificate, or none offered (2026, 3159).

    Also 2061: the server asks for the password in clear text, which needs `tls="verify"`.
    """

    transient = False


class ConnectionLost(DatabaseError, exc.OperationalError):
    """The connection is gone, and the transaction with it. COMMIT had not been sent."""

    connection_invalidated = True
    transient = True
    transaction_lost = True


class ProtocolError(DatabaseError, exc.InternalError):
    """The server's answer is none by MySQL's protocol: broken, or not MySQL's. COMMIT was not sent.

    The connection is closed, and the transaction went with it. Not transient: who answers so once
    will do so again.
    """

    connection_invalidated = True
    transaction_lost = True


class ResultTooLarge(DatabaseError, exc.OperationalError):
    """An answer, or one row of a stream, has more bytes than `max_result_bytes`.

    The rest is not read: the connection is closed, and the transaction went with it.
    """

    connection_invalidated = True
    transaction_lost = True


class StatementTooLarge(DatabaseError, exc.OperationalError):
    """The statement is larger than the server's `max_allowed_packet` (1153).

    The server closes the connection then, and the transaction goes with it. Not transient.
    """

    connection_invalidated = True
    transaction_lost = True


class CommitOutcomeUnknown(DatabaseError, exc.OperationalError):
    """COMMIT was sent, and no answer came that says what became of it: perhaps it is stored.

    So it is too where the answer is an error that is not known to mean a rollback, such as 3100
    of a member that left its group: of those, some were stored. Never retried by `dal`. Ask the
    data before running it again, by an INSERT of a unique key of your own: `DuplicateKey` means
    that it is stored. A SELECT that finds nothing proves nothing, as COMMIT may still be pending.
    """


class Deadlock(DatabaseError, exc.OperationalError):
    """InnoDB chose this transaction to end a deadlock and rolled all of it back (1213)."""

    transient = True
    transaction_lost = True


class WriteConflict(DatabaseError, exc.OperationalError):
    """Another node committed a change of the same rows first; all of it is rolled back.

    Group Replication with several primaries says so by 3101, or by 1180 with InnoDB's error 149
    (https://dev.mysql.com/doc/refman/8.4/en/group-replication-limitations.html); TiDB by 8002,
    8005, 8022, 8028, 8147, 9007, and by 1105 where the schema has changed.
    """

    transient = True
    transaction_lost = True


class LockWaitTimeout(DatabaseError, exc.OperationalError):
    """A lock was not granted in time (1205).

    InnoDB undid only the statement and kept the transaction and its locks, which would commit half
    of the work: the scope is rolled back.
    """

    transient = True


class LockTableFull(DatabaseError, exc.OperationalError):
    """InnoDB had no room for more locks and rolled the whole transaction back (1206)."""

    transient = True
    transaction_lost = True


class LockNotAvailable(DatabaseError, exc.OperationalError):
    """A read with NOWAIT met a lock (3572). Only the statement is undone; the scope goes on."""

    transient = True


class StatementTimeout(DatabaseError, exc.OperationalError):
    """A statement ran longer than `statement_timeout` (3024), or the server fell silent in it."""

    transaction_lost = True


class StatementInterrupted(DatabaseError, exc.OperationalError):
    """Somebody ended the statement by KILL QUERY (1317).

    InnoDB undid only the statement; the scope is rolled back. Not transient: it was meant to end.
    """


class ConstraintViolation(DatabaseError, exc.IntegrityError):
    """A row that a constraint of the table refuses. Only the statement is undone."""


class DuplicateKey(ConstraintViolation):
    """Another row has this value of a unique key (1062, 1586)."""


class ForeignKeyViolation(ConstraintViolation):
    """The parent row is missing, or still has children (1451, 1452, 1216, 1217)."""


class CheckViolation(ConstraintViolation):
    """A CHECK constraint said no (3819; 4025 on MariaDB)."""


class NotNullViolation(ConstraintViolation):
    """NULL, or nothing, for a column that needs a value (1048, 1364)."""


class DataTooLong(DatabaseError, exc.DataError):
    """The value is longer than its column (1406). Only the statement is undone."""


class OutOfRange(DatabaseError, exc.DataError):
    """The number or date is outside the range of its column (1264). Only the statement is undone.

    1690, a number outside its type in an expression, counts as well.
    """


#: The one table: MySQL's error number -> class, once a connection stands.
NAMED: dict[int, type[Error]] = {
    1792: ReadOnlyScope,
    1048: NotNullViolation,
    1364: NotNullViolation,
    1062: DuplicateKey,
    1586: DuplicateKey,
    1216: ForeignKeyViolation,
    1217: ForeignKeyViolation,
    1451: ForeignKeyViolation,
    1452: ForeignKeyViolation,
    3819: CheckViolation,
    4025: CheckViolation,
    1406: DataTooLong,
    1264: OutOfRange,
    1690: OutOfRange,
    3572: LockNotAvailable,
    1205: LockWaitTimeout,
    1213: Deadlock,
    1206: LockTableFull,
    3024: StatementTimeout,
    1969: StatementTimeout,  # MariaDB's max_statement_time
    1317: StatementInterrupted,
    1153: StatementTooLarge,
    1047: ConnectionLost,
    1053: ConnectionLost,
    1290: ConnectionLost,  # see DEMOTED
    1836: ConnectionLost,
    3032: ConnectionLost,
    3101: WriteConflict,
    1180: WriteConflict,  # with InnoDB's error 149 alone
    8002: WriteConflict,
    8005: WriteConflict,
    8022: WriteConflict,
    8028: WriteConflict,
    8147: WriteConflict,
    9007: WriteConflict,
    1105: WriteConflict,  # where TiDB says "try again later"
    9001: ConnectionLost,
    9002: ConnectionLost,
    9003: ConnectionLost,
    9004: ConnectionLost,
    9005: ConnectionLost,
    1927: ConnectionLost,
    2006: ConnectionLost,
    2013: ConnectionLost,
    2014: ConnectionLost,
    2045: ConnectionLost,
    2055: ConnectionLost,
    3168: ConnectionLost,
    3169: ConnectionLost,
    4031: ConnectionLost,
}

#: While connecting, these have classes of their own; everything else is a plain `ConnectError`.
NAMED_WHILE_CONNECTING: dict[int, type[ConnectError]] = {
    1040: TooManyConnections,
    1203: TooManyConnections,
    1226: TooManyConnections,
    1044: AccessDenied,
    1045: AccessDenied,
    1130: AccessDenied,
    1251: AccessDenied,
    1698: AccessDenied,
    1129: AccessDenied,
    1862: AccessDenied,
    3118: AccessDenied,
    3955: AccessDenied,
    1049: UnknownDatabase,
    2026: TLSError,
    2061: TLSError,
    3159: TLSError,
}

#: What a node says that takes no writes, or nothing at all, for now: a demoted writer (1290, 1836),
#: a Galera node without quorum (1047), a member that has left its group (3032, offline mode). The
#: connection leads to the wrong node, and so does the name for a while: a failover of RDS or
#: Aurora moves it, with a time to live of five seconds.
DEMOTED = frozenset({1290, 1836, 1047, 3032})

#: The numbers by which COMMIT is surely refused and rolled back. Any other leaves it open: 3100
#: ("Error on observer while running replication hook") of a primary that was cut off from its group
#: was stored in 14 of 79 cases. 1180 is sure with InnoDB's error 149 only.
COMMIT_REFUSED = frozenset(
    {1062, 1180, 1197, 1205, 1213, 1290, 1452, 1792, 1836, 3101}
    | {8002, 8005, 8022, 8028, 9007}  # TiDB's
)

#: Errors that undo their own statement and nothing else: the scope goes on after them. Everything
#: that is not listed here makes it rollback-only. The second row has no class of its own: type
#: conversions, a missing table or column, bad syntax, a missing privilege.
STATEMENT_ONLY = frozenset(
    {1048, 1364, 1062, 1586, 1216, 1217, 1451, 1452, 3819, 4025, 1406, 1264, 1690, 3572}
    | {1265, 1292, 1366, 1365, 3140, 1242, 1146, 1054, 1064, 1142, 1143, 1792}
)


def is_servers(number: object) -> bool:
    """Return whether this is an error number of the server's; 2000 to 2999 are the client's."""
    return isinstance(number, int) and (1000 <= number < 2000 or number >= 3000)
