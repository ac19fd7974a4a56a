"""Looking at a server, and at what a program sends to it, for what the promise needs."""

from dal.doctor.examining import examine
from dal.doctor.report import Finding, Report, Verdict

__all__ = ["Finding", "Report", "Verdict", "examine"]
