"""Test the reduction of one row's spread relative to another, and its finding."""

from dataclasses import replace

import numpy as np
import pytest

from factories.runs import made_summary
from nondet.analysis.reduction import reduction_percent
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
    found = sentence(section, "varies least")
    assert found.startswith(f"hidden: 'steady' varies least, {expected:.0f}% less than 'single' (")
    low, high = cell.interval
    assert f"(interval {low:.0f} to {high:.0f}%; the mean over" in found


def test_interval_of_a_reduction_is_a_bootstrap_over_runs(reduced):
    """The interval equals a bootstrap by loops that resamples the runs of both rows, together if
    both rows have the same runs.
    """
    model = reduced.models[0]
    single, steady = model.named("single"), model.named("steady")
    generator = np.random.default_rng(4)
    same = replace(steady, runs=single.runs)
    ends = []
    for row, paired in ((steady, False), (same, True)):
        draws = []
        for _ in range(500):
            first, second = generator.integers(0, 8, (2, 8))
            above = five_columns(row.statistics, first)
            below = five_columns(single.statistics, first if paired else second)
            if 0 not in below:
                draws.append(100 * (1 - np.divide(above, below).mean()))
        found = reduction_percent(model, row, "single", confidence=0.8)
        reach = found.high - found.low
        assert (found.low, found.high) == pytest.approx(
            np.quantile(draws, [0.1, 0.9]), abs=0.15 * reach
        )
        ends.append(reach)
    # Here the noise of both rows has the same pattern, so paired runs vary together.
    assert ends[1] < 0.9 * ends[0]


def test_no_reduction_is_claimed_where_there_is_none(reduced):
    summary = made_summary(reduced.plan, {"hidden": {"single": 1.5, "steady": 1.5}})
    section = make_section("spread", summary)
    found = sentence(section, "no row varies measurably less than 'single'; 'steady' comes")
    assert "with a reduction of 0% (interval -" in found
    still = made_summary(reduced.plan, {"hidden": {"steady": 2.0}})
    model = still.models[0]
    assert reduction_percent(model, model.named("steady"), "single") is None
    assert not any("varies" in one for one in make_section("spread", still).findings)


def test_best_of_several_remedies_has_an_interval_for_all(reduced):
    rows = (*reduced.plan.rows[:3], Row("steadier", ALL, {"lr": 0.2}))
    plan = replace(reduced.plan, rows=rows)
    noise = {"single": 2.0, "steady": 1.0, "steadier": 0.9}
    summary = made_summary(plan, {"hidden": noise})
    found = sentence(make_section("spread", summary), "'steadier' varies least")
    model = summary.models[0]
    interval = reduction_percent(model, model.named("steadier"), "single", confidence=0.975)
    assert f"interval {interval.low:.0f} to {interval.high:.0f}% for 2 rows at once" in found
