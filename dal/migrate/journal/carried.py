"""What statements leave in the session for later ones: gone with the session of an earlier run."""

from __future__ import annotations

from dal.migrate.journal.kinds import tokens


class Carried:
    """Temporary tables, and variables that were read from the data, with the step they are of."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}

    def note(self, sql: str, step: int) -> None:
        """Take note of a statement for the session, sent after `step` changes."""
        words = tokens(sql)
        upper = [word.upper() for word in words]
        if upper[:1] == ["CREATE"] and "TEMPORARY" in upper[:4] and "TABLE" in upper[:5]:
            rest = words[upper.index("TABLE") + 1 :]
            skipped = 3 if [word.upper() for word in rest[:3]] == ["IF", "NOT", "EXISTS"] else 0
            self._since.update({_bare(word): step for word in rest[skipped : skipped + 1]})
        elif "SELECT" in upper and (upper[0] == "SET" or "INTO" in upper or ":=" in sql):
            self._since.update(dict.fromkeys(_variables(words), step))
        elif upper[:1] == ["SET"]:  # the same value in each run
            for name in _variables(words):
                self._since.pop(name, None)

    def lost(self, sql: str, last_done: int) -> str | None:
        """Return what the statement needs of a session that is gone; None where it needs nothing.

        What is made again now is made of data that was changed since.
        """
        for word in tokens(sql):
            step = self._since.get(_bare(word))
            if step is not None and step < last_done:
                return word
        return None


def _variables(words: list[str]) -> set[str]:
    return {word.lower() for word in words if word.startswith("@") and word[1:2] != "@"}


def _bare(word: str) -> str:
    return word.strip("`").lower()
