"""SQLAlchemy's PyMySQL dialect, less the questions whose answers are known.

SQLAlchemy asks a new server for its version, schema, isolation level, SQL mode and case rule, and
each new connection for its character set. All but one are in the greeting, in the settings, or
fixed by the one SET; the case of table names is asked when reflection first wants it.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.engine import URL, Engine, reflection
from sqlalchemy.engine.interfaces import ConnectArgsType
from sqlalchemy.pool import NullPool, Pool

from dal.engine.assignments import Compiler as AssigningCompiler
from dal.engine.compiling import TIME
from dal.engine.compiling import Compiler as CheckingCompiler
from dal.engine.compiling import ExecutionContext as ReadingContext
from dal.engine.documents import serialize
from dal.engine.expanding import Compiler as ExpandingCompiler
from dal.engine.keys import ExecutionContext as InsertingContext
from dal.engine.translate import name_the_error
from dal.settings import Settings
from dal.wire.connecting import connect
from dal.wire.session.cursors import executemany
from dal.wire.session.state import SQL_MODE

# SELECT ... INTO gives no rows; INSERT ... RETURNING, written by hand, does.
_INTO = re.compile(r"\bINTO\b", re.IGNORECASE)
_RETURNING = re.compile(r"\bRETURNING\b", re.IGNORECASE)


def reads(statement: str) -> bool:
    """Return whether a statement of the user's own begins as one that answers rows."""
    return statement[:6].upper() == "SELECT"


class Compiler(AssigningCompiler, ExpandingCompiler, CheckingCompiler):
    """SQLAlchemy's compiler with what `dal` changes in statements."""


class ExecutionContext(InsertingContext, ReadingContext):
    """SQLAlchemy's context with what `dal` looks at before and after a statement."""


class Dialect(MySQLDialect_pymysql):
    """`mysql+dal`: SQLAlchemy's `mysql+pymysql`, asking nothing at connect."""

    driver = "dal"
    supports_statement_cache = True
    statement_compiler = Compiler
    execution_ctx_cls = ExecutionContext
    colspecs = {**MySQLDialect_pymysql.colspecs, sa.Time: TIME}  # noqa: RUF012
    default_isolation_level = "READ COMMITTED"
    #: What signs page tokens; None where nothing does.
    page_token_key: bytes | None = None

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return PyMySQL."""
        import pymysql  # noqa: PLC0415  # as SQLAlchemy's own: at engine time

        return pymysql

    @classmethod
    def get_pool_class(cls, url: URL) -> type[Pool]:  # noqa: ARG003
        """Return NullPool: a connection that outlives its use shows old rows to the next."""
        return NullPool

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Let the engine name the driver's errors, hide values in them, and keep documents."""
        engine.hide_parameters = True
        dialect: Any = engine.dialect
        dialect._json_serializer = dialect._json_serializer or serialize  # noqa: SLF001
        event.listen(engine, "handle_error", name_the_error, retval=True)

    def create_connect_args(self, url: URL, _: Any = None) -> ConnectArgsType:
        """Return what `connect` takes: the URL as it is."""
        return [url], {}  # type: ignore[list-item]  # only `connect` looks at it

    def connect(self, *cargs: Any, **cparams: Any) -> Any:
        """Connect as `dal` does, to a URL; keywords are settings.

        An engine of `dal.engine.create_engine` has its own way to here. This one is for
        `sqlalchemy.create_engine("mysql+dal://...")`.

        Raises:
            ConfigurationError: the URL or a keyword is wrong.
        """
        (url,) = cargs
        return connect(Settings.from_url(url, **cparams))

    def on_connect(self) -> None:  # type: ignore[override]
        """Add nothing: the session is set already."""
        return

    def initialize(self, connection: Any) -> None:
        """Learn the server from its greeting; sends nothing."""
        dbapi_connection = connection.connection.dbapi_connection
        self._connection_charset = "utf8mb4"
        self._parse_server_version(dbapi_connection.server_version)
        database = dbapi_connection.db
        self.default_schema_name = database.decode() if isinstance(database, bytes) else database
        self._sql_mode = SQL_MODE
        self._detect_ansiquotes(connection)
        self._dispatch_for_vendor(self._initialize_mysql, self._initialize_mariadb, connection)
        self.supports_native_uuid = False  # MariaDB's is another type than before it was reached

    @functools.cached_property
    def _case_rule_is_known(self) -> bool:
        return False

    @reflection.cache
    def get_foreign_keys(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        """Reflect foreign keys, whose names need the server's `lower_case_table_names`."""
        if not self._case_rule_is_known:
            self._detect_casing(connection)
            if self._is_mysql:
                self._initialize_mysql(connection)
            self._case_rule_is_known = True
        return super().get_foreign_keys(connection, table_name, schema, **kw)

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Run a statement; a result where none can be, or none where one must be, is no answer."""
        cursor.execute(statement, parameters)
        compiled = context and context.compiled
        if cursor.description is None:
            is_wrong = bool(getattr(compiled, "_result_columns", None)) or reads(statement)
            is_wrong = is_wrong and not _INTO.search(statement)
        else:
            is_written = compiled and (compiled.isinsert or compiled.isupdate or compiled.isdelete)
            is_wrong = is_written and not compiled._result_columns  # noqa: SLF001
            is_wrong = is_wrong and not _RETURNING.search(statement)
        if is_wrong:
            cursor.connection.refuse_answer()

    def do_executemany(
        self, cursor: Any, statement: str, parameters: Any, context: Any = None
    ) -> None:
        """Run a statement with many parameters; `name_the_error` hears of one that fails."""
        rowcount = executemany(cursor, statement, parameters)
        if context is not None:
            context._rowcount = rowcount  # noqa: SLF001  # as SQLAlchemy's own

    def do_rollback_to_savepoint(self, connection: Any, name: str) -> None:
        """Roll back to a savepoint, unless the whole transaction goes anyway.

        After a deadlock the savepoint is gone, and asking for it would hide 1213 behind 1305.
        """
        owner = connection.connection.dbapi_connection.owner
        if owner is None or not owner.is_lost_or_refused:
            super().do_rollback_to_savepoint(connection, name)  # type: ignore[no-untyped-call]
