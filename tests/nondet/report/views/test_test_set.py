"""Tests of the view on the finite test set."""

from dataclasses import replace

import numpy as np
import pytest

from factories.findings import check_units, in_order
from factories.runs import LABELS, drawn, made_run, made_summary
from nondet.analysis.summary import RowSummary, compute_statistics
from nondet.report.views import make_section
from nondet.studies.row import Row


def right_on(correct):
    """Logits that are right exactly where `correct` (examples,) says, always as sure."""
    shift = np.where(correct, 0, 1)
    return 2.0 * np.eye(4)[(LABELS + shift) % 4]


@pytest.fixture
def two_rows(plan):
    """Six runs of two rows: "luck" is wrong on 4 to 9 images, others in every run; "skill" is wrong
    on the first ones, more in every run.
    """
    rows = (Row("control"), Row("luck", ("init",)), Row("skill", ("init", "shuffle")))
    plan = replace(plan, rows=rows, configs=plan.configs[:1], runs=6)
    summary = made_summary(plan, {})
    generator = np.random.default_rng(3)
    wrong = (4, 5, 6, 7, 8, 9)
    correct = {
        "luck": [~np.isin(np.arange(40), generator.choice(40, n, replace=False)) for n in wrong],
        "skill": [np.arange(40) >= 4 * n for n in range(6)],
    }
    [model] = summary.models
    for place, row in enumerate(model.rows):
        if row.row.name in correct:
            jobs = plan.jobs(model.config, row.row)
            runs = [
                made_run(job, right_on(one))
                for job, one in zip(jobs, correct[row.row.name], strict=True)
            ]
            statistics = compute_statistics(runs, LABELS, resamples=10)
            model.rows[place] = RowSummary(row.row, runs, 6, statistics)
    return summary, correct


def test_table_splits_the_spread(two_rows):
    summary, correct = two_rows
    section = make_section("test-set", summary)
    check_units(section)
    [table] = section.tables
    names = [column.name for column in table.columns]
    lines = {line.cells[0].value: dict(zip(names, line.cells, strict=True)) for line in table.lines}
    assert list(lines) == ["control", "luck", "skill"]
    for name, rows in correct.items():
        accuracies = 100 * np.array([one.mean() for one in rows])
        # The mean over images of the variance of being right, over their number.
        sampling = 100**2 * np.array(rows).var(axis=0, ddof=1).mean() / 40
        cells = lines[name]
        assert cells["accuracy_sd_total_points"].value == pytest.approx(accuracies.std(ddof=1))
        assert cells["accuracy_sd_test_set_points"].value ** 2 == pytest.approx(sampling)
        share = cells["accuracy_variance_share_percent"]
        assert share.value == pytest.approx(100 * sampling / accuracies.var(ddof=1))
        assert share.interval[0] < share.value < share.interval[1]
    # As sure everywhere, so that cross-entropy is 2 nats per error above its least.
    skill = lines["skill"]
    ratio = skill["cross_entropy_sd_total_nats"].value / skill["accuracy_sd_total_points"].value
    assert ratio == pytest.approx(2 / 100, rel=1e-6)
    share = skill["cross_entropy_variance_share_percent"].value
    assert share == pytest.approx(skill["accuracy_variance_share_percent"].value, rel=1e-6)
    assert [cell.text for cell in table.lines[0].cells[1:]] == ["0", "0", "0", "-"] * 2


def test_finding_is_on_the_row_in_which_most_varies(two_rows):
    summary, correct = two_rows
    rows = np.array(correct["skill"])
    variance = rows.mean(axis=1).var(ddof=1)
    share = 100 * rows.var(axis=0, ddof=1).mean() / 40 / variance
    [found] = make_section("test-set", summary).findings
    of_variance, of_sd = found.split("; ")
    assert in_order(of_variance, "linear, skill: ", f"{share:.0f}%", "variance of accuracy")
    assert in_order(of_sd, f"SD of {100 * variance**0.5:.0f} percentage points", "left")
    assert "nothing" not in found


def test_nothing_left_is_said_so(two_rows):
    summary, _ = two_rows
    model = summary.models[0]
    model.rows[2:] = []
    [found] = make_section("test-set", summary).findings
    assert in_order(found, "linear, luck: ", "all of the variance of accuracy", "nothing", "left")


def test_bars_are_shares(two_rows):
    summary, _ = two_rows
    section = make_section("test-set", summary)
    [figure] = section.figures
    canvas = drawn(figure)
    left, right = canvas.axes
    # The control spreads nothing and has no bar.
    assert [text.get_text() for text in left.get_yticklabels()] == ["luck", "skill"]
    [table] = section.tables
    names = [column.name for column in table.columns]
    at = names.index("accuracy_variance_share_percent")
    shares = [line.cells[at].value for line in table.lines[1:]]
    sampling, rest = left.containers[:2]
    assert [bar.get_width() for bar in sampling] == pytest.approx(np.minimum(shares, 100))
    assert [bar.get_width() for bar in rest] == pytest.approx(100 - np.minimum(shares, 100))
    assert left.get_xlabel() == "accuracy variance (%)"
    assert right.get_xlabel() == "cross-entropy variance (%)"


def test_nothing_to_show(plan):
    plan = replace(plan, rows=plan.rows[:1], configs=plan.configs[:1])
    section = make_section("test-set", made_summary(plan, {}))
    assert (section.findings, section.figures) == ((), ())
    crossed = Row("crossed", ("init",), design="crossed", levels=2)
    assert make_section("test-set", made_summary(replace(plan, rows=(crossed,)), {})) is None
