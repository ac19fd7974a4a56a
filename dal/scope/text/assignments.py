"""SET: which variables of the session it may change.

https://dev.mysql.com/doc/refman/8.4/en/set-variable.html
"""

from __future__ import annotations

from collections.abc import Iterator

from dal.scope.text.tokens import Token, text_of
from dal.wire.session.state import SQL_MODE

_CHANGES = (
    "changes the transaction, which is the scope's, or an account, which commits; open another "
    "scope, or use a connection of db.engine"
)
_RELIED_ON = (
    "changes how values go to the server and come back, on which the layer relies; use a "
    "connection of db.engine"
)

_REFUSED = {
    # of the transaction
    "AUTOCOMMIT": _CHANGES,
    "COMPLETION_TYPE": _CHANGES,
    "TRANSACTION": _CHANGES,
    "TRANSACTION_ISOLATION": _CHANGES,
    "TRANSACTION_READ_ONLY": _CHANGES,
    "TX_ISOLATION": _CHANGES,
    "TX_READ_ONLY": _CHANGES,
    # of the account: an implicit commit
    "PASSWORD": _CHANGES,
    "DEFAULT": _CHANGES,  # ROLE
    # characters, quoting, times
    "NAMES": _RELIED_ON,
    "CHARSET": _RELIED_ON,
    "CHARACTER_SET_CLIENT": _RELIED_ON,
    "CHARACTER_SET_CONNECTION": _RELIED_ON,
    "CHARACTER_SET_RESULTS": _RELIED_ON,
    "COLLATION_CONNECTION": _RELIED_ON,
    "SQL_MODE": _RELIED_ON,
    "TIME_ZONE": _RELIED_ON,
}

_OF_OTHER_SESSIONS = frozenset({"GLOBAL", "PERSIST", "PERSIST_ONLY"})
_OF_THIS_SESSION = frozenset({"SESSION", "LOCAL"})


#: What the session has already, so that it changes nothing.
_AS_IT_IS = {
    "NAMES": "UTF8MB4",
    "CHARACTER_SET_CLIENT": "UTF8MB4",
    "CHARACTER_SET_CONNECTION": "UTF8MB4",
    "CHARACTER_SET_RESULTS": "UTF8MB4",
    "SQL_MODE": SQL_MODE,
    "TIME_ZONE": "+00:00",
}

# More tokens than the longest assignment that matters has: a mode that is added to the session's.
_LONGEST = 20

# Modes that leave alone how values are written, compared and stored.
_MODES = frozenset(
    {"ALLOW_INVALID_DATES", "NO_AUTO_VALUE_ON_ZERO", "NO_DIR_IN_CREATE", "NO_UNSIGNED_SUBTRACTION"}
    | {"STRICT_ALL_TABLES", "TRADITIONAL", *SQL_MODE.split(",")}
)


def refusal_of_set(found: Iterator[Token]) -> tuple[str | None, Iterator[Token] | None]:
    """Return why this SET is refused, or None; and the statement behind it, where there is one.

    `found` are the tokens behind SET. MariaDB has SET STATEMENT variable = value FOR statement.
    """
    refusal: str | None = None
    assignment: list[str] = []
    depth, has_statement = 0, False
    for token in found:
        kind, text = token
        if depth == 0 and has_statement and token == ("word", "FOR"):
            return refusal or _refusal_of(assignment), found
        if kind == "sign":
            depth += (text == "(") - (text == ")")
        if token == ("sign", ",") and depth == 0:
            refusal = refusal or _refusal_of(assignment)
            assignment = []
        elif not (assignment or has_statement) and token == ("word", "STATEMENT"):
            has_statement = True
        elif len(assignment) < _LONGEST:
            assignment.append(text_of(text).upper() if kind == "string" else text)
    return refusal or _refusal_of(assignment), None


def _refusal_of(assignment: list[str]) -> str | None:
    """Return why an assignment is refused; None where it is not."""
    words = assignment
    if words[:2] == ["@", "@"]:
        words = words[2:]
    elif words[:1] == ["@"]:
        return None  # a variable of the user's
    if len(words) > 1 and words[1] not in {"=", ":"}:
        if words[0] in _OF_OTHER_SESSIONS:
            return None
        if words[0] in _OF_THIS_SESSION:
            words = words[2:] if words[1] == "." else words[1:]
    name, *rest = words or [""]
    if rest[:1] == ["SET"] and name in {"CHAR", "CHARACTER"}:
        return _RELIED_ON
    value = [word for word in rest if word not in {"=", ":", ";"}]
    if name == "SQL_MODE" and _adds_to_mode(value):
        return None
    return None if value == [_AS_IT_IS.get(name)] else _REFUSED.get(name)


def _adds_to_mode(value: list[str]) -> bool:
    """Whether this is CONCAT(@@sql_mode, ',MODE') of modes that do no harm."""
    words = [word for word in value if word not in {"SESSION", "LOCAL", "."}]
    if words[:-2] != ["CONCAT", "(", "@", "@", "SQL_MODE", ","] or words[-1:] != [")"]:
        return False
    added = words[-2]
    return added.startswith(",") and _MODES.issuperset(added[1:].split(","))
