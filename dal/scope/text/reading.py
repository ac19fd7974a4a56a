"""What a statement does to the transaction and the session, by its first words.

The list of what commits by itself is the manual's: "Statements That Cause an Implicit Commit"
(https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from itertools import islice

from dal.scope.statements import Reading
from dal.scope.text.assignments import refusal_of_set
from dal.scope.text.tokens import Server, Token, text_of, tokens

ENDS = "begins, changes or ends a transaction, openly or by an implicit commit; the scope does that"

# Nothing that these do ends a transaction.
_HARMLESS = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "DO", "VALUES", "TABLE", "HANDLER"}
    | {"SHOW", "EXPLAIN", "DESCRIBE", "DESC", "HELP", "CHECKSUM", "USE", "KILL"}
    | {"SAVEPOINT", "RELEASE", "GET", "SIGNAL", "RESIGNAL", "DEALLOCATE"}
)
_ENDING = frozenset(
    {"COMMIT", "BEGIN", "START", "STOP", "ALTER", "RENAME", "TRUNCATE", "GRANT", "REVOKE", "CACHE"}
    | {"INSTALL", "UNINSTALL", "IMPORT", "CLONE", "LOCK", "UNLOCK", "CHECK", "FLUSH", "OPTIMIZE"}
    | {"REPAIR", "CHANGE", "PURGE"}
)

# Whoever may be behind a proxy: one that runs all conditional comments, and one that runs none.
_ANYBODY = (
    Server(999_999),
    Server(999_999, takes_six_digits=True),
    Server(-1),
    Server(999_999, is_mariadb=True),
)
_SIX_DIGITS = re.compile(r"/\*!\d{6}(?![ \t\n\v\f\r])")


def read(sql: str, server: str | None) -> Reading:
    """Return what the statement does on the server with this greeting; or the worst on any."""
    readings = [_read(tokens(sql, each), server) for each in _readers(sql, server)]
    return min(readings, key=lambda reading: (reading.refusal is None, reading.tells_all))


def locks(sql: str, server: str | None) -> bool:
    """Return whether the statement is a savepoint or a locking read."""
    return any(_locks(tokens(sql, each)) for each in _readers(sql, server))


def _readers(sql: str, greeting: str | None) -> tuple[Server, ...]:
    """Return whose readings count."""
    if "/*!" not in sql and "/*M!" not in sql:
        return _ANYBODY[:1]  # they differ in these comments alone
    if greeting is None:
        return _ANYBODY
    server = _server_of(greeting)
    if server.is_mariadb or not _SIX_DIGITS.search(sql):
        return (server,)
    return server, server._replace(takes_six_digits=True)


_server_of = functools.lru_cache(maxsize=8)(Server.of_greeting)


def _locks(found: Iterator[Token]) -> bool:
    last: list[str] = []
    for kind, text in found:
        word = text if kind == "word" else ""
        if not last and word in {"SAVEPOINT", "RELEASE"}:
            return True
        if last[-1:] == ["FOR"] and word in {"UPDATE", "SHARE"}:
            return True
        last = [*last[-3:], word]
        if last == ["LOCK", "IN", "SHARE", "MODE"]:
            return True
    return False


def _read(found: Iterator[Token], server: str | None) -> Reading:
    first = next((token for token in found if token != ("sign", "(")), None)
    if first is None:
        return Reading()
    word = first[1] if first[0] == "word" and first[1][0].isalpha() else ""
    if word in _HARMLESS:
        return Reading(word)
    if word in _ENDING:
        return Reading(word, ENDS)
    if word in _SOMETIMES:
        return Reading(word, ENDS if _SOMETIMES[word](found) else None)
    if word == "SET":
        refusal, behind = refusal_of_set(found)
        rest = Reading() if behind is None else _read(behind, server)
        return Reading(word, refusal or rest.refusal, rest.tells_all)
    if word in {"PREPARE", "EXECUTE"}:
        return _read_prepared(word, list(islice(found, 3)), server)
    if word == "ANALYZE":  # MariaDB runs a statement behind it and tells about it
        following = _word(found)
        is_of_tables = following in {"", "LOCAL", "NO_WRITE_TO_BINLOG", "TABLE", "TABLES"}
        return Reading(word, ENDS if is_of_tables else None, tells_all=False)
    return Reading(word, tells_all=False)


def _read_prepared(word: str, found: list[Token], server: str | None) -> Reading:
    """Read what is prepared as a literal; from a variable it is refused, as nobody can tell."""
    is_named = word == "EXECUTE" and (not found or found[0][1] != "IMMEDIATE")
    if is_named:
        return Reading(word, tells_all=False)
    source = found[-1] if found else None
    if word == "EXECUTE":
        source = found[1] if len(found) > 1 else None
    if source is None or source[0] != "string":
        return Reading(word, ENDS)
    inner = read(text_of(source[1]), server)
    return Reading(word, inner.refusal, tells_all=word == "PREPARE")


def _word(found: Iterator[Token]) -> str:
    """Return the next token if it is a word."""
    kind, text = next(found, ("", ""))
    return text if kind == "word" else ""


def _creates(found: Iterator[Token]) -> bool:
    following = _word(found)
    if following == "OR":  # OR REPLACE, which MariaDB has for temporary tables, too
        _word(found)
        following = _word(found)
    return following != "TEMPORARY"


def _rolls_back(found: Iterator[Token]) -> bool:
    following = _word(found)
    return (_word(found) if following == "WORK" else following) != "TO"


#: Of these, what comes behind the first word decides.
_SOMETIMES: dict[str, Callable[[Iterator[Token]], bool]] = {
    "CREATE": _creates,
    "DROP": lambda found: _word(found) not in {"TEMPORARY", "PREPARE"},
    "ROLLBACK": _rolls_back,
    "LOAD": lambda found: _word(found) not in {"DATA", "XML"},
    "RESET": lambda found: _word(found) != "PERSIST",
    "XA": lambda found: _word(found) != "RECOVER",
}
