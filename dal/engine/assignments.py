"""The order of an UPDATE's assignments: every expression reads the values from before it.

MySQL assigns from left to right, and an expression reads what was assigned before it (manual,
"UPDATE Statement", https://dev.mysql.com/doc/refman/8.4/en/update.html). SQLAlchemy writes the
assignments in the order of the table's columns. So `{"x": T.x + 1, "y": T.x}` would give y the new
x, and a swap would copy. Here an expression comes before the assignments of the columns that it
reads; where no order can do that, the statement is refused before it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.mysql.mysqldb import MySQLCompiler_mysqldb
from sqlalchemy.sql import coercions, roles, visitors

from dal.errors import InvalidArgument

_WORD = re.compile(r"[\w$]+")


class Compiler(MySQLCompiler_mysqldb):
    """SQLAlchemy's compiler for MySQL, which puts assignments into an order that reads old values.

    `Update.ordered_values()`, and a list given to `on_duplicate_key_update()`, stay as they are:
    who writes those wants MySQL's way.
    """

    def visit_update(self, update_stmt: Any, visiting_cte: Any = None, **kw: Any) -> str:
        """Return the UPDATE.

        Raises:
            InvalidArgument: expressions read each other's columns, as in a swap.
        """
        state = update_stmt._compile_state_factory(update_stmt, self, **kw)  # noqa: SLF001
        if not state._maintain_values_ordering:  # noqa: SLF001
            _put_in_order(state, self.column_keys or ())
        made: Any = SimpleNamespace(_compile_state_factory=lambda *_, **__: state)
        return super().visit_update(made, visiting_cte=visiting_cte, **kw)

    def visit_on_duplicate_key_update(self, on_duplicate: Any, **kw: Any) -> str:
        """Return the clause.

        Raises:
            InvalidArgument: as `visit_update`.
        """
        if not on_duplicate._parameter_ordering:  # noqa: SLF001
            table = self.current_executable.table
            values = {
                coercions.expect_as_key(roles.DMLColumnRole, key): value
                for key, value in on_duplicate.update.items()
            }
            columns = {table.c[key]: value for key, value in values.items() if key in table.c}
            order = _order(columns, columns)
            if order is not None:
                on_duplicate = on_duplicate._clone()  # noqa: SLF001
                on_duplicate._parameter_ordering = [column.key for column in order]  # noqa: SLF001
        return super().visit_on_duplicate_key_update(on_duplicate, **kw)


def _put_in_order(state: Any, plain: Iterable[Any]) -> None:
    """Change the order of a statement's assignments where that matters.

    Args:
        state: SQLAlchemy's state of the statement.
        plain: The keys of what is assigned a plain value at execution.
    """
    table = state.statement.table
    given: Mapping[Any, Any] = state._dict_parameters or {}  # noqa: SLF001
    columns = {_column(table, key): key for key in (*given, *plain)}
    columns.pop(None, None)
    values = {column: given[key] for column, key in columns.items() if key in given}
    by_default: dict[Any, Any] = {
        column: column.onupdate.arg  # type: ignore[attr-defined]
        for column in getattr(table, "c", ())
        if isinstance(column, sa.Column)
        and column not in columns
        and column.onupdate is not None
        and column.onupdate.is_clause_element
    }
    order = _order({**values, **by_default}, {*columns, *by_default})
    if order is None:
        return
    if state.is_multitable:
        raise InvalidArgument(
            f"an UPDATE of several tables assigns {_names(columns)}, and an expression reads one "
            "of them: MySQL assigns in any order then; update one table at a time"
        )
    ordered = {columns.get(column, column): {**values, **by_default}[column] for column in order}
    state._dict_parameters = {**ordered, **given}  # noqa: SLF001
    state._no_parameters = False  # noqa: SLF001
    state._maintain_values_ordering = True  # noqa: SLF001


def _column(table: Any, key: Any) -> Any:
    return table.c.get(key) if isinstance(key, str) else key


def _order(values: Mapping[Any, Any], assigned: Iterable[Any]) -> list[Any] | None:
    """Return the columns with expressions in the order to assign them; None where any will do.

    Raises:
        InvalidArgument: there is no such order.
    """
    places = {(hash(column.table), column.name.lower()): column for column in assigned}
    reads = {
        column: {places[place] for place in _read(value, places)} - {column}
        for column, value in values.items()
        if isinstance(value, sa.ClauseElement) or hasattr(value, "__clause_element__")
    }
    if not any(reads.values()):
        return None
    order: list[Any] = []
    while reads:
        free = next(
            (each for each in reads if not any(each in read for read in reads.values())), None
        )
        if free is None:
            raise InvalidArgument(
                f"the new values of {_names(reads)} read each other's columns, and MySQL assigns "
                "from left to right: read the rows first, with a lock, and assign plain values"
            )
        order.append(free)
        del reads[free]
    return order


def _read(expression: Any, places: Mapping[tuple[int, str], Any]) -> Iterator[tuple[int, str]]:
    """Yield which of these columns the expression reads, those named in its text included."""
    if hasattr(expression, "__clause_element__"):
        expression = expression.__clause_element__()
    part: Any
    for part in visitors.iterate(expression):
        if isinstance(part, sa.TextClause) or getattr(part, "is_literal", False):
            text = part.text if isinstance(part, sa.TextClause) else part.name
            words = {word.lower() for word in _WORD.findall(str(text))}
            yield from (place for place in places if place[1] in words)
        elif isinstance(part, sa.ColumnClause):
            name = str(part.name).lower()
            if part.table is None:
                yield from (place for place in places if place[1] == name)
            elif (hash(part.table), name) in places:
                yield (hash(part.table), name)
            if isinstance(part, sa.Column) and part.computed is not None:
                yield from _read(part.computed.sqltext, places)


def _names(columns: Iterable[Any]) -> str:
    return ", ".join(sorted(column.name for column in columns))
