"""The page of the benchmarks says what was measured, and nothing else."""

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.figures import Figures
from benchmarks.targets import TARGETS

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def found():
    return report.kept(RESULTS)


def test_the_page_is_made_from_the_kept_results(found):
    assert (ROOT / "docs" / "benchmarks.md").read_text() == report.page(found)


def test_the_readme_has_the_figures_of_the_kept_results(found):
    readme = (ROOT / "README.md").read_text()
    assert report.with_summary(readme, found) == readme


def test_every_case_was_kept(found):
    assert set(found) == set(report.TABLES)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.text)
def test_a_target_that_is_missed_says_why(found, target):
    ratio = target.ratio(Figures(found[target.case]))
    assert ratio is not None
    assert target.is_met(ratio) or target.why


def test_nothing_of_the_machine_is_named_but_its_kind(found):
    for case in found.values():
        assert set(case["machine"]) == {"cpus", "system", "python", "server", "packages", "load"}
        assert "/" not in str(case["machine"])
