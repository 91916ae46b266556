"""Tests of the figures of the spread on images."""

from dataclasses import replace

import numpy as np
import pytest

from factories.runs import QUICK, drawn, made_summary
from nondet.report.views import make_section
from nondet.studies.catalog import find_study
from nondet.studies.row import Row


@pytest.fixture(scope="module")
def quick():
    plan = find_study("quick").plan(
        runs=8, epochs=1, settings={"warmup_epochs": 0}, models=("linear", "hidden")
    )
    return made_summary(plan, QUICK)


def points(axes):
    """Return the number of markers of each series in the axes."""
    return [len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"]


def test_every_training_is_a_point(quick):
    section = make_section("spread", quick)
    assert [figure.name for figure in section.figures] == [
        "results-linear",
        "results-hidden",
        "standard-deviations",
        "pairs",
    ]
    left, right = drawn(section.figures[1]).axes
    names = [row.row.name for row in quick.models[1].rows]
    assert [text.get_text() for text in left.get_yticklabels()] == names
    assert points(left) == points(right) == [8] * 9
    assert (left.get_xlabel(), right.get_xlabel()) == (
        "test accuracy (%)",
        "test cross-entropy (nats)",
    )
    found = quick.models[1].named("one bit").statistics
    [strip] = [line for line in right.lines if abs(line.get_ydata().mean() - 7) < 0.2]
    assert (np.sort(strip.get_xdata()) == np.sort(found.cross_entropies)).all()
    assert left.yaxis_inverted()


def test_many_trainings_have_a_shape_behind_them(quick):
    plan = replace(quick.plan, configs=quick.plan.configs[1:], rows=quick.plan.rows[:2], runs=30)
    [figure, *_] = make_section("spread", made_summary(plan, QUICK)).figures
    assert figure.name == "results"
    left, right = drawn(figure).axes
    # Two means; a violin for the row that spreads, none for the control.
    assert len(left.collections) == len(right.collections) == 3
    assert points(left) == [30, 30]


def test_deviations_have_error_bars_on_an_axis_that_holds_all(quick):
    left, right = drawn(make_section("spread", quick).figures[2]).axes
    assert (left.get_xscale(), right.get_xscale()) == ("linear", "log")
    assert left.get_xlabel() == "accuracy SD (percentage points)"
    names = [text.get_text() for text in left.get_yticklabels()]
    assert names == [row.name for row in quick.plan.rows]
    # Both models' controls have no spread, and nothing changes the linear model's accuracy.
    zeros = [text.get_text() for text in right.texts]
    assert zeros == ["0", "0"]
    drawn_sds = sorted(x for line in right.lines if line.get_gid() for x in line.get_xdata())
    expected = sorted(
        row.statistics.cross_entropy.sd
        for _, row in quick.rows
        if row.statistics.cross_entropy.sd > 0
    )
    assert drawn_sds == expected
    low, high = right.get_xlim()
    assert low < min(expected) < max(expected) < high
    legend = drawn(make_section("spread", quick).figures[2]).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["linear", "hidden"]


def test_pairs_are_bars_with_intervals(quick):
    axes = drawn(make_section("spread", quick).figures[3]).axes
    assert [one.get_xlabel() for one in axes] == [
        "disagreement (% of images)",
        "1 - Spearman correlation",
        "ensemble: accuracy gained (pp)",
        "ensemble: cross-entropy lost (nats)",
    ]
    linear, hidden = axes[1].containers[1::2]
    assert (len(linear), len(hidden)) == (8, 9)
    found = [1 - row.statistics.correlation.value for row in quick.models[1].rows]
    assert [bar.get_width() for bar in hidden] == pytest.approx(found)
    [(segments, *_)] = [hidden.errorbar.lines[2]]
    low = [1 - row.statistics.correlation.high for row in quick.models[1].rows]
    drawn_low = [segment[0][0] if len(segment) else np.nan for segment in segments.get_segments()]
    assert drawn_low == pytest.approx(low, nan_ok=True)
    assert np.isnan(low[0])  # the control has no interval
    lost = [-row.statistics.ensemble_cross_entropy.value for row in quick.models[1].rows]
    assert [bar.get_width() for bar in axes[3].containers[3]] == pytest.approx(lost)


def test_long_names_wrap(quick):
    name = "augmentation held before the twentieth epoch"
    plan = replace(quick.plan, configs=quick.plan.configs[1:], rows=(Row(name, ("augment",)),))
    [left, _] = drawn(make_section("spread", made_summary(plan, {})).figures[0]).axes
    [text] = left.get_yticklabels()
    assert text.get_text().split() == name.split()
    assert max(map(len, text.get_text().splitlines())) <= 22
