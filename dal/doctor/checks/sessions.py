"""What the sessions of `dal` are like, and what the server gives to those that do not say.

`dal` sets its own with each connection; the server's defaults are for whoever else writes there.
"""

from __future__ import annotations

from dal.doctor.facts import Facts
from dal.doctor.report import Outcome, fail, ok, skip, warn

_NOT_SET = "something between dal and the server changes the session; connect without it"
_UTC = {"UTC", "+00:00", "-00:00", "ETC/UTC", "UCT", "UNIVERSAL", "ZULU", "GMT", "ETC/GMT"}

#: Seconds that a forgotten transaction may keep its locks.
PATIENCE = 600

#: Bytes of a packet that are not the statement, with room to spare.
HEADER = 1024


def isolation(facts: Facts) -> Outcome:
    """READ COMMITTED in the session; other programs get what the server has."""
    name = "tx_isolation" if "tx_isolation" in facts.session else "transaction_isolation"
    session, default = facts.session[name], facts.variable(name)
    if session != "READ-COMMITTED":
        return fail(f"dal's sessions are {session}, not READ COMMITTED", _NOT_SET)
    if default == "READ-UNCOMMITTED":
        return warn(
            "READ COMMITTED in dal; other programs read what is not committed yet",
            facts.set_to(name, "'READ-COMMITTED'"),
        )
    if default == "SERIALIZABLE":
        return warn(
            "READ COMMITTED in dal; in other programs every SELECT locks what it reads",
            facts.set_to(name, "'READ-COMMITTED'"),
        )
    return ok(f"READ COMMITTED in dal; the server's default is {default.replace('-', ' ')}")


def strict_mode(facts: Facts) -> Outcome:
    """Values that do not fit are an error, not cut off in silence."""
    if not _is_strict(facts.session["sql_mode"]):
        return fail("dal's sessions are not strict: values are cut off in silence", _NOT_SET)
    if not _is_strict(facts.variable("sql_mode")):
        return warn(
            "strict in dal; in other programs values that do not fit are cut off in silence",
            "add STRICT_TRANS_TABLES: " + facts.set_to("sql_mode", "'STRICT_TRANS_TABLES,...'"),
        )
    return ok("strict in dal, and by default")


def _is_strict(mode: str) -> bool:
    return bool({"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"} & set(mode.split(",")))


def character_set(facts: Facts) -> Outcome:
    """All of Unicode, on the wire and in new tables."""
    session = {
        facts.session[f"character_set_{part}"] for part in ("client", "connection", "results")
    }
    if session != {"utf8mb4"}:
        return fail(f"dal's sessions speak {', '.join(sorted(session))}, not utf8mb4", _NOT_SET)
    database, server = (
        facts.session["character_set_database"],
        facts.variable("character_set_server"),
    )
    if database != "utf8mb4":
        return warn(
            f"utf8mb4 in dal; new tables of {facts.settings.database} get {database}",
            f"ALTER DATABASE `{facts.settings.database}` CHARACTER SET utf8mb4 (tables that are "
            "there keep theirs: ALTER TABLE ... CONVERT TO CHARACTER SET utf8mb4)",
        )
    if server != "utf8mb4":
        return warn(
            f"utf8mb4 in dal and in {facts.settings.database}; new databases get {server}",
            facts.set_to("character_set_server", "utf8mb4"),
        )
    return ok("utf8mb4 in dal, in the database and by default")


def time_zone(facts: Facts) -> Outcome:
    """UTC for everybody: NOW() of two programs is the same, and no hour comes twice."""
    if facts.session["time_zone"] != "+00:00":
        return fail(f"dal's sessions are in {facts.session['time_zone']}, not UTC", _NOT_SET)
    default = facts.variable("time_zone")
    zone = facts.variable("system_time_zone") if default == "SYSTEM" else default
    if zone.upper() not in _UTC:
        return warn(
            f"UTC in dal; NOW() of other programs is in {zone}",
            facts.set_to("time_zone", "UTC" if facts.is_rds else "'+00:00'"),
        )
    return ok("UTC in dal, and by default")


def lock_timeout(facts: Facts) -> Outcome:
    """`innodb_rollback_on_timeout`: what a lock wait timeout (1205) undoes.

    `dal` rolls the whole transaction back either way. A program that goes on and commits stores
    half of its work, unless the server has undone all of it (manual, "InnoDB Error Handling").
    """
    name = "innodb_rollback_on_timeout"
    if facts.variable(name) == "ON":
        return ok("a lock wait timeout rolls the whole transaction back, for everybody")
    return warn(
        "dal rolls back after a lock wait timeout; another program that goes on stores half",
        f"if others write here: {facts.set_to(name, 'ON', at_start=True)}",
    )


def idle_timeout(facts: Facts) -> Outcome:
    """`wait_timeout`: how long the locks of a function that died live on."""
    if facts.behind_proxy:
        return skip("behind RDS Proxy its idle client timeout says when a dead function's locks go")
    session, default = int(facts.session["wait_timeout"]), int(facts.variable("wait_timeout"))
    if session > PATIENCE:
        return warn(
            f"wait_timeout = {session} in dal: that long a dead function keeps its locks",
            "set DAL_IDLE_TIMEOUT=60, or " + facts.set_to("wait_timeout", str(PATIENCE)),
        )
    return ok(
        f"dal's locks go {session} s after a function died; the server's default: {default} s"
    )


def packet_size(facts: Facts) -> Outcome:
    """`max_allowed_packet`: a longer statement is refused and the connection closed (1153)."""
    packet, longest = int(facts.variable("max_allowed_packet")), facts.settings.max_statement_bytes
    if packet < longest + HEADER:
        return fail(
            f"max_allowed_packet = {packet:,} bytes; dal's statements may have {longest:,}",
            f"set DAL_MAX_STATEMENT_BYTES={max(packet - HEADER, 1)}, or "
            + facts.set_to("max_allowed_packet", str(64 * 1024 * 1024)),
        )
    return ok(f"max_allowed_packet = {packet:,} bytes; dal's statements have {longest:,} at most")
