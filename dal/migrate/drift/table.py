"""The differences of one table, as operations of Alembic's."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

from dal.migrate.drift.asking import Answer, says
from dal.migrate.drift.definition import ColumnLine
from dal.migrate.drift.leftover import IndexOfForeignKey
from dal.migrate.drift.statement import Statement, as_text

# The names that servers give: MySQL t_chk_1, MariaDB CONSTRAINT_1.
_PLAIN_KEY = re.compile(r"(?:UNIQUE )?KEY \((?:`(?:[^`]|``)+`(?:\(\d+\))?,?)+\)")
_GIVEN = re.compile(r"(?:.*_chk|CONSTRAINT)_\d+")
_NULL = " DEFAULT NULL"


def _constraints(table: sa.Table) -> Iterable[sa.Constraint]:
    yield from table.constraints
    for column in table.c:
        yield from column.constraints


class TableDifferences:
    """The differences of one table."""

    def __init__(
        self,
        context: MigrationContext,
        table: sa.Table,
        schema: str | None,
        answer: Answer,
        given: Sequence[Any],
    ) -> None:
        self.context, self.table, self.schema = context, table, schema
        self.connection: sa.Connection = context.connection  # type: ignore[assignment]
        self.real, self.model, self.unknown = answer.real, answer.model, answer.unknown
        self.given = given
        self.given_names: set[str] = set()
        self.preparer = self.connection.dialect.identifier_preparer
        self._reflected: sa.Table | None = None

    @property
    def reflected(self) -> sa.Table:
        """The real table, read when a difference needs it."""
        if self._reflected is None:
            self._reflected = sa.Table(
                self.table.name,
                sa.MetaData(),
                schema=self.schema,
                autoload_with=self.connection,
                resolve_fks=False,
            )
        return self._reflected

    def right(self) -> list[ops.MigrateOperation]:
        """Return the operations that the server's answer leaves, and those that it adds."""
        rest = [op for op in self.given if not self._is_settled(op)]
        added = [op for op in rest if isinstance(op, ops.AddColumnOp)]
        dropped = [op for op in rest if isinstance(op, ops.DropColumnOp)]
        others = [op for op in rest if op not in added and op not in dropped]
        return [
            *self._options(),
            *self._dropped_checks(),
            *self._dropped_keys(),
            *added,
            *self._columns(),
            *self._primary_key(),
            *others,
            *self._added_keys(),
            *self._added_checks({op.column.name for op in added}),
            *self._indexes_of_foreign_keys(others),
            *dropped,
        ]

    def _is_settled(self, op: Any) -> bool:
        """Answer whether the server's answer stands in place of this operation."""
        if isinstance(op, ops.AlterColumnOp | ops.CreateTableCommentOp | ops.DropTableCommentOp):
            # A comment that differs is left to Alembic, whose operation says it well.
            return isinstance(op, ops.AlterColumnOp) or self.real.comment == self.model.comment
        if isinstance(op, ops.AddColumnOp):  # reflection stumbles over some names
            return op.column.name in self.real.columns
        if isinstance(op, ops.DropColumnOp):
            return op.column_name not in self.real.columns or op.column_name in self.model.columns
        if isinstance(op, ops.CreateIndexOp | ops.DropIndexOp):
            return op.index_name not in self.unknown
        if isinstance(op, ops.CreateUniqueConstraintOp | ops.CreateCheckConstraintOp):
            return True
        if isinstance(op, ops.DropConstraintOp):
            return op.constraint_type in {"unique", "check"}
        return False

    # Columns ----------------------------------------------------------------------------------

    def _columns(self) -> Iterable[ops.MigrateOperation]:
        for name, new in self.model.columns.items():
            old = self.real.columns.get(name)
            if old is not None and _parts(old) != _parts(new) and self._wants("column", name):
                yield self._altered(name, old, new)

    def _wants(self, kind: str, name: str) -> bool:
        include = self.context.opts.get("include_object")
        if not include:
            return True
        column, reflected = self.table.c[self._key(name)], self.reflected.c.get(name)
        return bool(include(column, name, kind, False, reflected))  # noqa: FBT003

    def _key(self, name: str) -> str:
        return next(column.key for column in self.table.c if column.name == name)

    def _altered(self, name: str, old: ColumnLine, new: ColumnLine) -> ops.MigrateOperation:
        """Return ALTER COLUMN, or the server's own line where Alembic has no words for it."""
        reflected = self.reflected.c.get(name)
        if reflected is None:
            return self._modified(name, old, new)
        if old.generated or new.generated or (" ON UPDATE" in old.rest and old.rest != new.rest):
            return self._modified(name, old, new)
        column = self.table.c[self._key(name)]
        counts = " AUTO_INCREMENT" in old.rest, " AUTO_INCREMENT" in new.rest
        op = ops.AlterColumnOp(
            self.table.name,
            name,
            schema=self.schema,
            existing_type=reflected.type,
            existing_nullable=reflected.nullable,
            existing_server_default=reflected.server_default or False,
            existing_comment=reflected.comment,
        )
        if any(counts):
            op.kw["autoincrement"] = counts[1]
        if (old.type, old.charset, old.collation) != (new.type, new.charset, new.collation):
            op.modify_type = column.type
        if old.is_nullable != new.is_nullable:
            op.modify_nullable = new.is_nullable
        if old.rest != new.rest and counts[0] == counts[1]:
            # Without DEFAULT NULL, which DROP DEFAULT takes too, an INSERT must name the column.
            null = sa.DefaultClause(sa.text("NULL"))
            op.modify_server_default = null if new.rest == _NULL else column.server_default
            if old.rest == _NULL:
                op.existing_server_default = null
        if old.comment != new.comment:
            op.modify_comment = column.comment
        return op

    def _modified(self, name: str, old: ColumnLine, new: ColumnLine) -> ops.MigrateOperation:
        column = f"{self._on_table()} MODIFY COLUMN {self.preparer.quote(name)}"
        if _is_virtual(old) != _is_virtual(new):  # the server cannot modify that (3106)
            quoted = self.preparer.quote(name)
            again = f"{self._on_table()} DROP COLUMN {quoted}, ADD COLUMN {quoted}"
            return Statement(f"{again} {new.text}", f"{again} {old.text}")
        return Statement(f"{column} {new.text}", f"{column} {old.text}")

    def _on_table(self) -> str:
        return f"ALTER TABLE {self.preparer.format_table(self.table)}"

    # Keys and checks --------------------------------------------------------------------------

    def _indexes(self, table: sa.Table) -> Mapping[str, sa.Index | sa.UniqueConstraint]:
        """Return what a table calls its keys; those without a name are found by their columns."""
        named: dict[str, sa.Index | sa.UniqueConstraint] = {}
        for one in (*table.indexes, *table.constraints):
            if isinstance(one, sa.Index | sa.UniqueConstraint):
                named[self._name_of(one)] = one
        return named

    def _name_of(self, one: sa.Index | sa.Constraint) -> str:
        if one.name is None:
            return ""
        name = self.preparer.format_constraint(one)  # by the naming convention, and shortened
        return "" if name is None else name.strip("`").replace("``", "`")

    def _differing(self, old: Mapping[str, str], new: Mapping[str, str]) -> set[str]:
        names = old.keys() | new.keys()
        return {n for n in names if n not in self.unknown and old.get(n) != new.get(n)}

    def _dropped_keys(self) -> Iterable[ops.MigrateOperation]:
        reflected = None
        for name in sorted(self._differing(self.real.keys, self.model.keys)):
            line = self.real.keys.get(name)
            if line is None or self._is_of_a_foreign_key(line):
                continue
            reflected = reflected or {str(i.name): i for i in self.reflected.indexes}
            index = reflected.get(name)
            if index is not None and _PLAIN_KEY.fullmatch(line):
                yield ops.DropIndexOp.from_index(index)
            else:  # reflection leaves out functions and the direction
                yield Statement(
                    f"{self._on_table()} DROP INDEX {self.preparer.quote(name)}",
                    f"{self._on_table()} ADD {_key_line(self.preparer, name, line)}",
                )

    def _added_keys(self) -> Iterable[ops.MigrateOperation]:
        known = self._indexes(self.table)
        for name in sorted(self._differing(self.real.keys, self.model.keys)):
            line = self.model.keys.get(name)
            if line is None:
                continue
            one = known.get(name)
            if isinstance(one, sa.Index):
                yield ops.CreateIndexOp.from_index(one)
            elif isinstance(one, sa.UniqueConstraint):
                yield ops.CreateUniqueConstraintOp.from_constraint(one)
            else:
                yield Statement(
                    f"{self._on_table()} ADD {_key_line(self.preparer, name, line)}",
                    f"{self._on_table()} DROP INDEX {self.preparer.quote(name)}",
                )

    def _is_of_a_foreign_key(self, line: str) -> bool:
        """Answer whether InnoDB made this key for a foreign key that the model still has.

        It is called after the foreign key, or after the first column where that has no name.
        """
        if not line.startswith("KEY "):
            return False
        for constraint in self.table.foreign_key_constraints:
            columns = ",".join(f"`{column.name}`" for column in constraint.columns)
            if line.removeprefix("KEY (").startswith(columns):
                return True
        return False

    def _indexes_of_foreign_keys(self, those: Iterable[Any]) -> Iterable[ops.MigrateOperation]:
        for op in those:
            if isinstance(op, ops.CreateForeignKeyOp):
                leading = "(" + ",".join(f"`{name}`" for name in op.local_cols)
                keys = [*self.real.keys.values(), *self.model.keys.values()]
                if not any(leading in key for key in keys):
                    name = str(op.constraint_name or op.local_cols[0])
                    yield IndexOfForeignKey(name, self.table.name, op.local_cols, self.schema)

    def _dropped_checks(self) -> Iterable[ops.MigrateOperation]:
        for name, expression in self._checks(self.real.checks, self.model.checks):
            yield ops.DropConstraintOp.from_constraint(
                sa.CheckConstraint(
                    sa.text(as_text(_inside(expression))),
                    name=sa.schema.conv(name),
                    table=self.reflected,
                )
            )

    def _added_checks(self, added_columns: set[str]) -> Iterable[ops.MigrateOperation]:
        known = {
            self._name_of(one): one
            for one in _constraints(self.table)
            if isinstance(one, sa.CheckConstraint)
        }
        for name, expression in self._checks(self.model.checks, self.real.checks):
            one = known.get(name)
            is_of_a_type = bool(getattr(one, "_type_bound", False))
            if one is not None and is_of_a_type and {c.name for c in one.columns} & added_columns:
                continue  # the column brings it
            if _GIVEN.fullmatch(name):
                name = self._free_name(name)  # noqa: PLW2901
            if one is not None and one.name and not is_of_a_type:
                yield ops.AddConstraintOp.from_constraint(one)
                continue
            yield ops.CreateCheckConstraintOp(
                sa.schema.conv(name),
                self.table.name,
                sa.text(as_text(_inside(expression))),
                schema=self.schema,
            )

    def _free_name(self, name: str) -> str:
        """Return the first name of its kind that is free: a revision wants one for its way back."""
        kind = name.rstrip("0123456789")
        taken = self.real.checks.keys() | self.given_names
        free = next(f"{kind}{n}" for n in itertools.count(1) if f"{kind}{n}" not in taken)
        self.given_names.add(free)
        return free

    @staticmethod
    def _checks(these: Mapping[str, str], those: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Return these checks that those do not have; names that a server gives say nothing."""
        nameless = [text for name, text in those.items() if _GIVEN.fullmatch(name)]
        for name, text in these.items():
            if not _GIVEN.fullmatch(name):
                if those.get(name) != text:
                    yield name, text
            elif text in nameless:
                nameless.remove(text)
            else:
                yield name, text

    # The table --------------------------------------------------------------------------------

    def _primary_key(self) -> Iterable[ops.MigrateOperation]:
        old, new = (one.primary_key.get("PRIMARY") for one in (self.real, self.model))
        if old == new:
            return
        table = self._on_table()
        drop = "DROP PRIMARY KEY"
        parts = [drop if old else "", f"ADD {new}" if new else ""]
        back = [drop if new else "", f"ADD {old}" if old else ""]
        yield Statement(
            f"{table} {', '.join(filter(None, parts))}", f"{table} {', '.join(filter(None, back))}"
        )

    def _options(self) -> Iterable[ops.MigrateOperation]:
        if says(self.table) == (None, None):
            return
        old, new = (
            (self.real.charset, self.real.collation),
            (
                self.model.charset,
                self.model.collation,
            ),
        )
        if old != new:
            table = self._on_table()
            yield Statement(f"{table} {_charset(*new)}", f"{table} {_charset(*old)}")


def _parts(line: ColumnLine) -> tuple[Any, ...]:
    return (
        line.type, line.charset, line.collation, line.is_nullable, line.generated, line.rest,
        line.comment,
    )  # fmt: skip


def _is_virtual(line: ColumnLine) -> bool:
    return line.generated is not None and " STORED" not in line.generated


def _charset(charset: str | None, collation: str | None) -> str:
    collate = f" COLLATE {collation}" if collation else ""
    return f"DEFAULT CHARACTER SET {charset}{collate}"


def _key_line(preparer: Any, name: str, line: str) -> str:
    kind, key, parts = line.partition("KEY ")
    return f"{kind}{key}{preparer.quote(name)} {parts}"


def _inside(expression: str) -> str:
    """Return the expression of a CHECK without the parentheses that the server puts around it."""
    text = expression.removesuffix(" /*!80016 NOT ENFORCED */")
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text
