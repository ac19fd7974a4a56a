"""A rehearsal of the pending revisions, on a clone of the database's structure."""

from dal.migrate.plan.rehearsal import rehearse
from dal.migrate.plan.report import Finding, Plan, PlannedRevision, Step

__all__ = ["Finding", "Plan", "PlannedRevision", "Step", "rehearse"]
