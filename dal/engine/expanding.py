"""The values of an IN: a list among them is a row, and no value."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects.mysql.mysqldb import MySQLCompiler_mysqldb

from dal.errors import InvalidArgument


class Compiler(MySQLCompiler_mysqldb):
    """Refuses what SQLAlchemy, for want of a type, writes as `lower(token) IN ((0))`: IN (0)."""

    def _literal_execute_expanding_parameter(
        self, name: str, parameter: Any, values: Any, **options: Any
    ) -> Any:
        if values and isinstance(values[0], list | tuple) and len(values[0]) == 1:
            kind = parameter.type._unwrapped_dialect_impl(self.dialect)  # noqa: SLF001
            if not kind._is_tuple_type:  # noqa: SLF001
                raise InvalidArgument(
                    f"in_() takes values, not {type(values[0]).__name__}; rows go with tuple_()"
                )
        expand: Any = super()._literal_execute_expanding_parameter
        return expand(name, parameter, values, **options)
