"""What a statement does, by its first words: does it read, write rows, or change definitions?

Statements that cause an implicit commit are the DDL here:
https://dev.mysql.com/doc/refman/8.4/en/implicit-commit.html
"""

from __future__ import annotations

import enum
import itertools
import re

# Whole tokens, so that a keyword in a string or a comment is none. What /*! ... */ holds is run by
# the server, so only its marks go.
_TOKEN = re.compile(
    r"""
      (?P<comment> /\*(?!!|M!).*?(?:\*/|\Z) | --(?=\s|\Z)[^\n]*+ | \#[^\n]*+ )
    | (?P<mark> /\*M?!\d* | \*/ )
    | (?P<quoted> `(?:[^`]|``)*+(?:`|\Z) )
    | (?P<text> '(?:[^'\\]|\\.|'')*+(?:'|\\?\Z) | "(?:[^"\\]|\\.|"")*+(?:"|\\?\Z) )
    | (?P<word> @{0,2}[\w$]+ )
    | (?P<sign> [().,;=] )
    """,
    re.VERBOSE | re.DOTALL,
)


class Kind(enum.Enum):
    """What is to be done about a statement on a run that goes on after an earlier one."""

    #: Runs every time, for what it sets in the session.
    SESSION = "session"
    #: Its rows are kept, so that Python code decides the same again.
    READ = "read"
    #: Rows: stored with its journal row, in one transaction.
    DML = "dml"
    #: A definition: it commits by itself, and is known by what it left.
    DDL = "ddl"
    #: A procedure, or what was prepared: nobody sees what is in it.
    OPAQUE = "opaque"


_READS = {"SELECT", "SHOW", "DESC", "DESCRIBE", "EXPLAIN", "TABLE", "VALUES", "HELP", "CHECKSUM"}
_WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD"}
_DEFINES = {
    *("ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE", "GRANT", "REVOKE", "ANALYZE", "OPTIMIZE"),
    *("REPAIR", "CHECK", "FLUSH", "INSTALL", "UNINSTALL", "CACHE", "IMPORT", "RESET", "KILL"),
    *("COMMENT",),
}
_OPAQUE = {"CALL", "EXECUTE"}


def tokens(sql: str) -> list[str]:
    """Return the words, quoted names and signs of a statement; no comments, no texts.

    Names keep their quotes, so that `table` in backticks is no keyword.
    """
    return [
        found[0] for found in _TOKEN.finditer(sql) if found.lastgroup in {"word", "quoted", "sign"}
    ]


def kind_of(sql: str) -> Kind:
    """Return what kind of statement this is; one of no known kind counts as opaque."""
    words = [token.upper() for token in tokens(sql[:100_000])]
    bare = [word for word in words if word not in {"(", ";"}]
    verb = bare[0] if bare else ""
    if verb == "WITH":
        verb = _verb_after_with(words)
    if verb in _READS:
        return _kind_of_read(verb, bare)
    if verb in _WRITES:
        return Kind.DML
    if verb in {"CREATE", "DROP"} and "TEMPORARY" in bare[1:4]:
        return Kind.SESSION
    if verb in _DEFINES:
        return Kind.DDL
    return Kind.OPAQUE if verb in _OPAQUE else Kind.SESSION


def _verb_after_with(words: list[str]) -> str:
    depth = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        if depth == 0 and word in {"SELECT", "UPDATE", "DELETE", "TABLE", "VALUES"}:
            return word
    return "SELECT"


def _kind_of_read(verb: str, words: list[str]) -> Kind:
    # EXPLAIN ANALYZE runs it, and MySQL lets only reads; INTO and variables are the session's.
    is_of_session = verb == "SELECT" and (
        "INTO" in words or any(word.startswith("@") and word[1:2] != "@" for word in words)
    )
    return Kind.SESSION if is_of_session or "GET_LOCK" in words else Kind.READ


def locks_rows(sql: str) -> bool:
    """Return whether a SELECT locks what it reads."""
    words = [token.upper() for token in tokens(sql)]
    pairs = set(itertools.pairwise(words))
    return not pairs.isdisjoint({("FOR", "UPDATE"), ("FOR", "SHARE"), ("LOCK", "IN")})
