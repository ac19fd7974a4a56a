"""What is left of a scope: objects whose loaded attributes can be read, and that load no more.

SQLAlchemy would raise its `DetachedInstanceError` where such an object loads something, and take a
change of it without a word, though no session will write it unless it is merged or added again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Literal, NoReturn

from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.session import _sessions

from dal.errors import ScopeEnded


class _NoSession:
    """Stands where the session of such an object was: whatever it is asked to do raises.

    SQLAlchemy asks it for rows where the object loads an attribute. No attribute of an object in an
    open scope comes by here.
    """

    hash_key = -1  # SQLAlchemy counts from 1 up
    # What events of attributes ask for, which load nothing.
    _warn_on_events = False
    _flushing = False
    _new = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise ScopeEnded(
            "the scope that this object was loaded in has ended: what is loaded can be read, and "
            "nothing more is loaded; get it again in an open scope, or give it to session.add() "
            "there first"
        )

    def _identity_lookup(self, *_: object, **__: object) -> None:
        return None  # whoever may load it tries that next

    def _contains_state(self, _: InstanceState[Any]) -> Literal[True]:
        return True  # nothing is to be added to it

    def close(self) -> None:
        """Do nothing: `close_all_sessions()` comes by."""

    def _expunge_states(self, states: Iterable[InstanceState[Any]], **_: object) -> None:
        """Let `make_transient()` have them."""
        for state in states:
            release(state)


class _Changes:
    """Stands where SQLAlchemy notes which objects of a session are modified."""

    def add(self, state: InstanceState[Any]) -> None:
        """Note the change with the scopes that are open here.

        Raises:
            ScopeEnded: there is none, so nobody will ask for it.
        """
        from dal.scope.current import open_scopes  # noqa: PLC0415  # which is above

        if not is_left_behind(state) or _is_other_end():
            return
        scopes = open_scopes()
        if not scopes:
            raise ScopeEnded(_NOT_WRITTEN.format(state.class_.__name__))
        for scope in scopes:
            scope.changed_elsewhere.add(state)


class _NoIdentityMap:
    _modified = _Changes()

    def _fast_discard(self, state: InstanceState[Any]) -> None:
        """Do nothing: none is kept."""


_NOT_WRITTEN = (
    "an object ({}) of a scope that has ended was changed, and nothing writes that: get it again "
    "in the open scope, or give it to session.add() or session.merge() there"
)
_NO_SESSION = _NoSession()
_NO_MAP = _NoIdentityMap()
_sessions[_NO_SESSION.hash_key] = _NO_SESSION  # type: ignore[assignment]


def _no_map() -> _NoIdentityMap:
    return _NO_MAP


def _is_other_end() -> bool:
    """Whether this is the other end of a relationship that is set on another object.

    Nothing of it gets lost: `Order(user=user)`, once added, brings the user along.
    """
    frame = sys._getframe(2)  # noqa: SLF001
    while frame is not None and frame.f_globals.get("__name__", "").startswith("sqlalchemy."):
        if frame.f_code.co_name.startswith("emit_backref_"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def is_left_behind(state: InstanceState[Any]) -> bool:
    """Whether the object is one of a scope that has ended."""
    return state.session_id == _NO_SESSION.hash_key


def leave_behind(session: Session, states: Iterable[InstanceState[Any]]) -> None:
    """Make the objects of a session that is closed those of an ended scope."""
    _sessions.pop(session.hash_key, None)  # nobody's to close any more
    for state in states:
        if state.session_id is None and state.key is not None:
            state.session_id = _NO_SESSION.hash_key
            state._instance_dict = _no_map  # type: ignore[assignment]  # noqa: SLF001


def release(state: InstanceState[Any]) -> None:
    """Let another session have the object."""
    if is_left_behind(state):
        state.session_id = state._strong_obj = None  # noqa: SLF001
        del state._instance_dict  # noqa: SLF001


def check_all_written(changed: Iterable[InstanceState[Any]]) -> None:
    """Raise unless the objects that were changed here have found a session.

    Raises:
        ScopeEnded: one has not; names its class.
    """
    for state in changed:
        if is_left_behind(state):
            raise ScopeEnded(_NOT_WRITTEN.format(state.class_.__name__))


def forget(changed: set[InstanceState[Any]]) -> None:
    """Let a later scope hear of later changes of these objects."""
    for state in changed:
        if is_left_behind(state):
            state._strong_obj = None  # noqa: SLF001
    changed.clear()
