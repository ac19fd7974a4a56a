"""The checks: one small function each, from the facts to an outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dal.doctor.checks import connections, durability, function, now, security, server, sessions
from dal.doctor.facts import Facts
from dal.doctor.report import Outcome

Check = Callable[[Facts], Outcome]

#: By topic and name, in the order in which they are shown. A check may raise `Unreadable`.
CHECKS: Mapping[str, Mapping[str, Check]] = {
    "Server": {
        "connection": server.connection,
        "version": server.version,
        "writer": server.writer,
        "proxy": server.proxy,
    },
    "Durability": {
        "redo log": durability.redo_log,
        "binary log": durability.binary_log,
        "binlog format": durability.binlog_format,
    },
    "Sessions": {
        "isolation": sessions.isolation,
        "strict mode": sessions.strict_mode,
        "character set": sessions.character_set,
        "time zone": sessions.time_zone,
        "lock timeout": sessions.lock_timeout,
        "idle timeout": sessions.idle_timeout,
        "packet size": sessions.packet_size,
    },
    "Connections": {
        "budget": connections.budget,
        "account limit": connections.account_limit,
        "refused": connections.refused,
        "pool": connections.pool,
    },
    "Security": {
        "TLS": security.tls,
        "certificate": security.certificate,
        "TLS required": security.tls_required,
        "login": security.login,
        "grants": security.grants,
    },
    "Right now": {
        "long transactions": now.long_transactions,
        "lock waits": now.lock_waits,
    },
    "Function": {
        "bytecode": function.bytecode,
    },
}
