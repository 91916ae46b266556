"""How many runs a comparison needs, from a pilot."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nondet.analysis.comparison.pairing import UNPAIRED, pair_runs
from nondet.analysis.comparison.result import Power
from nondet.analysis.comparison.scores import Scores, check_scale, described_tasks
from nondet.analysis.stats import (
    Interval,
    RunSpread,
    detectable_difference,
    pairing_gain,
    runs_needed,
    sd_interval,
    sd_ratio,
    smallest_p,
    t_power,
    unpaired_spread,
)

_CURVE_POINTS = 60
_LONGEST_CURVE = 10_000
_SPARE_RUNS = 2
"""Runs beyond the fewest that can decide before the exact test finds about as much as the t test.
With the fewest, a single outcome rejects (docs/comparing-results.md)."""


@dataclass(frozen=True)
class RunPlan:
    """How many runs find a difference; all in the unit of the scores, points if these are shares.

    Attributes:
        detect: The difference to be found.
        power: With which probability.
        confidence: 1 minus the level of the test.
        paired: True if `runs` counts pairs, from a paired pilot; else it counts runs of each side.
        pilot_runs: The number of pairs, or runs of the side with fewer, of the pilot.
        sd: The standard deviation of the difference of one run of each method, with its interval
            for normal scores.
        runs: How many runs are needed, with the interval that the uncertainty of `sd` gives. Whole
            numbers as floats; the upper end is infinite where the pilot says nothing.
        further: How many are needed beyond the pilot, at least 0; infinite if `runs` is.
        unpaired_runs: The same as `runs` without pairing; equal if the pilot is not paired.
        correlation: The correlation of a paired pilot, with its interval; None if not paired.
        saved: The share of the runs that pairing saves, 1 - Var(B - A) / (Var A + Var B), with its
            interval; negative if pairing costs runs. None if the pilot is not paired.
        averaging: By the caller's name (such as "mean of 5 snapshots"): the variance of these
            scores over that of the pilot, with its interval.
        averaging_runs: By the same names: how many runs are needed if both methods are scored so,
            with the interval that the uncertainty of this ratio alone gives.
        curve_runs: (K,) numbers of runs, int64, from 2 on.
        curve: (K,) the power at each.
        curve_low: (K,) the power if the standard deviation is the upper end of its interval.
        curve_high: (K,) if it is the lower end.
        notes: Sentences: assumptions, and runs left out.
    """

    detect: float
    power: float
    confidence: float
    paired: bool
    pilot_runs: int
    sd: Interval
    runs: Interval
    further: float
    unpaired_runs: Interval
    correlation: Interval | None
    saved: Interval | None
    averaging: Mapping[str, Interval]
    averaging_runs: Mapping[str, Interval]
    curve_runs: np.ndarray
    curve: np.ndarray
    curve_low: np.ndarray
    curve_high: np.ndarray
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class _Pilot:
    """The scores of a pilot, scaled to points; b is None if there is one side alone."""

    a: np.ndarray
    b: np.ndarray | None
    paired: bool
    scale: float
    notes: tuple[str, ...]


def plan_runs(
    pilot: Scores | np.ndarray,
    other: Scores | np.ndarray | None = None,
    *,
    detect: float,
    power: float = 0.8,
    confidence: float = 0.95,
    task: str | None = None,
    pair_by: str | None = None,
    averaging: Mapping[str, Scores | np.ndarray] | None = None,
) -> RunPlan:
    """Return how many runs find a difference `detect`, from the scores of a pilot.

    pilot: the runs of one method. other: those of the second, where they exist; else it is assumed
    to have the same standard deviation. Scores are paired as `compare_scores` pairs them; arrays
    are paired if pair_by is "position". task: which task, needed if scores have several. averaging:
    other scores of the pilot's method, such as of averaged snapshots or with test-time
    augmentation, by the name that the plan calls them. detect is in points if scores are shares.

    The runs are those of a two-sided t test, and at least two more than the exact test of
    `compare_scores` needs to reach its level. Intervals are for the true standard deviation of
    normal scores (chi-squared).

    Raises ValueError for fewer than two runs, a pilot without spread, and a difference, power or
    confidence that is out of range.
    """
    if not (np.isfinite(detect) and detect > 0):
        raise ValueError(f"detect is {detect}; it must be a positive difference")
    found = _read_pilot(pilot, other, task, pair_by)
    sides = (found.a, found.a if found.b is None else found.b)
    spread, sd = spread_of(*sides, found.paired, confidence, one_side=found.b is None)
    if spread.sd == 0:
        raise ValueError("all scores of the pilot are equal: they say nothing about more runs")
    alone = spread_of(*sides, False, confidence, one_side=found.b is None)
    runs = needed_interval(detect, spread, sd, power, confidence, found.paired)
    unpaired = needed_interval(detect, *alone, power, confidence, False)
    notes = [*found.notes, "standard deviations are taken for those of normal scores"]
    notes.append("the curve is the power of the t test alone")
    least = least_runs(confidence, found.paired)
    if runs.low <= least + _SPARE_RUNS:
        notes.append(
            f"the exact test needs {least} to reach its level and some more to find as much as "
            f"the t test, so at least {least + _SPARE_RUNS} are planned"
        )
    ratios = {
        name: _variance_ratio(scores, found, task, confidence)
        for name, scores in (averaging or {}).items()
    }
    averaged = {
        name: needed_interval(
            detect,
            spread,
            Interval(*(spread.sd * part**0.5 for part in ratio)),
            power,
            confidence,
            found.paired,
        )
        for name, ratio in ratios.items()
    }
    gain = pairing_gain(*sides, confidence) if found.paired and len(found.a) > 2 else None
    have = min(len(side) for side in sides)
    count = _curve_runs(runs.value)
    curve, curve_low, curve_high = (
        t_power(detect, spread._replace(sd=s), count, confidence)
        for s in (sd.value, sd.high, sd.low)
    )
    return RunPlan(
        detect=detect,
        power=power,
        confidence=confidence,
        paired=found.paired,
        pilot_runs=have,
        sd=sd,
        runs=runs,
        further=max(runs.value - have, 0.0),
        unpaired_runs=unpaired,
        correlation=gain.correlation if gain else None,
        saved=gain.saved if gain else None,
        averaging=ratios,
        averaging_runs=averaged,
        curve_runs=count,
        curve=curve,
        curve_low=curve_low,
        curve_high=curve_high,
        notes=tuple(notes),
    )


def spread_of(
    a: np.ndarray, b: np.ndarray, paired: bool, confidence: float, one_side: bool = False
) -> tuple[RunSpread, Interval]:
    """Return how far the difference of one run of each side varies, and the standard deviation of
    it with its interval. one_side: `b` is `a` again and adds nothing to what is known.

    Raises ValueError for fewer than two runs of a side.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a pilot needs at least 2 runs of a side, got {len(a)} and {len(b)}")
    if paired:
        spread = RunSpread(_sd(b - a), 1.0)
        return spread, sd_interval(spread.sd, len(a) - 1, confidence)
    spread = unpaired_spread(_sd(a), _sd(b))
    parts = [_sd(side) ** 2 for side in (a, b)]
    freedom = float(len(a) - 1)
    if not one_side and sum(parts) > 0:
        freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    return spread, sd_interval(spread.sd, freedom, confidence)


def needed_interval(
    detect: float, spread: RunSpread, sd: Interval, power: float, confidence: float, paired: bool
) -> Interval:
    """Return the runs that find a difference, at the standard deviation and the ends of its
    interval; at least those that the exact test needs to reach its level, and two more.
    """
    least = float(least_runs(confidence, paired) + _SPARE_RUNS)
    found = [runs_needed(detect, spread._replace(sd=s), power, confidence) for s in sd]
    return Interval(*(max(runs, least) for runs in found))


def least_runs(confidence: float, paired: bool) -> int:
    """Return the fewest pairs, or runs of each side, whose exact test can reach 1 - confidence."""
    runs = 2
    while smallest_p(runs, paired) > (1 - confidence) * (1 + 1e-9):  # as in 1 - 0.95
        runs += 1
    return runs


def power_of(
    a: np.ndarray,
    b: np.ndarray,
    paired: bool,
    detect: float | None,
    confidence: float,
    power: float = 0.8,
) -> Power:
    """Return what these runs can show, and what more would need. Of sides of unequal size, the
    smaller counts.
    """
    spread, sd = spread_of(a, b, paired, confidence)
    have = min(len(a), len(b))
    least = least_runs(confidence, paired)
    found = detectable_difference(spread, have, power, confidence)
    saved = pairing_gain(a, b, confidence).saved if paired and have > 2 else None
    if detect is None:
        return Power(found, None, None, None, least, power, saved)
    runs = needed_interval(detect, spread, sd, power, confidence, paired)
    return Power(found, detect, runs, max(runs.value - have, 0.0), least, power, saved)


def _sd(values: np.ndarray) -> float:
    return float(np.std(values - values[0], ddof=1))


def _curve_runs(needed: float) -> np.ndarray:
    last = int(min(max(2 * needed, 10), _LONGEST_CURVE))
    return np.unique(np.geomspace(2, last, _CURVE_POINTS).round().astype(np.int64))


def _read_pilot(
    pilot: Scores | np.ndarray,
    other: Scores | np.ndarray | None,
    task: str | None,
    pair_by: str | None,
) -> _Pilot:
    one = _as_scores("pilot", pilot, False)
    chosen = _task_of(one, task)
    scale = 100.0 if one.percent else 1.0
    if other is None:
        two, pair_by = one, UNPAIRED
    else:
        two = _as_scores("other", other, one.percent)
        _task_of(two, chosen)
        if one.percent != two.percent:
            raise ValueError("one pilot has shares and the other has not (percent)")
    for side in (one, two):
        check_scale(side, [chosen])
    pairing = pair_runs(one, two, [chosen], pair_by)
    a = np.array([one.runs[i].values[chosen] for i in pairing.a], dtype=np.float64) * scale
    b = np.array([two.runs[j].values[chosen] for j in pairing.b], dtype=np.float64) * scale
    if other is None:
        left_out = dict.fromkeys(pairing.left_out)  # both sides name the same runs
        notes = ("the second method is assumed to vary as much as the pilot", *left_out)
        return _Pilot(a, None, False, scale, notes)
    return _Pilot(a, b, pairing.paired, scale, (pairing.words, *pairing.left_out))


def _as_scores(name: str, given: Scores | np.ndarray, percent: bool) -> Scores:
    return given if isinstance(given, Scores) else Scores.of(name, given, percent=percent)


def _task_of(scores: Scores, task: str | None) -> str:
    tasks = scores.tasks
    if task is None and len(tasks) == 1:
        return tasks[0]
    if task not in tasks:
        given = "no task is named" if task is None else f"task is {task!r}"
        raise ValueError(f"{given}; {scores.name} has {described_tasks(scores)}; name one")
    return str(task)


def _variance_ratio(
    scores: Scores | np.ndarray, pilot: _Pilot, task: str | None, confidence: float
) -> Interval:
    """Return the variance of these scores over that of the pilot. The interval takes both for
    independent; scores of the same runs are correlated, which makes it too wide.
    """
    averaged = _as_scores("averaged", scores, pilot.scale != 1)
    found = _read_pilot(averaged, None, task, None)
    if found.scale != pilot.scale:
        raise ValueError("averaged scores are shares and those of the pilot are not, or reversed")
    return Interval(*(r**2 for r in sd_ratio(found.a, pilot.a, confidence)))
