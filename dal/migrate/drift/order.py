"""The order in which InnoDB takes a revision's operations.

A foreign key needs the index under it: dropping the index first is error 1553, and so is adding the
foreign key before its index (1822). So foreign keys go first and come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


def put_in_order(upgrade: ops.UpgradeOps, downgrade: ops.DowngradeOps) -> None:
    """Sort both ways of a revision, and make the way back anew from the way there."""
    upgrade.reverse_into(downgrade)
    upgrade.ops[:] = _in_order(upgrade.ops)
    downgrade.ops[:] = _in_order(downgrade.ops)
