"""Which statements pin a connection behind RDS Proxy, by its documented rules for MySQL.

A pinned client keeps one connection of the database to itself until it hangs up, and the proxy is
no pool any more. The rules are the AWS guide's "Avoiding pinning an RDS Proxy"
(https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy-pinning.html); where it leaves
room, the stricter reading counts. What a stored routine does is not seen, neither here nor by the
proxy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: "A text size greater than 16 KB": the shorter of the two kilobytes.
LONGEST = 16_000

#: The session variables that may be set without a pin; SESSION_TRACK_SCHEMA is on AWS's list, too,
#: and its page on configuration says of all `session_track_*` that they pin.
TRACKED = frozenset(
    {"autocommit", "auto_increment_increment", "interactive_timeout", "net_write_timeout"}
    | {"query_cache_type", "sql_mode", "time_zone", "wait_timeout"}
    | {"transaction_isolation", "tx_isolation", "transaction_read_only", "tx_read_only"}
    | {"character_set_client", "character_set_connection", "character_set_database"}
    | {"character_set_filesystem", "character_set_results", "character_set_server"}
    | {"collation_connection", "collation_database", "collation_server"}
)


@dataclass(frozen=True)
class Pin:
    """A statement that pins, and why."""

    statement: str
    reason: str


def pins_of(statements: Iterable[str]) -> list[Pin]:
    """Return what pins among `statements`, each once, in their order; empty where nothing does."""
    found = (Pin(text, reason) for text in statements for reason in _reasons(text))
    return list(dict.fromkeys(found))


def read_recording(path: str | Path) -> list[str]:
    """Return the statements of a recorded run.

    Either JSON lines, each a statement or an object with one as `statement`, or MySQL's general
    log, in which a statement prepared by the binary protocol comes back as `PREPARE ... FROM`.

    Raises:
        ValueError: the file is neither, with the number of the first line that is not.
        OSError: it cannot be read.
    """
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.lstrip()[:1] in {'"', "{"}:
        return list(_from_json_lines(text))
    return list(_from_general_log(text))


# The rules ---------------------------------------------------------------------------------------

_STRING = r"'(?:[^'\\]|\\.|'')*+(?:'|\Z) | \"(?:[^\"\\]|\\.|\"\")*+(?:\"|\Z)"
_COMMENT = r"/\*.*?(?:\*/|\Z) | --(?=\s|\Z)[^\n]*+ | \#[^\n]*+"
_OPAQUE = re.compile(rf"(?P<string>{_STRING}) | (?P<comment>{_COMMENT})", re.VERBOSE | re.DOTALL)
_MARKS = re.compile(r"^/\*M?!\d*|\*/$")

_ROUTINE = re.compile(
    r"(?:CREATE|ALTER)\b(?:\s+OR\s+REPLACE\b)?(?:\s+DEFINER\s*=\s*\S+)?"
    r"\s+(?:PROCEDURE|FUNCTION|TRIGGER|EVENT)\b",
    re.IGNORECASE,
)

_WORDS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        (r"^LOCK\s+TABLES?\b", "LOCK TABLES"),
        (r"^FLUSH\s+(?:\w+\s+)?TABLES?\b.*\b(?:READ\s+LOCK|FOR\s+EXPORT)\b", "FLUSH with a lock"),
        (r"^CREATE\s+(?:OR\s+REPLACE\s+)?TEMPORARY\b", "a temporary table"),
        (r"^(?:PREPARE|EXECUTE|DEALLOCATE)\b", "a prepared statement"),
        (r"(?<![\w`.@$])GET_LOCK\s*\(", "GET_LOCK() takes a lock of the session"),
        (r":=|\bINTO\s+@(?!@)|^CALL\b.*@(?!@)", "sets a user variable"),
        (
            r"(?<![\w`.@$])(?:(?:FOUND_ROWS|ROW_COUNT|LAST_INSERT_ID)\s*\(|SQL_CALC_FOUND_ROWS\b)",
            "FOUND_ROWS(), ROW_COUNT() and LAST_INSERT_ID() sometimes pin",
        ),
    )
]


def _reasons(text: str) -> Iterator[str]:
    size = len(text.encode())
    if size > LONGEST:
        yield f"{size:,} bytes are more than 16 KB"
    bare = _OPAQUE.sub(_without, text)
    if any(found["comment"] and _is_run(found["comment"]) for found in _OPAQUE.finditer(text)):
        yield "a comment of the form /*! ... */"
    if _ROUTINE.match(bare.strip()):
        return
    statements = [part.strip() for part in bare.split(";") if part.strip()]
    if len(statements) > 1:
        yield "several statements in one"
    for statement in statements:
        yield from _reasons_of_one(statement)


def _reasons_of_one(statement: str) -> Iterator[str]:
    if re.match(r"SET\b", statement, re.IGNORECASE):
        yield from _set(statement[3:])
        return
    for pattern, reason in _WORDS:
        if re.search(pattern, statement):
            yield reason


def _without(found: re.Match[str]) -> str:
    comment = found["comment"]
    if comment is None:
        return "''"
    return _MARKS.sub(" ", comment) if _is_run(comment) else " "


def _is_run(comment: str) -> bool:
    """Whether a server may run what is in the comment."""
    return comment.startswith(("/*!", "/*M!"))


_SCOPE = re.compile(
    r"@@(?:(\w+)\s*\.\s*)?|(GLOBAL|SESSION|LOCAL|PERSIST(?:_ONLY)?)\s+", re.IGNORECASE
)
_NAMES = re.compile(r"(?:NAMES|CHARACTER\s+SET|CHAR\s+SET|CHARSET)\b", re.IGNORECASE)
_CHARACTERISTICS = re.compile(r"TRANSACTION\s", re.IGNORECASE)
_VARIABLE = re.compile(r"(\w[\w.$]*)\s*:?=")


def _set(assignments: str) -> Iterator[str]:
    for part in _at_commas(assignments.replace("`", "")):
        assignment = part.strip()
        if assignment.startswith("@") and not assignment.startswith("@@"):
            yield "sets a user variable"
            continue
        scope = _SCOPE.match(assignment)
        rest = assignment[scope.end() :] if scope else assignment
        word = ((scope[1] or scope[2]) if scope else None) or ""
        if _NAMES.match(rest):
            continue
        if _CHARACTERISTICS.match(rest):
            if word.upper() not in {"SESSION", "LOCAL"}:
                yield "sets the next transaction alone: SET SESSION TRANSACTION is tracked"
            continue
        variable = _VARIABLE.match(rest)
        name = variable[1].lower() if variable else ""
        if not name and re.match(r"(?:READ|ISOLATION)\b", rest, re.IGNORECASE):
            continue  # the second part of SET SESSION TRANSACTION
        if name not in TRACKED or word.upper() in {"GLOBAL", "PERSIST", "PERSIST_ONLY"}:
            yield f"sets {name or rest[:40]}, which the proxy does not track"
        elif scope and not word and name.startswith(("transaction_", "tx_")):
            yield f"SET @@{name} means the next transaction alone: leave the @@ out"


def _at_commas(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for position, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            yield text[start:position]
            start = position + 1
    yield text[start:]


# The recordings ----------------------------------------------------------------------------------


def _from_json_lines(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            statement = entry["statement"] if isinstance(entry, dict) else entry
        except (ValueError, KeyError):
            statement = None
        if not isinstance(statement, str):
            raise ValueError(
                f'line {number} is neither a JSON string nor an object with "statement"'
            )
        yield statement


# "2026-11-22T10:00:00.123456Z\t   12 Query\tSELECT 1": MySQL from 5.7 on. MariaDB has its own
# clock, and leaves it out within one second.
_ENTRY = re.compile(
    r"^(?:\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)\s+|(?:\d{6}\s+[\d:]+)?\s+)"
    r"\d+\s(?P<command>[A-Z][a-z]+(?: [A-Za-z]+){0,2})(?:\t(?P<text>.*))?$"
)
_PREPARED = "PREPARE binary_protocol FROM "


def _from_general_log(text: str) -> Iterator[str]:
    statement: list[str] | None = None
    is_log = False
    for number, line in enumerate(text.split("\n"), 1):
        entry = _ENTRY.match(line)
        if entry is None:
            if statement is not None:  # a statement of several lines
                statement.append(line)
            elif not is_log and number > 10:  # its head has three lines
                raise ValueError(f"line {number} is not MySQL's general log, nor a JSON line")
            continue
        is_log = True
        if statement is not None:
            yield "\n".join(statement).strip()
        said = entry["text"] or ""
        statement = {"Query": [said], "Prepare": [_PREPARED + repr(said)]}.get(entry["command"])
    if statement is not None:
        yield "\n".join(statement).strip()
    if not is_log and text.strip():
        raise ValueError("line 1 is not MySQL's general log, nor a JSON line")
