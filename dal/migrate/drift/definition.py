"""A table as SHOW CREATE TABLE writes it, taken apart into what can differ by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUOTED = r"'(?:[^'\\]|''|\\.)*'"
_PARENTHESES = rf"\((?:{_QUOTED}|[^()'])*\)"
_COLUMN = re.compile(
    rf"""
    (?P<type>\w+(?:\ precision)?(?:{_PARENTHESES})?(?:\ unsigned)?(?:\ zerofill)?)
    (?:\ CHARACTER\ SET\ (?P<charset>\w+))?
    (?:\ COLLATE\ (?P<collation>\w+))?
    (?P<rest>.*)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(rf" COMMENT (?P<comment>{_QUOTED})")
_CHECKED = re.compile(rf"(?P<column>(?:{_QUOTED}|[^'])*?) CHECK (?P<check>\(.*\))", re.DOTALL)
_TEXT_TYPES = re.compile(r"(?:var)?char\b|(?:tiny|medium|long)?text\b|enum\b|set\b")
# A literal in a stored expression carries the character set of the session that wrote it.
_INTRODUCER = re.compile(r"(?<!\w)_(?:utf8mb[34]|utf8|latin1|ascii|binary)(?=')")
_SECTION = re.compile(
    r"""
    (?P<column>`(?:[^`]|``)+`)\ (?P<definition>.*)
    | (?P<primary>PRIMARY\ KEY\ .*)
    | (?P<key>(?:UNIQUE\ |FULLTEXT\ |SPATIAL\ )?KEY)\ (?P<key_name>`(?:[^`]|``)+`)\ (?P<parts>.*)
    | CONSTRAINT\ (?P<check_name>`(?:[^`]|``)+`)\ CHECK\ (?P<check>.*)
    | CONSTRAINT\ (?P<fk_name>`(?:[^`]|``)+`)\ FOREIGN\ KEY\ (?P<fk>.*)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class ColumnLine:
    """One column; two that are equal are the same to the server."""

    type: str
    charset: str | None
    collation: str | None
    is_nullable: bool
    generated: str | None
    rest: str  # DEFAULT, ON UPDATE, AUTO_INCREMENT, INVISIBLE
    comment: str | None
    text: str  # as the server writes it, without its name


@dataclass(frozen=True)
class Definition:
    """One table of one server."""

    columns: dict[str, ColumnLine]
    primary_key: dict[str, str]  # by its one name, PRIMARY
    keys: dict[str, str]
    checks: dict[str, str]
    foreign_keys: dict[str, str]
    charset: str | None
    collation: str | None
    comment: str | None


def unquoted(name: str) -> str:
    """Return the identifier between backticks."""
    return name[1:-1].replace("``", "`")


def _column(definition: str, charset: str | None, collation: str | None) -> ColumnLine:
    found = _COLUMN.fullmatch(definition)
    if found is None:  # a type that no regular expression foresaw: compared as a whole
        return ColumnLine(definition, None, None, True, None, "", None, definition)  # noqa: FBT003
    own = (found["charset"], found["collation"])
    if not _TEXT_TYPES.match(found["type"]):
        own = (None, None)
    elif own == (None, None):
        own = (charset, collation)
    elif own[0] is None and found["collation"]:  # MariaDB leaves the character set out
        own = (found["collation"].split("_")[0], found["collation"])
    rest = found["rest"]
    comment = None
    commented = _COMMENT.search(rest)
    if commented:
        comment = commented["comment"]
        rest = rest[: commented.start()] + rest[commented.end() :]
    generated = None
    if " GENERATED ALWAYS AS " in rest:
        generated = _INTRODUCER.sub("", rest).replace(" NOT NULL", "")
        return ColumnLine(
            found["type"], *own, " NOT NULL" not in rest, generated, "", comment, definition
        )
    is_nullable = not rest.startswith(" NOT NULL")
    rest = rest.removeprefix(" NOT NULL").removeprefix(" NULL")
    rest = _INTRODUCER.sub("", rest)
    return ColumnLine(found["type"], *own, is_nullable, None, rest, comment, definition)


def _sections(statement: str) -> tuple[list[str], str]:
    """Return the lines between the parentheses, and what follows them."""
    head, _, body = statement.partition("\n")
    if not head.startswith("CREATE "):
        raise ValueError("not a table's definition")
    inside, _, tail = body.partition("\n)")
    lines: list[str] = []
    for line in inside.split("\n"):
        if line.startswith("  ") and _SECTION.match(line[2:]):
            lines.append(line[2:])
        else:  # a line break inside an expression
            lines[-1] += f"\n{line}"
    return lines, tail


def parse(statement: str) -> Definition:
    """Take one SHOW CREATE TABLE apart."""
    lines, tail = _sections(statement)
    charset, collation = (
        found and found[1]
        for found in (re.search(rf" {name}=(\w+)", tail) for name in ("CHARSET", "COLLATE"))
    )
    comment = re.search(rf" COMMENT=({_QUOTED})", tail)
    table = Definition({}, {}, {}, {}, {}, charset, collation, comment and comment[1])
    for line in lines:
        found = _SECTION.fullmatch(line.rstrip().removesuffix(","))
        if found is None:
            raise ValueError("a line of a table's definition is of no known form")
        if found["column"]:
            # MariaDB leaves a check at its column, where a revision's comes to stand at the table.
            definition, at_column = found["definition"], _CHECKED.fullmatch(found["definition"])
            if at_column:
                definition = at_column["column"]
                table.checks[f"CONSTRAINT_0{len(table.checks)}"] = at_column["check"]
            table.columns[unquoted(found["column"])] = _column(definition, charset, collation)
        elif found["primary"]:
            table.primary_key["PRIMARY"] = found["primary"]
        elif found["key"]:
            parts = _INTRODUCER.sub("", found["parts"])
            table.keys[unquoted(found["key_name"])] = f"{found['key']} {parts}"
        elif found["check_name"]:
            table.checks[unquoted(found["check_name"])] = _INTRODUCER.sub("", found["check"])
        else:
            table.foreign_keys[unquoted(found["fk_name"])] = found["fk"]
    return table
