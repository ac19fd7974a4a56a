"""Who can read along, and what the account may do beyond its work."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from dal.doctor.facts import Facts, known
from dal.doctor.report import Outcome, fail, ok, skip, warn
from dal.settings import is_loopback

#: How long before its end a certificate should be renewed.
NOTICE = timedelta(days=30)

_STRONG = {"caching_sha2_password", "AWSAuthenticationPlugin", "ed25519", "parsec"}

#: What a service does to its own database; the tables' definitions are the migrations' business.
_NEEDED = {"USAGE", "SELECT", "INSERT", "UPDATE", "DELETE", "EXECUTE", "SHOW VIEW"} | {
    "LOCK TABLES",
    "CREATE TEMPORARY TABLES",
}
#: The worst first: so they are named where there is room for a few.
_WORST = (
    *("ALL PRIVILEGES", "SUPER", "GRANT OPTION", "FILE", "CREATE USER", "SYSTEM_USER"),
    *("SYSTEM_VARIABLES_ADMIN", "SHUTDOWN", "RELOAD", "PROCESS", "DROP", "ALTER", "CREATE"),
)


def tls(facts: Facts) -> Outcome:
    """Whether this connection is encrypted, and to whom."""
    loopback = is_loopback(facts.settings.host)
    if facts.tls is None:
        found = "not encrypted: the password's exchange and all data can be read on the way"
        advice = "leave DAL_TLS unset: dal then verifies the server's certificate"
        return warn(f"{found}, which is this machine", advice) if loopback else fail(found, advice)
    protocol, cipher = facts.tls
    if facts.settings.tls == "verify":
        return ok(f"{protocol}, {cipher}; certificate and host name verified")
    if loopback:
        return ok(f"{protocol}, {cipher}; not verified, which is dal's default on loopback")
    return warn(
        f"{protocol}, {cipher}; not verified: whoever is in between can pose as the server",
        "leave DAL_TLS unset, and name the authority's file in DAL_TLS_CA (for RDS and Aurora "
        "AWS's global-bundle.pem)",
    )


def certificate(facts: Facts) -> Outcome:
    """When the server's certificate ends, as the server says: no login succeeds after that."""
    text = known(facts.status).get("Ssl_server_not_after", "")
    if not text or facts.behind_proxy:
        return skip("the server does not say when its certificate ends")
    # "Nov 20 09:12:31 2036 GMT", OpenSSL's form.
    ends = datetime.strptime(text, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC).date()
    if ends < facts.today:
        return warn(f"ended on {ends}", "renew the server's certificate")
    if ends - NOTICE < facts.today:
        return warn(f"ends on {ends}: no function can log in after that", "renew it before")
    return ok(f"valid until {ends}")


def tls_required(facts: Facts) -> Outcome:
    """`require_secure_transport`: whether the server refuses clients without TLS."""
    if facts.is_on("require_secure_transport"):
        return ok("the server refuses clients without TLS")
    if not isinstance(facts.account, Exception) and facts.account.requires_tls:
        return ok("this account must use TLS; others need not (require_secure_transport = OFF)")
    return warn(
        "dal uses TLS as DAL_TLS says; another program may send this account's password without",
        facts.set_to("require_secure_transport", "ON") + ", or ALTER USER ... REQUIRE SSL",
    )


def login(facts: Facts) -> Outcome:
    """How the account proves itself: the old plugins use broken hashes, and are on the way out."""
    account = known(facts.account)
    if account.plugin in _STRONG or facts.is_mariadb:
        return ok(f"{account.name} by {account.plugin}")
    return warn(
        f"{account.name} logs in by {account.plugin}, which MySQL deprecates or has removed",
        "ALTER USER ... IDENTIFIED WITH caching_sha2_password BY ...",
    )


def grants(facts: Facts) -> Outcome:
    """What the account may do that a service does not need."""
    own = facts.settings.database
    beyond = [entry for line in known(facts.grants) for entry in _beyond(line, own)]
    if not beyond:
        return ok(f"no more than a service needs on {own}")
    everywhere = [privilege for privilege, where in beyond if where == "*.*"]
    found = []
    if everywhere:
        found.append(f"{_summary(everywhere)} on every database")
    elsewhere: dict[str, list[str]] = {}
    for privilege, where in beyond:
        if where != "*.*":
            elsewhere.setdefault(where, []).append(privilege)
    found += [f"{_summary(names)} on {where}" for where, names in elsewhere.items()]
    return warn(
        f"has {'; '.join(found)}",
        "give the functions an account of their own, with GRANT SELECT, INSERT, UPDATE, DELETE ON "
        f"`{own}`.*, and the migrations another",
    )


_GRANT = re.compile(
    r"GRANT (?P<what>.+?) ON (?:TABLE |FUNCTION |PROCEDURE )?"
    r"(?P<where>(?:`[^`]*`|\*)(?:\.(?:`[^`]*`|\*))?) TO (?P<whom>.*)",
    re.DOTALL,
)


def _beyond(line: str, own: str) -> Iterable[tuple[str, str]]:
    """Give each privilege of a line of SHOW GRANTS that a service does not need, and on what."""
    if re.match(r"GRANT [`']?rds_superuser_role\b", line):
        yield "ALL PRIVILEGES", "*.*"
    found = _GRANT.match(line)
    if found is None:  # a role, whose privileges have lines of their own; or REVOKE
        return
    privileges = [name.strip() for name in re.sub(r"\([^)]*\)", "", found["what"]).split(",")]
    if re.search(r" WITH .*GRANT OPTION", found["whom"]):
        privileges.append("GRANT OPTION")
    where = found["where"]
    database = where.partition(".")[0].strip("`").replace("\\", "")
    for name in privileges:
        if where == "*.*":
            if name != "USAGE":
                yield name, where
        elif name not in _NEEDED and name != "PROXY":
            yield name, where.replace("`", "")
        elif database == "mysql" and own != "mysql" and name != "USAGE":
            yield name, "mysql, the accounts' own database"


def _summary(privileges: list[str]) -> str:
    rank = {name: position for position, name in enumerate(_WORST)}
    ordered = sorted(dict.fromkeys(privileges), key=lambda name: rank.get(name, len(rank)))
    shown, more = ordered[:4], len(ordered) - 4
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
