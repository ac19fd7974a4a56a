"""One unit of work: the state machine, its session, and which one is current."""

from dal.scope.current import as_current, current_scope
from dal.scope.scope import Scope
from dal.scope.session import Session

__all__ = ["Scope", "Session", "as_current", "current_scope"]
