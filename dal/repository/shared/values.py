"""The values that a write takes: of known columns, and of types that MySQL will not bend."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from dal.errors import InvalidArgument
from dal.model.checks import check_of, decorated
from dal.repository.shared.identity import is_expression, key_names
from dal.repository.shared.versions import first_version, version_name
from dal.repository.shared.wording import shown_name


def columns_of(mapper: Mapper[Any]) -> dict[str, sa.Column[Any]]:
    """Return the columns of the one table that the class is mapped to, by attribute name.

    Raises:
        InvalidArgument: it is mapped to several tables, which one statement does not write.
    """
    table = mapper.local_table
    if len(mapper.tables) != 1 or not isinstance(table, sa.Table):
        raise InvalidArgument(
            f"{mapper.class_.__name__} is mapped to several tables; add() its instances instead"
        )
    return {
        attribute.key: attribute.columns[0]
        for attribute in mapper.column_attrs
        if isinstance(attribute.columns[0], sa.Column) and attribute.columns[0].table is table
    }


def table_of(mapper: Mapper[Any]) -> sa.Table:
    """Return the one table that the class is mapped to.

    Raises:
        InvalidArgument: as `columns_of`.
    """
    columns_of(mapper)
    table: sa.Table = mapper.local_table  # type: ignore[assignment]
    return table


def checked_changes(mapper: Mapper[Any], changes: object) -> dict[str, Any]:
    """Return the changes of an UPDATE: attribute names, and values or expressions.

    Raises:
        InvalidArgument: none, an unknown attribute, one of the key, the version, or a value that
            cannot be of its column's type.
    """
    if not isinstance(changes, Mapping) or not changes:
        raise InvalidArgument(
            f"changes are a dictionary of attribute names and new values, not "
            f"{type(changes).__name__}"
        )
    names = {
        attribute.key: attribute.columns[0]
        for attribute in mapper.column_attrs
        if isinstance(attribute.columns[0], sa.Column)
    }
    for name, value in changes.items():
        column = _checked_column(mapper, names, name)
        if name in key_names(mapper.class_):
            raise InvalidArgument(f"{name!r} is part of the key, which never changes")
        if not is_expression(value):
            check_value(name, column, value)
    return dict(changes)


def checked_rows(mapper: Mapper[Any], rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of plain values as SQLAlchemy's INSERT takes them, by column key.

    Raises:
        InvalidArgument: something that is no dictionary, an unknown attribute, a row with other
            names than the first, the version, an expression, or a value that cannot be of its
            column's type.
    """
    columns = columns_of(mapper)
    extra = first_version(mapper)
    if mapper.polymorphic_on is not None and mapper.polymorphic_identity is not None:
        extra[mapper.polymorphic_on.key] = mapper.polymorphic_identity
    names: set[str] = set()
    checked: list[dict[str, Any]] = []
    for number, row in enumerate(listed(rows)):
        if type(row) is not dict and not isinstance(row, Mapping):
            raise InvalidArgument(f"row {number} is a dictionary, not {type(row).__name__}")
        if not checked:
            names = set(row)
            used = {name: _checked_column(mapper, columns, name) for name in row}
            keys = {name: column.key for name, column in used.items()}
            sound = {name: _sound_types(column) for name, column in used.items()}
            checks = {name: _check(name, column) for name, column in used.items()}
        elif row.keys() != names:
            raise InvalidArgument(
                f"every row names what the first does; row {number} differs in "
                f"{', '.join(sorted(map(shown_name, names ^ set(row))))}"
            )
        for name, value in row.items():
            kind = type(value)
            if kind not in sound[name] or (
                kind is str and not (value.isascii() and value[-1:] != " ")
            ):
                if is_expression(value):
                    raise InvalidArgument(f"{name} is a value here, not a SQL expression")
                try:
                    checks[name](value)
                except InvalidArgument:
                    check_value(name, used[name], value)  # says so of an expression
                    raise
        checked.append({**extra, **{keys[name]: value for name, value in row.items()}})
    return checked


def _sound_types(column: Any) -> frozenset[type[Any]]:
    """Return the types whose values `check_value` lets pass, of texts only the plain ones."""
    makers, kind = decorated(column.type)
    sound: set[type[Any]] = {type(None)}
    if not makers and isinstance(kind, sa.Integer | sa.Numeric):
        sound.add(int)
    elif not makers and isinstance(kind, sa.String) and kind.__visit_name__ not in _LISTED:
        sound.add(str)
    return frozenset(sound)


_LISTED = {"SET", "ENUM", "enum"}  # each a String with a list of its own


def _check(name: str, column: Any) -> Callable[[Any], object]:
    check = check_of(column.type, name)
    if check is not None:
        return check
    return functools.partial(check_value, name, column)


def listed(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows as a list.

    Raises:
        InvalidArgument: they are a single dictionary, a text, or nothing to walk through.
    """
    if isinstance(rows, Mapping | str | bytes) or not isinstance(rows, Iterable):
        raise InvalidArgument(f"rows are a list of dictionaries, not {type(rows).__name__}")
    return list(rows)


def check_value(name: str, column: Any, value: object) -> None:
    """Raise unless the column stores the value as it is.

    Raises:
        InvalidArgument: it does not.
    """
    if is_expression(value):
        raise InvalidArgument(f"{name} is a value here, not a SQL expression")
    check = check_of(column.type, name)
    if check is not None:
        check(value)


def _checked_column(mapper: Mapper[Any], columns: Mapping[str, Any], name: object) -> Any:
    if not isinstance(name, str) or name not in columns:
        raise InvalidArgument(
            f"{mapper.class_.__name__} has no column attribute {shown_name(name)!r}; it has "
            f"{', '.join(columns)}"
        )
    if name == version_name(mapper):
        raise InvalidArgument(f"{name!r} is the version, which is never set by hand")
    return columns[name]
