"""The words of a statement, as the server's own lexer tells them apart.

In time linear in the text: no alternative of a pattern gives back what it took. It holds for the
state that `dal` gives a session: utf8mb4, neither ANSI_QUOTES nor NO_BACKSLASH_ESCAPES.
https://dev.mysql.com/doc/refman/8.4/en/comments.html
https://dev.mysql.com/doc/refman/8.4/en/string-literals.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# `--` begins a comment before a blank or any other control character. NUL ends what it is in.
_TOKEN = re.compile(
    r"""
      (?P<blank> [ \t\n\v\f\r]++ | (?: \# | --(?=[\0-\x20\x7f]|\Z) ) [^\n\0]*+ )
    | (?P<word> [A-Za-z0-9_$\x80-\U0010ffff]++ )
    | (?P<string> '(?:[^'\\]++|\\.|'')*+(?:'|\\?\Z) | "(?:[^"\\]++|\\.|"")*+(?:"|\\?\Z) )
    | (?P<name> `(?:[^`\0]++|``)*+(?:[`\0]|\Z) )
    | (?P<comment> /\*(?:(?P<maria>M)?!(?P<version>\d{5}\d?)?)? )
    | (?P<end> \*/ )
    | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL,
)

# The rest of a conditional comment that does not run: another comment may be in it.
_SKIPPED = re.compile(
    r"(?: [^/*]++ | /\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z) | /(?!\*) | \*(?!/) )*+ (?:\*/|\Z)",
    re.VERBOSE,
)

_BLANKS = tuple(" \t\n\v\f\r")


class Server(NamedTuple):
    """Whose lexer it is: the number that a conditional comment is held against."""

    version: int
    is_mariadb: bool = False
    #: MySQL 9 wants a blank behind a number of six digits, older versions do not.
    takes_six_digits: bool = False

    @classmethod
    def of_greeting(cls, text: str) -> Server:
        """Return the server that calls itself `text`, such as `8.4.3-log`."""
        is_mariadb = "MariaDB" in text
        numbers = re.findall(r"\d+", text.removeprefix("5.5.5-") if is_mariadb else text)
        major, minor, patch = [*map(int, numbers[:3]), 0, 0, 0][:3]
        return cls(major * 10_000 + minor * 100 + patch, is_mariadb)

    def runs(self, number: str | None, *, is_marias: bool) -> bool:
        """Return whether the code of a conditional comment with this number runs there."""
        version = int(number or 0)
        if self.is_mariadb and not is_marias and 50700 <= version <= 99999:
            return False  # what MySQL has from 5.7 on and MariaDB has not
        return version <= self.version

    def number(self, comment: re.Match[str]) -> str | None:
        """Return the number of a conditional comment: of five digits, or of six."""
        found = comment["version"]
        if found is None or self.is_mariadb or self.takes_six_digits:
            return found
        return found if comment.string[comment.end() : comment.end() + 1] in _BLANKS else found[:5]


#: The kind (word, name, string, sign) and the text: words and names in upper case, strings with
#: their quotes.
Token = tuple[str, str]


def tokens(sql: str, server: Server) -> Iterator[Token]:
    """Give the tokens of a statement as `server` reads them; comments are none."""
    match, place, is_inside = _TOKEN.match, 0, False
    while (found := match(sql, place)) is not None:
        kind, place = found.lastgroup or "", found.end()
        if kind == "word":
            yield kind, found[0].upper()
        elif kind in {"sign", "string"}:
            yield kind, found[0]
        elif kind == "name":
            yield kind, found[0][1:-1].replace("``", "`").upper()
        elif kind == "end":
            if not is_inside:
                yield "sign", "*"
                place -= 1
            is_inside = False
        elif kind == "comment":
            place, runs = _behind(found, server)
            is_inside = is_inside or runs


def _behind(comment: re.Match[str], server: Server) -> tuple[int, bool]:
    """Return where the lexer goes on after this beginning, and whether that is code that runs."""
    sql, is_marias = comment.string, comment["maria"] is not None
    if "!" not in comment[0] or (is_marias and not server.is_mariadb):
        end = sql.find("*/", comment.start() + 2)
        return len(sql) if end < 0 else end + 2, False
    number = server.number(comment)
    place = comment.end() - len(comment["version"] or "") + len(number or "")
    if server.runs(number, is_marias=is_marias):
        return place, True
    skipped = _SKIPPED.match(sql, place)
    return skipped.end() if skipped else len(sql), False


_ESCAPES = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "Z": "\x1a"}
_ESCAPED = re.compile(r"\\(.)|''|\"\"", re.DOTALL)


def text_of(string: str) -> str:
    """Return what a string literal stands for, given with its quotes."""
    quote = string[0]

    def plain(found: re.Match[str]) -> str:
        if found[1] is None:
            return quote if found[0][0] == quote else found[0]
        return _ESCAPES.get(found[1], found[1])

    return _ESCAPED.sub(plain, string[1:-1])
