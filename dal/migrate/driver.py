"""A place below all that SQLAlchemy and `run()` do: where a statement goes to the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import Engine

Take = Callable[[Any, str, Callable[[str], Any]], Any]


def stand_before_the_driver(engine: Engine, take: Take) -> None:
    """Have `take(cursor, sql, run)` called for each statement of this engine; `run` sends a text.

    Events come above the guard of `run()`, which answers some statements itself and changes others.
    """
    dialect: Any = engine.dialect
    plain, bare, many = dialect.do_execute, dialect.do_execute_no_params, dialect.do_executemany

    def do_execute(cursor: Any, sql: str, parameters: Any, context: Any = None) -> None:
        take(cursor, sql, lambda text: plain(cursor, text, parameters, context))

    def do_execute_no_params(cursor: Any, sql: str, context: Any = None) -> None:
        take(cursor, sql, lambda text: bare(cursor, text, context))

    def do_executemany(cursor: Any, sql: str, parameters: Any, context: Any = None) -> None:
        take(cursor, sql, lambda text: many(cursor, text, parameters, context))

    dialect.do_execute = do_execute
    dialect.do_execute_no_params = do_execute_no_params
    dialect.do_executemany = do_executemany
