"""Whatever breaks, whenever: one answer in time, and all of the unit of work or nothing of it."""

import pytest
from matrix import Outcome


def test_the_caller_is_told_what_is_in_the_table(mysql, cell, outcomes):
    outcome = outcomes[cell].result()
    if not isinstance(outcome, Outcome):
        pytest.skip(outcome)
    assert (outcome.seen, outcome.stored) in cell.expected, outcome.log
    if cell.number is not None and outcome.seen not in {"done", "DeadlineExceeded"}:
        assert f"MySQL error {cell.number}" in outcome.said
    assert outcome.seconds < cell.timeout
    assert outcome.same_process  # neither killed nor ended: it answered
    assert outcome.settled  # nothing of it is left on the server
    assert outcome.runs <= cell.attempts
