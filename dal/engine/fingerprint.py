"""What a statement has in common with all of its kind: its text without values.

Much as `DIGEST_TEXT` of MySQL's performance schema, which does it with the server's own parser:
https://dev.mysql.com/doc/refman/8.4/en/performance-schema-statement-digests.html
"""

from __future__ import annotations

import re

#: Characters of a fingerprint, as many as MySQL keeps bytes of a digest (`max_digest_length`).
LONGEST = 1024

# A longer statement repeats itself: a list of rows, or of values.
_READ = 64 * LONGEST

# Every alternative also takes what begins in it and never ends: the text may be cut off.
_TOKEN = re.compile(
    r"""
      (?P<comment> /\*.*?(?:\*/|\Z) | --(?=\s|\Z)[^\n]*+ | \#[^\n]*+ )
    | (?P<name> `[^`]*+(?:`|\Z) )
    | (?P<value>
        (?: (?<![\w$@`]) (?: _\w++\s*+ | [nxb] ) )?
        (?: '(?:[^'\\]|\\.|'')*+(?:'|\\?\Z) | "(?:[^"\\]|\\.|"")*+(?:"|\\?\Z) )
      | (?<![\w$@`.]) \.?\d [\w.]*+ (?: (?<=[eE]) [+-]\d++ )?
      | (?<![\w$@`.]) (?: TRUE | FALSE ) (?![\w$])
      | % (?: s | \(\w*+\)s | \(\w*+\Z )
      )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)

_VALUES = r"(?:\?|NULL|DEFAULT)"
_LIST = re.compile(rf"\(\s*+{_VALUES}(?:\s*+,\s*+{_VALUES})*+\s*+\)", re.IGNORECASE)
_LISTS = re.compile(r"\(\.\.\.\)(?:\s*+,\s*+\(\.\.\.\))++")
_BLANK = re.compile(r"\s+")


def fingerprint(sql: str) -> str:
    """Return the statement with `?` for each value and `(...)` for each list of them.

    Comments go, names stay, and so does NULL. Whatever begins like a number counts as one.
    """
    bare = _TOKEN.sub(_without_value, sql[:_READ])
    short = _LISTS.sub("(...)", _LIST.sub("(...)", bare))
    short = _BLANK.sub(" ", short).strip()
    return short if len(short) <= LONGEST else short[: LONGEST - 3] + "..."


def _without_value(token: re.Match[str]) -> str:
    if token["name"]:
        return token["name"]
    return " " if token["comment"] else "?"
