"""Whether what was committed survives a crash."""

from __future__ import annotations

from dal.doctor.facts import Facts
from dal.doctor.report import Outcome, fail, ok, skip


def redo_log(facts: Facts) -> Outcome:
    """`innodb_flush_log_at_trx_commit`: whether COMMIT waits until the log is stored.

    MySQL: 1 alone does (manual, "InnoDB Startup Options and System Variables"). MariaDB: 1 and 3.
    Aurora 3: 1 and 2 wait for the storage quorum; Aurora 2: 1 alone (AWS guide, "Aurora MySQL
    configuration parameters").
    """
    name = "innodb_flush_log_at_trx_commit"
    value = facts.variable(name)
    if facts.aurora:
        durable, waits = {"1"} if facts.aurora.startswith(("1.", "2.")) else {"1", "2"}, "a quorum"
    else:
        durable, waits = {"1", "3"} if facts.is_mariadb else {"1"}, "the disk"
    if value in durable:
        return ok(f"{name} = {value}: COMMIT waits for {waits}")
    return fail(
        f"{name} = {value}: a crash loses what was committed in the last second or so",
        facts.set_to(name, "1"),
    )


def binary_log(facts: Facts) -> Outcome:
    """`sync_binlog`: recovery rolls back what the binary log does not hold.

    With the binary log on, InnoDB's own record of a COMMIT is not flushed; after a crash the log
    decides (manual, "Binary Logging Options and Variables"). Aurora's storage does without.
    """
    if facts.aurora:
        return skip("Aurora's storage makes a COMMIT durable; sync_binlog does not apply")
    if not facts.is_on("log_bin"):
        return skip("the binary log is off: the redo log alone decides")
    value = facts.variable("sync_binlog")
    if value == "1":
        return ok("sync_binlog = 1: stored with each COMMIT")
    return fail(
        f"sync_binlog = {value}: a crash of the machine loses what was committed",
        facts.set_to("sync_binlog", "1"),
    )


def binlog_format(facts: Facts) -> Outcome:
    """`binlog_format`: with STATEMENT, READ COMMITTED may not write (error 1665)."""
    if not facts.is_on("log_bin"):
        return skip("the binary log is off")
    value = facts.variable("binlog_format")
    if value == "STATEMENT":
        return fail(
            "binlog_format = STATEMENT: the server refuses every write in READ COMMITTED (1665)",
            facts.set_to("binlog_format", "ROW"),
        )
    return ok(f"binlog_format = {value}")
