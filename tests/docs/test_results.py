"""The reports in docs/results are those of all studies; tests/bench/test_statements.py compares
what its page says of the paper with their tables.
"""

from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "docs" / "results"
STUDIES = sorted(path.parent.name for path in RESULTS.glob("*/report.md"))


def test_every_study_has_a_report_and_is_in_the_list():
    from nondet.studies import catalog as studies

    assert set(STUDIES) == set(studies.STUDIES)
    page = (RESULTS / "README.md").read_text()
    assert all(f"({name}/report.md)" in page for name in STUDIES)


@pytest.mark.parametrize("study", STUDIES)
def test_control_is_exact(study):
    report = (RESULTS / study / "report.md").read_text()
    assert "trainings with equal seeds end in equal bits" in report


@pytest.mark.parametrize("study", STUDIES)
def test_every_figure_of_a_report_is_there(study):
    folder = RESULTS / study
    report = (folder / "report.md").read_text()
    for path in folder.glob("figures/*.svg"):
        assert f"(figures/{path.name})" in report
    assert report.count("](figures/") == len(list(folder.glob("figures/*.svg")))
