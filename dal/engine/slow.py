"""Telling of statements that took long, by their kind and without their values."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext

from dal.engine.fingerprint import fingerprint
from dal.engine.line import Line, milliseconds

log = logging.getLogger("dal.slow")

# What PyMySQL has for the number of rows that are still to come.
_STREAM = 2**64 - 1


def tell_of_slow_statements(engine: Engine, limit: float) -> None:
    """Log each statement of `engine` that takes `limit` seconds or more, failed ones included.

    Its parameters never come here: the text is SQLAlchemy's, from before the driver puts them in.
    What user code wrote into the text itself goes with the fingerprint. A statement lasts until its
    rows are read; a stream until they begin to come.
    """

    def begin(*event_arguments: Any) -> None:
        *_, context, _many = event_arguments
        context.dal_began = time.monotonic()

    def end(*event_arguments: Any) -> None:
        _connection, cursor, statement, _parameters, context, _many = event_arguments
        tell(context, statement, rows=None if cursor.rowcount == _STREAM else cursor.rowcount)

    def fail(failure: ExceptionContext) -> None:
        if failure.statement is not None:
            # What a listener before has named it; without one there is no such attribute.
            named = getattr(failure, "chained_exception", None)
            error = named or failure.original_exception
            tell(failure.execution_context, failure.statement, error=type(error).__name__)

    def tell(context: Any, statement: str, **more: Any) -> None:
        seconds = time.monotonic() - getattr(context, "dal_began", math.inf)
        if seconds >= limit:
            line = Line(statement_ms=milliseconds(seconds), **more)
            line["fingerprint"] = fingerprint(statement)
            log.warning(line)

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)
