"""Test the reduction of one row's spread relative to another, and its finding."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from factories.runs import made_summary
from nondet.analysis.reduction import reduction_percent
from nondet.analysis.relative import relative
from nondet.report.text import percentage_interval
from nondet.report.views import make_section
from nondet.studies.catalog import find_study
from nondet.studies.row import Row

ALL = ("init", "shuffle", "augment", "stochastic", "lowlevel")


def sentence(section, *words):
    [found] = [one for one in section.findings if all(word in one for word in words)]
    return found


@pytest.fixture(scope="module")
def reduced():
    rows = (
        Row("single", ALL),
        Row("held", ()),
        Row("steady", ALL, {"lr": 0.1}),
        Row("one source", ("init",)),
    )
    plan = find_study("quick").plan(
        runs=8, epochs=1, settings={"warmup_epochs": 0}, models=("hidden",)
    )
    plan = replace(plan, rows=rows, baseline="single")
    return made_summary(plan, {"hidden": {"single": 2.0, "steady": 1.0, "one source": 0.7}})


def five_columns(found, runs=slice(None)):
    """Return the five columns of these runs by their definitions, with 1 - correlation instead of
    the correlation; pairs of a run with itself are left out.
    """
    runs = np.arange(len(found.accuracies))[runs]
    matrices = (found.pairs["disagreement"], 1 - found.pairs["correlation"])
    pairs = [(i, j) for n, i in enumerate(runs) for j in runs[:n] if i != j]
    means = [np.mean([one[pair] for pair in pairs]) for one in matrices]
    gain = np.mean([found.pairs["ensemble_accuracy"][pair] for pair in pairs])
    return [found.accuracies[runs].std(), found.cross_entropies[runs].std(), *means, gain]


def test_reduction_is_the_mean_over_five_columns(reduced):
    section = make_section("spread", reduced)
    table = section.tables[0]
    assert (table.columns[0].heading, table.columns[-1].heading) == ("row", "reduction")
    assert [line.cells[-1].text for line in table.lines[:2]] == ["-", "100"]
    single, steady = (reduced.models[0].named(name).statistics for name in ("single", "steady"))
    shares = np.divide(five_columns(steady), five_columns(single))
    expected = 100 * (1 - shares.mean())
    cell = table.lines[2].cells[-1]
    assert cell.value == pytest.approx(expected)
    assert cell.text == f"{expected:.0f}"
    assert cell.interval[0] < expected < cell.interval[1]
    # The control and one source also vary less, but these rows are not remedies.
    found = sentence(section, "'steady' has the largest reduction of the spread of 'single'")
    low, high = cell.interval
    ends = f"{low:.0f}-{high:.0f}" if low >= 0 else f"{low:.0f} to {high:.0f}"
    assert f", {expected:.0f}% (95% CI {ends}%; the mean over" in found


def test_interval_of_a_reduction_is_a_jackknife_over_runs(reduced):
    """The interval equals one by loops that leave out one run, of both rows at once if both have
    the same runs.
    """
    model = reduced.models[0]
    single, steady = model.named("single"), model.named("steady")
    same = replace(steady, runs=single.runs)
    above, below = steady.statistics, single.statistics
    ends = []
    for row, paired in ((steady, False), (same, True)):
        left = 1 - np.divide(five_columns(above), five_columns(below)).mean()
        rest = [[run for run in range(8) if run != out] for out in range(8)]
        if paired:
            sides = [[np.divide(five_columns(above, r), five_columns(below, r)) for r in rest]]
        else:
            sides = [
                [np.divide(five_columns(above, r), five_columns(below)) for r in rest],
                [np.divide(five_columns(above), five_columns(below, r)) for r in rest],
            ]
        logs = [[math.log(one.mean()) for one in side] for side in sides]
        parts = [7 * np.var(side) for side in logs]
        freedom = sum(parts) ** 2 / sum(part**2 / 7 for part in parts)
        width = math.exp(scipy.stats.t.ppf(0.9, freedom) * math.sqrt(sum(parts)))
        found = reduction_percent(model, row, "single", confidence=0.8)
        expected = [100 * (1 - (1 - left) * width), 100 * (1 - (1 - left) / width)]
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)
        assert found.high < 100
        ends.append(found.high - found.low)
    # Here the noise of both rows has the same pattern, so paired runs vary together.
    assert ends[1] < 0.9 * ends[0]


def test_two_runs_give_no_interval_of_a_reduction(reduced):
    summary = made_summary(replace(reduced.plan, runs=2), {"hidden": {"single": 2.0, "steady": 1}})
    model = summary.models[0]
    found = reduction_percent(model, model.named("steady"), "single")
    assert math.isfinite(found.value)
    assert np.isnan(found[1:]).all()
    assert "(no interval;" in sentence(make_section("spread", summary), "largest reduction")


def test_no_reduction_is_claimed_where_there_is_none(reduced):
    summary = made_summary(reduced.plan, {"hidden": {"single": 1.5, "steady": 1.5}})
    section = make_section("spread", summary)
    found = sentence(section, "'steady' has the largest reduction", "0% (95% CI -", "undecided")
    assert "8 runs a row can show reductions above" in found
    assert sentence(section, "disagreement", "less in no row: in 'steady' it is 100% (95% CI")
    still = made_summary(reduced.plan, {"hidden": {"steady": 2.0}})
    model = still.models[0]
    assert reduction_percent(model, model.named("steady"), "single") is None
    assert not any("reduction" in one for one in make_section("spread", still).findings)


def test_a_remedy_that_varies_more_is_said_to(reduced):
    summary = made_summary(reduced.plan, {"hidden": {"single": 1.5, "steady": 4.0}})
    model = summary.models[0]
    assert reduction_percent(model, model.named("steady"), "single").high < 0
    found = sentence(make_section("spread", summary), "'steady' has the largest reduction")
    assert found.endswith(": even that row varies more.")


def test_a_reduction_is_undecided_up_to_what_the_runs_can_show(reduced):
    """A row with the interval of the finding, moved to where its end is 0, has that reduction."""
    summary = made_summary(reduced.plan, {"hidden": {"single": 1.5, "steady": 1.4}})
    model = summary.models[0]
    found = reduction_percent(model, model.named("steady"), "single")
    assert found.low < 0
    width = (1 - found.low / 100) / (1 - found.value / 100)
    least = 100 * (1 - 1 / width)
    assert f"above {least:.0f}%." in sentence(make_section("spread", summary), "undecided, since")


def test_best_of_several_remedies_has_an_interval_for_all(reduced):
    rows = (*reduced.plan.rows[:3], Row("steadier", ALL, {"lr": 0.2}))
    plan = replace(reduced.plan, rows=rows)
    noise = {"single": 2.0, "steady": 1.0, "steadier": 0.9}
    summary = made_summary(plan, {"hidden": noise})
    section = make_section("spread", summary)
    found = sentence(section, "'steadier' has the largest")
    model = summary.models[0]
    interval = reduction_percent(model, model.named("steadier"), "single", confidence=0.975)
    ends = f"{interval.low:.0f}-{interval.high:.0f}"
    if interval.low < 0:
        ends = ends.replace(f"{interval.low:.0f}-", f"{interval.low:.0f} to ")
    assert f"95% CI {ends}% for 2 rows at once" in found
    single, steadier = (model.named(name) for name in ("single", "steadier"))
    of_pairs = relative(steadier, single, 0.975).pairs["disagreement"]
    found = sentence(section, "disagreement, beside that of 'single', is less in 2 of 2 rows")
    assert f"'steadier' {percentage_interval(of_pairs, at_once='2 rows')}" in found
