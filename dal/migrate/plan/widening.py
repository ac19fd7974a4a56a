"""Does each value of a column's old type fit its new one? Only what surely does is wider."""

from __future__ import annotations

import re

from dal.migrate.drift.definition import ColumnLine

_TYPE = re.compile(r"(\w+)(?:\((.*)\))?(?: (unsigned))?.*", re.DOTALL)
_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_LENGTHS = {
    "tinytext": 2**8,
    "text": 2**16,
    "mediumtext": 2**24,
    "longtext": 2**32,
    "tinyblob": 2**8,
    "blob": 2**16,
    "mediumblob": 2**24,
    "longblob": 2**32,
}
_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
_TIMES = {"datetime", "timestamp", "time"}
_MEMBER = re.compile(r"'(?:[^'\\]|''|\\.)*'")


def _taken_apart(text: str) -> tuple[str, str, bool]:
    found = _TYPE.fullmatch(text)
    if found is None:
        return text, "", False
    return found[1], found[2] or "", found[3] is not None


def is_narrower(old: ColumnLine, new: ColumnLine) -> bool:
    """Return whether a value of the old column may not fit the new one."""
    if old.is_nullable and not new.is_nullable:
        return True
    if new.charset not in {old.charset, "utf8mb4"}:
        return True
    return old.type != new.type and not _is_wider(_taken_apart(old.type), _taken_apart(new.type))


def _is_wider(old: tuple[str, str, bool], new: tuple[str, str, bool]) -> bool:
    (was, of, unsigned), (is_, to, now_unsigned) = old, new
    if was in _INTEGERS and is_ in _INTEGERS:
        is_more = _INTEGERS[is_] > _INTEGERS[was]
        if unsigned == now_unsigned:
            return is_more or _INTEGERS[is_] == _INTEGERS[was]
        return unsigned and is_more  # 0 to 255 fits a signed SMALLINT, -1 fits no unsigned
    if (was, is_) == ("float", "double"):
        return not of and not to
    if was == is_ == "decimal":
        (digits, scale), (more, further) = _numbers(of), _numbers(to)
        return (
            further >= scale and more - further >= digits - scale and (unsigned or not now_unsigned)
        )
    if was == is_ and was in {"enum", "set"}:
        return set(_MEMBER.findall(of)) <= set(_MEMBER.findall(to))
    if was in _TIMES and (is_ == was or (was, is_) == ("timestamp", "datetime")):
        return int(to or 0) >= int(of or 0)
    for kind in (_TEXTS, _BYTES):
        if was in kind and is_ in kind:
            return _length(is_, to) >= _length(was, of)
    return False


def _numbers(text: str) -> tuple[int, int]:
    digits, _, scale = text.partition(",")
    return int(digits or 10), int(scale or 0)


def _length(kind: str, of: str) -> int:
    return _LENGTHS.get(kind) or int(of or 1)
