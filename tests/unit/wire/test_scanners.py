"""Every scanner of text that others write takes time in proportion to the text.

A scanner that gives back what it took would need an hour for one of these; the limit is wide, so
that a loaded machine does not fail it.
"""

import contextlib

import pymysql
import pytest
from sqlalchemy.exc import CompileError

from dal.engine.fingerprint import fingerprint
from dal.engine.translate import named_error
from dal.migrate.journal import kinds
from dal.repository.writing import batches
from dal.scope import statements
from dal.scope.text.tokens import Server, text_of, tokens

SIZE = 100_000


def errors_of_the_server(text):
    for number in (1062, 1452, 3819, 1048, 1406, 1264):
        named_error(pymysql.IntegrityError(number, text))


def parts_of(text):
    with contextlib.suppress(CompileError):  # there are none in a string
        batches._parts.__wrapped__(f"INSERT {text} VALUES (%s)")


SCANNERS = {
    "the guard of MySQL": lambda text: statements.read(f"SET @a = {text}", "8.4.3"),
    "the guard of MariaDB": lambda text: statements.read(f"SET @a = {text}", "10.11.6-MariaDB"),
    "the guard's beginning": lambda text: statements.read(text.encode(), "8.4.3"),
    "the guard of a prepared one": lambda text: statements.read(f"PREPARE s FROM {text}", "9.0.1"),
    "the guard of a read-only scope": lambda text: statements.is_refused_read_only(
        f"SELECT {text} UPDATE"
    ),
    "the fingerprint": fingerprint,
    "the names in an error": errors_of_the_server,
    "the parts of an INSERT": parts_of,
    "the kind of a migration's statement": kinds.tokens,
}


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize(
    "part",
    [
        *("'", "\\'", "''x", '"', '\\"', "'\\", "`", "``x", "'\"`"),
        *("/*", "/*!", "/*!99999", "/*!99999/*", "/*M!", "*/", "/", "--", "-- ", "--\x01", "#"),
        *("(", "%(", "%(a", "%s", "@", "@'", "_a ", "_", "0", "1e", ".", ",", " ", "\n", "\0"),
        *("for key '", "Column '", "(`a`.`", "CONSTRAINT `", "Duplicate entry 'for key "),
        *("(...) , ", "VALUES ", "FOR ", "LOCK IN ", "é"),
    ],
    ids=repr,
)
def test_it_is_done_soon_with_text_that_repeats_what_begins_something(scanner, part, ends_within):
    text = part * (SIZE // len(part))
    with ends_within(10):
        SCANNERS[scanner](text)
        SCANNERS[scanner](f"'{text}")


@pytest.mark.parametrize("quote", ["'", '"', "`"])
def test_a_megabyte_that_never_ends_its_quote_is_one_token(quote, ends_within):
    with ends_within(20):
        for text in (quote + "x\\" * 500_000, quote + "\\x" * 500_000, quote + "x" * 1_000_000):
            assert len(list(tokens(text, Server(80400)))) == 1


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("'COMMIT'", "COMMIT"),
        ('"COMMIT"', "COMMIT"),
        (r"'COM\MIT'", "COMMIT"),
        ("'it''s'", "it's"),
        ("'a\"\"b'", 'a""b'),
        (r"'a\'b\\'", "a'b\\"),
        (r"'\n\t\0\Z'", "\n\t\0\x1a"),
        ("''", ""),
    ],
)
def test_a_literal_stands_for_what_the_server_makes_of_it(literal, text):
    assert text_of(literal) == text
