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
    StatementTimeout,
    TLSError,
    TooManyConnections,
    TransactionControl,
    UnencodableAnswer,
    UnflushedChanges,
    UnknownDatabase,
    UsageError,
    WrongThread,
)
from dal.model import Base
from dal.repository import Repository, everything

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
    "LockWaitTimeout",
    "MultipleFound",
    "NoActiveScope",
    "NotFound",
    "NotNullViolation",
    "OutOfRange",
    "ReadOnlyScope",
    "Repository",
    "RollbackOnly",
    "ScopeEnded",
    "StaleVersion",
    "StatementTimeout",
    "TLSError",
    "TooManyConnections",
    "TransactionControl",
    "UnencodableAnswer",
    "UnflushedChanges",
    "UnknownDatabase",
    "UsageError",
    "WrongThread",
    "everything",
]
