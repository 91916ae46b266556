"""How many runs a pilot asks for."""

import numpy as np
import pytest

from factories.scores import on_tasks, seeded
from nondet import plan_runs, stats
from nondet.analysis.comparison.planning import least_runs
from nondet.analysis.comparison.scores import Scores

A = np.array([0.912, 0.915, 0.909, 0.921, 0.917, 0.911])
B = np.array([0.916, 0.914, 0.912, 0.922, 0.921, 0.915])


def test_a_paired_pilot_counts_pairs():
    plan = plan_runs(seeded("A", A, percent=True), seeded("B", B, percent=True), detect=0.1)
    sd = (100 * (B - A)).std(ddof=1)
    assert plan.paired
    assert plan.pilot_runs == 6
    assert plan.sd == pytest.approx(stats.sd_interval(sd, 5))
    for runs, end in zip(plan.runs, plan.sd, strict=True):
        assert runs == max(stats.runs_needed(0.1, stats.RunSpread(end, 1.0)), 8)
    assert plan.further == plan.runs.value - 6
    alone = stats.unpaired_spread(100 * A.std(ddof=1), 100 * B.std(ddof=1))
    assert plan.unpaired_runs.value == stats.runs_needed(0.1, alone)
    gain = stats.pairing_gain(A, B)
    assert plan.saved == pytest.approx(gain.saved)
    assert plan.correlation == pytest.approx(gain.correlation)
    assert plan.runs.value < plan.unpaired_runs.value


def test_one_method_stands_for_both():
    plan = plan_runs(A, detect=0.004, power=0.9, confidence=0.9)
    spread = stats.unpaired_spread(A.std(ddof=1), A.std(ddof=1))
    assert not plan.paired
    assert plan.runs.value == stats.runs_needed(0.004, spread, 0.9, 0.9)
    assert plan.sd == pytest.approx(stats.sd_interval(spread.sd, 5, 0.9))
    assert plan.unpaired_runs == plan.runs
    assert plan.saved is None
    assert "the second method is assumed to vary as much as the pilot" in plan.notes


def test_two_arrays_are_paired_by_position_alone_if_asked():
    assert not plan_runs(A, B, detect=0.01).paired
    assert plan_runs(A, B, detect=0.01, pair_by="position").paired


def test_two_methods_know_more_than_one():
    two = plan_runs(A, A[::-1], detect=0.01).sd
    one = plan_runs(A, detect=0.01).sd
    assert two.value == pytest.approx(one.value)
    assert two.high < one.high


def test_the_curve_passes_the_runs_needed():
    plan = plan_runs(A, B, detect=0.002)
    assert (np.diff(plan.curve_runs) > 0).all()
    assert plan.curve_runs[0] == 2
    assert (plan.curve[plan.curve_runs >= plan.runs.value] >= 0.8).all()
    assert (plan.curve[plan.curve_runs < plan.runs.value] < 0.8).all()
    assert (plan.curve_low <= plan.curve).all()
    assert (plan.curve <= plan.curve_high).all()


@pytest.mark.parametrize(("confidence", "paired", "least"), [(0.95, True, 6), (0.95, False, 4)])
def test_a_huge_difference_still_needs_what_the_exact_test_needs_and_two(confidence, paired, least):
    assert least_runs(confidence, paired) == least
    plan = plan_runs(A, B, detect=5, pair_by="position" if paired else None)
    assert plan.runs == (least + 2,) * 3
    assert plan.further == max(least + 2 - 6, 0)
    assert plan.notes[-1].endswith(f"so at least {least + 2} are planned")


def test_levels_that_an_exact_test_just_reaches_count():
    assert least_runs(1 - 0.0625, True) == 5
    assert least_runs(0.9, False) == 3


def test_averaging_saves_by_the_ratio_of_variances():
    averaged = A.mean() + (A - A.mean()) / 2
    plan = plan_runs(A, detect=0.01, averaging={"mean of 5 snapshots": averaged})
    ratio = plan.averaging["mean of 5 snapshots"]
    assert ratio.value == pytest.approx(0.25)
    assert ratio.low < 0.25 < ratio.high
    whole = plan_runs(averaged, detect=0.01).runs.value
    assert plan.averaging_runs["mean of 5 snapshots"].value == whole


@pytest.mark.parametrize("paired", [True, False])
def test_averaging_saves_no_run_that_a_verdict_needs(paired):
    few = A.mean() + (A - A.mean()) / 100
    plan = plan_runs(A, B, detect=5, pair_by="position" if paired else None, averaging={"few": few})
    assert plan.averaging_runs["few"] == ((8,) * 3 if paired else (6,) * 3)


def test_a_task_is_named_where_there_are_several():
    pilot = on_tasks("A", {"x": A, "y": 2 * A})
    one, two = (plan_runs(pilot, detect=0.01, task=task) for task in "xy")
    assert two.sd.value == pytest.approx(2 * one.sd.value)
    for task, given in ((None, "no task is named"), ("z", "task is 'z'")):
        with pytest.raises(ValueError, match=f"{given}; A has the tasks 'x', 'y'; name one"):
            plan_runs(pilot, detect=0.01, task=task)


def test_failed_runs_are_named():
    plan = plan_runs(seeded("A", A, failed=[1]), detect=0.01)
    assert plan.pilot_runs == 5
    assert "A.csv, line 3 (A) failed: out of memory" in plan.notes


@pytest.mark.parametrize(
    ("pilot", "settings", "message"),
    [
        (A, {"detect": 0.0}, "detect is 0.0; it must be a positive difference"),
        (A, {"detect": np.nan}, "detect is nan"),
        (A, {"detect": 1.0, "power": 1.0}, "power is 1.0"),
        (A, {"detect": 1.0, "confidence": 0.0}, "confidence is 0.0"),
        (A[:1], {"detect": 1.0}, "at least 2 runs of a side, got 1 and 1"),
        (np.ones(4), {"detect": 1.0}, "all scores of the pilot are equal"),
    ],
)
def test_bad_arguments_are_named(pilot, settings, message):
    with pytest.raises(ValueError, match=message):
        plan_runs(pilot, **settings)


def test_shares_do_not_mix_with_other_scores():
    with pytest.raises(ValueError, match="one pilot has shares"):
        plan_runs(seeded("A", A, percent=True), Scores.of("B", B), detect=1)
