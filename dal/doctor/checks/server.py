"""Which server it is, and whether it is the right one."""

from __future__ import annotations

from datetime import timedelta

from dal.doctor import releases
from dal.doctor.facts import Facts
from dal.doctor.report import Outcome, fail, ok, skip, warn

#: How long before the end of a release its upgrade should be under way.
NOTICE = timedelta(days=180)


def connection(facts: Facts) -> Outcome:
    """How long a connection takes: TCP, greeting, TLS, login and the one SET."""
    milliseconds = facts.seconds_to_connect * 1000
    limit = facts.settings.connect_timeout
    if facts.seconds_to_connect > limit / 2:
        return warn(
            f"took {milliseconds:.0f} ms, of the {limit:g} s that connect_timeout allows",
            "look for what delays it (name resolution, network, a server under load), or raise "
            "DAL_CONNECT_TIMEOUT",
        )
    return ok(f"made in {milliseconds:.0f} ms, with login and the session's settings")


def version(facts: Facts) -> Outcome:
    """How long the release is supported, and whether `dal` is made for it."""
    if facts.aurora:
        release, oldest = releases.aurora(facts.aurora), 3
        is_too_old = int(facts.aurora.partition(".")[0]) < oldest
    elif facts.is_mariadb:
        release, is_too_old = releases.mariadb(facts.version), False
    else:
        release = (releases.rds if facts.is_rds else releases.mysql)(facts.version)
        is_too_old = int(facts.version.partition(".")[0]) < 8
    if is_too_old:
        return fail(
            f"{facts.server}: dal is made for MySQL 8.0 and Aurora MySQL 3, and newer ones",
            "upgrade the server",
        )
    if facts.is_mariadb:
        return warn(
            f"{facts.server}: dal is made for MySQL; MariaDB is a stand-in for tests",
            "use MySQL or Aurora MySQL in production",
        )
    if release.ends is None:
        return ok(f"{facts.server}; not in the table of {releases.AS_OF:%B %Y}")
    end = f"{release.support} of {release.name}"
    if release.ends < facts.today:
        return warn(
            f"{facts.server}: {end} ended on {release.ends}",
            "upgrade to a release with long-term support"
            + (", or pay for extended support" if facts.is_rds or facts.aurora else ""),
        )
    if release.ends - NOTICE < facts.today:
        return warn(f"{facts.server}: {end} ends on {release.ends}", "plan the upgrade")
    return ok(f"{facts.server}, with {release.support} until {release.ends:%B %Y}")


def writer(facts: Facts) -> Outcome:
    """Whether this server takes writes: a reader or replica also lags behind."""
    switches = ("read_only", "super_read_only", "innodb_read_only", "transaction_read_only")
    on = [name for name in switches if facts.is_on(name)]
    if not on:
        return ok("takes writes")
    aurora = "; an Aurora reader ignores READ COMMITTED, too" if facts.aurora else ""
    return fail(
        f"{' and '.join(on)} ON: a replica or a reader, which refuses writes and shows rows later "
        f"than they are committed{aurora}",
        "name the writer's endpoint (for Aurora the cluster endpoint, not cluster-ro); if it is "
        "the writer, a failover or an administrator left it so",
    )


def proxy(facts: Facts) -> Outcome:
    """Whether `dal` knows that there is an RDS Proxy in between."""
    if not facts.behind_proxy:
        return skip("no RDS Proxy in between")
    if not facts.settings.proxy:
        return warn(
            "the address is that of an RDS Proxy and DAL_PROXY is not set: each scope pins its "
            "connection",
            "set DAL_PROXY=true",
        )
    return ok("RDS Proxy, and dal sets nothing that pins; dal doctor --pins FILE checks your SQL")
