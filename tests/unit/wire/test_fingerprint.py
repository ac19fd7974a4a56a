"""The fingerprint of a statement: names stay, values never do, whatever they look like."""

import time

import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dal.engine.fingerprint import LONGEST, fingerprint


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT a FROM t WHERE b = %s", "SELECT a FROM t WHERE b = ?"),
        ("SELECT a FROM t WHERE b = %(b_1)s", "SELECT a FROM t WHERE b = ?"),
        ("SELECT a\n  FROM   t\tWHERE b=1", "SELECT a FROM t WHERE b=?"),
        ("SELECT 1, 2.5, .5, 1e-5, 0xFF, 0b01, -3", "SELECT ?, ?, ?, ?, ?, ?, -?"),
        ("SELECT 'a', \"b\", x'1F', _utf8mb4'c', _binary 'd', N'e'", "SELECT ?, ?, ?, ?, ?, ?"),
        (r"SELECT 'it''s', 'it\'s', '\\', 'a' 'b'", "SELECT ?, ?, ?, ? ?"),
        ("SELECT DATE '2026-11-22', NOW(6)", "SELECT DATE ?, NOW(...)"),
        ("SELECT a FROM t WHERE b IN (%s)", "SELECT a FROM t WHERE b IN (...)"),
        ("SELECT a FROM t WHERE b IN (%s, %s, NULL, 3)", "SELECT a FROM t WHERE b IN (...)"),
        ("DELETE FROM t WHERE (b, c) IN ((1, 2), (3, 4))", "DELETE FROM t WHERE (b, c) IN ((...))"),
        ("SELECT a FROM t WHERE b IS TRUE AND c = false", "SELECT a FROM t WHERE b IS ? AND c = ?"),
        ("SELECT trueish, t.false FROM t", "SELECT trueish, t.false FROM t"),
        ("INSERT INTO t VALUES (%s, %s), (%s, %s),\n(%s, DEFAULT)", "INSERT INTO t VALUES (...)"),
        ("SELECT `a-1`, t2.x3 FROM `2024` AS t2", "SELECT `a-1`, t2.x3 FROM `2024` AS t2"),
        ("SELECT a IS NULL FROM t LIMIT %s, %s", "SELECT a IS NULL FROM t LIMIT ?, ?"),
        ("SELECT a %% 2 FROM t", "SELECT a %% ? FROM t"),
        ("/* trace='x' */ SELECT 1 -- 'y'\n + 1 # z", "SELECT ? + ?"),
        ("SELECT /*+ MAX_EXECUTION_TIME(5) */ 1", "SELECT ?"),
        ("SELECT '-- no comment', '/* nor this'", "SELECT ?, ?"),
        ("SELECT 5--3", "SELECT ?--?"),
        ("", ""),
    ],
)  # fmt: skip
def test_of_a_statement(sql, kind):
    assert fingerprint(sql) == kind


@pytest.mark.parametrize(
    "sql", ["SELECT 'secret", 'SELECT "secret', "SELECT 'secret\\", "/* secret"]
)
def test_of_a_text_that_is_cut_off_shows_no_value(sql):
    assert "secret" not in fingerprint(sql)


def test_is_the_same_for_any_number_of_rows():
    one = fingerprint("INSERT INTO t VALUES (1, 'a')")
    assert fingerprint("INSERT INTO t VALUES " + ", ".join(["(1, 'a')"] * 500)) == one


def test_has_an_end():
    assert len(fingerprint("SELECT " + ", ".join(f"c{n}" for n in range(10_000)))) == LONGEST


VALUES = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="'\"\\`%#-/*\n ()?,sx0;", max_size=20),
    st.binary(max_size=20),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.datetimes(),
    st.dates(),
    st.booleans(),
    st.none(),
)


DRIVER = pymysql.connections.Connection(defer_connect=True)
DRIVER.server_status = 0


def literal(value):
    """What the driver would put in place of a parameter."""
    return DRIVER.escape(value, DRIVER.encoders)


@settings(max_examples=300, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_is_the_same_whatever_the_values_are(values):
    conditions = " AND ".join(f"`c` = {literal(value)}" for value in values)
    shown = fingerprint(f"SELECT a FROM t WHERE {conditions} LIMIT 1")

    anything = " AND ".join(["`c` = ?"] * len(values))
    same = shown.replace("= -?", "= ?").replace("= NULL", "= ?")
    assert same == f"SELECT a FROM t WHERE {anything} LIMIT ?"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="'\"\\`%#-/*\n ()?,sx0;e1+.", max_size=200))
def test_exists_for_any_text_at_all(sql):
    assert len(fingerprint(sql)) <= LONGEST


@pytest.mark.parametrize("part", ["'", "\\", "(", "(?,", "1", "/*", "-- ", "`", "_x", " ", "(1),"])
def test_takes_no_time_worth_naming(part):
    began = time.process_time()
    fingerprint(part * 1_000_000)
    assert time.process_time() - began < 2
