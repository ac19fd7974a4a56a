"""Data access from AWS Lambda to MySQL: one unit of work per invocation, always fresh.

from dal import Database, Repository

db = Database.from_env()  # module level: reads settings, opens nothing

@db.handler
def handler(event, context): ...
"""

import typing

from dal.database import Database
from dal.errors import (
    AccessDenied,
    AlreadyInProgress,
    CheckViolation,
    CommitOutcomeUnknown,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    ConstraintViolation,
    DatabaseError,
    DataTooLong,
    DeadlineExceeded,
    Deadlock,
    DuplicateKey,
    Error,
    ForeignKeyViolation,
    IdempotencyError,
    InvalidArgument,
    InvalidCursor,
    LockNotAvailable,
    LockTableFull,
    LockWaitTimeout,
    MultipleFound,
    NoActiveScope,
    NotFound,
    NotNullViolation,
    OutOfRange,
    PayloadMismatch,
    ProtocolError,
    ReadOnlyScope,
    ResultTooLarge,
    RollbackOnly,
    ScopeEnded,
    StaleVersion,
    StatementInterrupted,
    StatementTimeout,
    StatementTooLarge,
    TLSError,
    TooManyConnections,
    TransactionControl,
    UnencodableAnswer,
    UnflushedChanges,
    UnknownDatabase,
    UnreadableValue,
    UsageError,
    WriteConflict,
    WrongThread,
)
from dal.model import Base
from dal.repository import Page, Repository, Upserted, everything

__version__ = "0.1.0"

if typing.TYPE_CHECKING:
    from dal.idempotency import Idempotency as Idempotency
    from dal.outbox import Message as Message
    from dal.outbox import Outbox as Outbox
    from dal.schema import tables as tables

__all__ = [
    "AccessDenied",
    "AlreadyInProgress",
    "Base",
    "CheckViolation",
    "CommitOutcomeUnknown",
    "ConfigurationError",
    "ConnectError",
    "ConnectionLost",
    "ConstraintViolation",
    "DataTooLong",
    "Database",
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
    "Page",
    "PayloadMismatch",
    "ProtocolError",
    "ReadOnlyScope",
    "Repository",
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
    "Upserted",
    "UsageError",
    "WriteConflict",
    "WrongThread",
    "everything",
]

# Loaded by those who use them.
_LATER = {
    "Idempotency": "dal.idempotency",
    "Message": "dal.outbox",
    "Outbox": "dal.outbox",
    "tables": "dal.schema",
}


def __getattr__(name: str) -> typing.Any:
    if name in _LATER:
        from importlib import import_module  # noqa: PLC0415  # for those who ask

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'dal' has no attribute {name!r}")
