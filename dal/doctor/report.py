"""What an examination found: plain data, encodable as JSON."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from dataclasses import dataclass
from typing import Any


class Verdict(enum.StrEnum):
    """How a check ended."""

    OK = "OK"
    #: A risk, or trouble to come; the promise holds.
    WARN = "WARN"
    #: A promise of `dal`, or the durability of a COMMIT, does not hold.
    FAIL = "FAIL"
    #: It does not apply to this server, or this account may not look.
    SKIP = "SKIP"


@dataclass(frozen=True)
class Outcome:
    """What one check says: the verdict, what was found, and what to do about it."""

    verdict: Verdict
    found: str
    advice: str = ""


def ok(found: str) -> Outcome:
    """Return that all is well; there is nothing to do."""
    return Outcome(Verdict.OK, found)


def warn(found: str, advice: str) -> Outcome:
    """Return a risk, and what to do."""
    return Outcome(Verdict.WARN, found, advice)


def fail(found: str, advice: str) -> Outcome:
    """Return that a promise does not hold, and what to do."""
    return Outcome(Verdict.FAIL, found, advice)


def skip(found: str, advice: str = "") -> Outcome:
    """Return why there is no verdict."""
    return Outcome(Verdict.SKIP, found, advice)


@dataclass(frozen=True)
class Finding:
    """The outcome of one check, with its name and topic."""

    topic: str
    check: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that one examination found.

    Attributes:
        address: `HOST:PORT/DATABASE`.
        server: Product and version, such as "MySQL 9.7.4"; None where there was no connection.
        account: `user@host` as the server knows it; None as above.
        findings: In the order of the checks; without a connection the one that says why.
    """

    address: str
    server: str | None
    account: str | None
    findings: tuple[Finding, ...]

    @property
    def connected(self) -> bool:
        """Whether the server could be reached, and read to the end."""
        return self.server is not None

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings; a SKIP is not bad."""
        found = {finding.verdict for finding in self.findings}
        return next((bad for bad in (Verdict.FAIL, Verdict.WARN) if bad in found), Verdict.OK)

    def counts(self) -> dict[Verdict, int]:
        """Return how many findings there are of each verdict."""
        counted = Counter(finding.verdict for finding in self.findings)
        return {verdict: counted[verdict] for verdict in Verdict}

    def as_dict(self) -> dict[str, Any]:
        """Return the same as dictionaries, lists, text and numbers."""
        return {
            "address": self.address,
            "server": self.server,
            "account": self.account,
            "verdict": str(self.verdict),
            "counts": {str(verdict): count for verdict, count in self.counts().items()},
            "findings": [
                dataclasses.asdict(finding) | {"verdict": str(finding.verdict)}
                for finding in self.findings
            ],
        }
