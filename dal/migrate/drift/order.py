"""The order in which InnoDB takes a revision's operations.

A foreign key needs the index under it: dropping the index first is error 1553, and so is adding the
foreign key before its index (1822). So foreign keys go first and come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops


def _rank(op: Any) -> int:
    if isinstance(op, ops.DropConstraintOp) and op.constraint_type == "foreignkey":
        return 0
    if isinstance(op, ops.CreateForeignKeyOp):
        return 3
    if isinstance(op, ops.DropTableOp):
        return 4
    return 1


def _in_order(given: Sequence[Any]) -> list[ops.MigrateOperation]:
    created = {(op.schema, op.table_name) for op in given if isinstance(op, ops.CreateTableOp)}
    dropped = {(op.schema, op.table_name) for op in given if isinstance(op, ops.DropTableOp)}
    parts: list[tuple[int, ops.MigrateOperation]] = []
    for op in given:
        if not isinstance(op, ops.ModifyTableOps):
            # New tables come behind what is changed under them, and before foreign keys to them.
            parts.append((2 if isinstance(op, ops.CreateTableOp) else _rank(op), op))
            continue
        key = (op.schema, op.table_name)
        for rank in range(5):
            inner = [one for one in op.ops if _rank(one) == rank]
            if key in dropped:  # its indexes go with it: alone they could not, under a foreign key
                inner = [one for one in inner if not isinstance(one, ops.DropIndexOp)]
            if inner:
                here = 2 if rank == 1 and key in created else rank
                parts.append((here, ops.ModifyTableOps(op.table_name, inner, schema=op.schema)))
    return [op for _, op in sorted(parts, key=lambda part: part[0])]


def _apart(given: Sequence[Any]) -> list[Any]:
    """Take the foreign keys that wait for another table out of CREATE TABLE, which ignores them."""
    found: list[Any] = []
    for op in given:
        found.append(op)
        if isinstance(op, ops.CreateTableOp):
            waiting = [
                one
                for one in op.columns
                if isinstance(one, sa.ForeignKeyConstraint) and one.use_alter
            ]
            apart = {id(one) for one in waiting}
            op.columns = [one for one in op.columns if id(one) not in apart]
            keys = [ops.CreateForeignKeyOp.from_constraint(one) for one in waiting]
            if keys:
                found.append(ops.ModifyTableOps(op.table_name, keys, schema=op.schema))
    return found


def _children_first(given: Sequence[Any]) -> list[Any]:
    """Drop the tables with foreign keys before those that they refer to (3730)."""
    drops = [op for op in given if isinstance(op, ops.DropTableOp)]
    parents = {id(op): _parents(op) for op in drops}
    left, in_order = list(drops), []
    while left:
        needed = {name for op in left for name in parents[id(op)] if name != _name(op)}
        free = [op for op in left if _name(op) not in needed] or left
        in_order += free
        left = [op for op in left if op not in free]
    return [op for op in given if op not in drops] + in_order


def _name(op: ops.DropTableOp) -> str:
    return f"{op.schema}.{op.table_name}" if op.schema else op.table_name


def _parents(op: ops.DropTableOp) -> set[str]:
    return {
        key.target_fullname.rpartition(".")[0]
        for constraint in op.to_table().foreign_key_constraints
        for key in constraint.elements
    }


def put_in_order(upgrade: ops.UpgradeOps, downgrade: ops.DowngradeOps) -> None:
    """Sort both ways of a revision, and make the way back anew from the way there."""
    upgrade.ops[:] = _children_first(_apart(upgrade.ops))
    upgrade.reverse_into(downgrade)
    upgrade.ops[:] = _in_order(upgrade.ops)
    downgrade.ops[:] = _in_order(downgrade.ops)
