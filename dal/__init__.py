"""Data access from AWS Lambda to MySQL: one unit of work per invocation, always fresh.

from dal import Database, Repository

db = Database.from_env()  # module level: reads settings, opens nothing

@db.handler
def handler(event, context): ...
"""

from dal.database import Database
from dal.errors import (
    AccessDenied,
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
    ReadOnlyScope,
    RollbackOnly,
    ScopeEnded,
    StaleVersion,
    StatementInterrupted,
    StatementTimeout,
    TLSError,
    TooManyConnections,
    TransactionControl,
    UnencodableAnswer,
    UnflushedChanges,
    UnknownDatabase,
    UsageError,
    WriteConflict,
    WrongThread,
)
from dal.model import Base
from dal.repository import Page, Repository, Upserted, everything

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
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
    "ReadOnlyScope",
    "Repository",
    "RollbackOnly",
    "ScopeEnded",
    "StaleVersion",
    "StatementInterrupted",
    "StatementTimeout",
    "TLSError",
    "TooManyConnections",
    "TransactionControl",
    "UnencodableAnswer",
    "UnflushedChanges",
    "UnknownDatabase",
    "Upserted",
    "UsageError",
    "WriteConflict",
    "WrongThread",
    "everything",
]
