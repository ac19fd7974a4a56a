"""How autogenerate writes types: as SQLAlchemy's own, so that a revision stands by itself.

A revision is a record of what was done. One that named a model's TypeDecorator would change with
the model's package, and would first of all need its import. Whatever a type is made of, this
server's column is what it says in DDL; so a revision gets the plain type with the same DDL.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import sqlalchemy as sa
from alembic.autogenerate.api import AutogenContext
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import CompileError
from sqlalchemy.types import TypeEngine


class SQLType(sa.types.UserDefinedType[Any]):
    """A type that SQLAlchemy has no class for, such as `SQLType("POINT SRID 4326")`."""

    cache_ok = True

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def get_col_spec(self, **_: Any) -> str:
        """Return the type as it stands in DDL."""
        return self.sql


def _ddl(type_: TypeEngine[Any], dialect: Dialect) -> str:
    return dialect.type_compiler_instance.process(type_)


def _undecorated(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return what a variant and its decorators come down to for this dialect."""
    while True:
        variant = type_._variant_mapping.get(dialect.name)  # noqa: SLF001  # as Alembic reads it
        if variant is not None:
            type_ = variant
        elif isinstance(type_, sa.TypeDecorator):
            type_ = type_.load_dialect_impl(dialect)
        else:
            return type_


def _is_sqlalchemys(module: str) -> bool:
    return module.partition(".")[0] == "sqlalchemy"


def _plain(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return the nearest of SQLAlchemy's own types, without what belongs to Python's side."""
    type_ = _undecorated(type_, dialect)
    for own in type(type_).__mro__:
        if _is_sqlalchemys(own.__module__):
            return type_ if own is type(type_) else type_.adapt(own)
    return type_


def _written(type_: TypeEngine[Any]) -> tuple[str, str | None]:
    """Return a type as Python, and the dialect to import for it."""
    if type(type_) is sa.Enum:
        return _written_enum(type_), None
    dialect = re.match(r"sqlalchemy\.dialects\.(\w+)", type(type_).__module__)
    if dialect:
        return f"{dialect[1]}.{type_!r}", dialect[1]
    return f"sa.{type_!r}", None


def _written_enum(type_: sa.Enum) -> str:
    """Return an Enum by its values: its Python class belongs to the models."""
    arguments = [repr(value) for value in type_.enums]
    if type_.name:
        arguments.append(f"name={str(type_.name)!r}")
    if not type_.native_enum:
        arguments += ["native_enum=False", f"length={type_.length}"]
        if type_.create_constraint:
            arguments.append("create_constraint=True")
    return f"sa.Enum({', '.join(arguments)})"


def _evaluates(python: str, wanted: str, dialect: Dialect) -> bool:
    """Answer whether a revision that says so would get the same DDL."""
    try:
        made = eval(python, {"__builtins__": {}, "sa": sa, "mysql": mysql})  # noqa: S307
        return _ddl(made, dialect) == wanted
    except Exception:  # noqa: BLE001  # a repr that is no Python, in whatever way
        return False


def render_type(type_: TypeEngine[Any], context: AutogenContext) -> str | Literal[False]:
    """Return one type in plain SQLAlchemy, with the same DDL on this server."""
    dialect = context.dialect
    try:
        wanted = _ddl(type_, dialect)
    except CompileError:  # reflected from what SQLAlchemy does not know, or another server's type
        return False
    plain = _plain(type_, dialect)
    python, needed = _written(plain)
    if _evaluates(python, wanted, dialect):
        if needed:
            context.imports.add(f"from sqlalchemy.dialects import {needed}")
        return python
    context.imports.add("from dal.migrate.rendering import SQLType")
    return f"SQLType({wanted.replace('%%', '%')!r})"


def render_item(kind: str, item: Any, context: AutogenContext) -> str | Literal[False]:
    """Render types plainly, leave the rest to Alembic; Alembic's `render_item`."""
    if kind == "type" and isinstance(item, TypeEngine):
        return render_type(item, context)
    return False
