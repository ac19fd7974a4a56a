"""What the server holds now of all that a statement names: tells whether a DDL was applied.

MySQL's DDL is atomic (manual, "Atomic Data Definition Statement Support"): after a crash the
definitions are as before the statement, or as after it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from dal.migrate.journal.kinds import Kind, kind_of, tokens

# The next number is not the table's definition, and every INSERT changes it.
_NEXT_NUMBER = re.compile(r" AUTO_INCREMENT=\d+")

#: The words after which a statement is about this kind of object, and where such are listed.
_LISTED = {
    "VIEW": (
        "SELECT table_name, view_definition, check_option, is_updatable, definer, security_type "
        "FROM information_schema.views WHERE table_schema = %s",
    ),
    "TRIGGER": (
        "SELECT trigger_name, event_manipulation, event_object_table, action_timing, "
        "action_order, action_statement, definer, sql_mode "
        "FROM information_schema.triggers WHERE trigger_schema = %s",
    ),
    "PROCEDURE": (
        "SELECT specific_name, routine_type, dtd_identifier, routine_definition, "
        "is_deterministic, sql_data_access, security_type, routine_comment, definer, last_altered "
        "FROM information_schema.routines WHERE routine_schema = %s",
        "SELECT specific_name, routine_type, ordinal_position, parameter_mode, parameter_name, "
        "dtd_identifier FROM information_schema.parameters WHERE specific_schema = %s",
    ),
    "EVENT": (
        "SELECT event_name, event_definition, event_type, execute_at, interval_value, "
        "interval_field, starts, ends, status, on_completion, event_comment, last_altered "
        "FROM information_schema.events WHERE event_schema = %s",
    ),
}
_LISTED["FUNCTION"] = _LISTED["PROCEDURE"]
_DATABASES = (
    "SELECT schema_name, default_character_set_name, default_collation_name "
    "FROM information_schema.schemata WHERE schema_name IN ({})"
)
_ACCOUNTS = {"USER", "ROLE", "GRANT", "REVOKE"}


def fingerprint(cursor: Any, sql: str, here: str | None) -> str:
    """Return a hash of the definitions of everything that `sql`, in the database `here`, names.

    A procedure, or what was prepared, may name anything: then of all tables.
    """
    words = tokens(sql)
    parts = list(_definitions(cursor, words, here, everything=kind_of(sql) is Kind.OPAQUE))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _definitions(
    cursor: Any, words: list[str], here: str | None, *, everything: bool
) -> Iterator[str]:
    if everything:
        words = [*words, *_LISTED, *_every_table(cursor, here)]
    names = sorted(_names(words))
    yield from _tables(cursor, here, names)
    for schema, name in sorted(_qualified(words)):
        if schema.lower() != (here or "").lower():
            yield from _tables(cursor, schema, [name])
    keywords = {word.upper() for word in words}
    databases = {here, *(schema for schema, _ in _qualified(words))}
    for word in sorted(keywords & _LISTED.keys()):
        for schema in sorted(filter(None, databases)):
            for query in _LISTED[word]:
                yield from _listed(cursor, query, (schema,))
    if keywords & {"DATABASE", "SCHEMA"}:
        yield from _listed(cursor, _DATABASES.format(_marks(names)), tuple(names))
    if keywords & _ACCOUNTS:
        yield from _accounts(cursor)


def _marks(names: list[str]) -> str:
    return ", ".join(["%s"] * len(names))


def _every_table(cursor: Any, schema: str | None) -> list[str]:
    cursor.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (schema,)
    )
    return [_quoted(name) for (name,) in cursor.fetchall()]


def _names(words: list[str]) -> set[str]:
    """Return every word that may be a name; a keyword among them names nothing."""
    return {_bare(word) for word in words if word not in "().,;=" and not word.startswith("@")}


def _qualified(words: list[str]) -> set[tuple[str, str]]:
    triples = zip(words, words[1:], words[2:], strict=False)
    return {(_bare(left), _bare(right)) for left, dot, right in triples if dot == "."}


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _bare(word: str) -> str:
    return word[1:-1].replace("``", "`") if word.startswith("`") else word


def _tables(cursor: Any, schema: str | None, names: list[str]) -> Iterator[str]:
    if schema is None or not names:
        return
    cursor.execute(
        "SELECT table_name, table_type FROM information_schema.tables "  # noqa: S608  # marks
        f"WHERE table_schema = %s AND table_name IN ({_marks(names)}) ORDER BY table_name",
        (schema, *names),
    )
    for name, kind in cursor.fetchall():
        quoted = f"{_quoted(schema)}.{_quoted(name)}"
        cursor.execute(f"SHOW CREATE TABLE {quoted}")
        row = cursor.fetchone()
        text = row[1] if kind != "VIEW" else "|".join(map(str, row))
        yield f"{quoted} {_NEXT_NUMBER.sub('', text)}"


def _listed(cursor: Any, query: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    cursor.execute(query, arguments)
    yield from sorted(repr(row) for row in cursor.fetchall())


def _accounts(cursor: Any) -> Iterator[str]:
    """Return the accounts, where this one may see them."""
    try:
        cursor.execute("SELECT user, host FROM mysql.user")
    except Exception:  # noqa: BLE001  # no privilege: GRANT and REVOKE may run again anyway
        return
    yield from sorted(repr(row) for row in cursor.fetchall())
