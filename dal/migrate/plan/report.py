"""What a rehearsal found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What to think about before a statement runs on the target.

    Attributes:
        rule: gone, renamed, narrowed, required, lost, blocks, rows or fails.
        text: What it is, with the names of table and column.
        advice: The way that does no harm.
        commands: Command lines of tools that copy a table beside its use.
        allowed: The reason that the revision gives, by `allow()`; it counts no more.
    """

    rule: str
    text: str
    advice: str
    commands: tuple[str, ...] = ()
    allowed: str | None = None


@dataclass
class Step:
    """One statement of a revision."""

    sql: str
    cost: str
    table: str | None = None
    rows: int | None = None
    size: int | None = None
    lines: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass
class PlannedRevision:
    """One pending revision."""

    revision: str
    title: str
    steps: list[Step] = field(default_factory=list)
    failure: str | None = None


@dataclass
class Plan:
    """The pending revisions, as a clone of the structure took them."""

    server: str
    database: str
    current: list[str]
    revisions: list[PlannedRevision] = field(default_factory=list)
    not_cloned: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def findings(self) -> list[Finding]:
        """Return what counts: without what a revision allows."""
        return [
            finding
            for revision in self.revisions
            for step in revision.steps
            for finding in step.findings
            if finding.allowed is None
        ]

    @property
    def failed(self) -> bool:
        """Return whether a revision does not run at all."""
        return any(revision.failure for revision in self.revisions)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON takes it."""
        return {**asdict(self), "findings": len(self.findings), "failed": self.failed}
