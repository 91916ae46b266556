"""How many runs a comparison needs, from a pilot."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nondet.analysis.comparison.scores import Scores
from nondet.analysis.stats import Interval


@dataclass(frozen=True)
class RunPlan:
    """How many runs find a difference; all in the unit of the scores, points if these are shares.

    Attributes:
        detect: The difference to be found.
        power: With which probability.
        confidence: 1 minus the level of the test.
        paired: True if `runs` counts pairs, from a paired pilot; else it counts runs of each side.
        sd: The standard deviation of the pilot (of the differences, if paired), with its interval
            for normal values.
        runs: How many runs are needed, with the interval that the uncertainty of `sd` gives. Whole
            numbers as floats; the upper end is infinite where the pilot says nothing.
        unpaired_runs: The same without pairing; equal to `runs` if the pilot is not paired.
        correlation: The correlation of a paired pilot, with its interval; None if not paired.
        saved: The share of the runs that pairing saves, 1 - Var(B - A) / (Var A + Var B), with its
            interval; negative if pairing costs runs. None if the pilot is not paired.
        averaging: By the caller's name (such as "mean of 5 snapshots"): the ratio of the variance
            of the averaged scores to that of the pilot, with its interval. Runs needed shrink by
            about this factor.
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
    sd: Interval
    runs: Interval
    unpaired_runs: Interval
    correlation: Interval | None
    saved: Interval | None
    averaging: Mapping[str, Interval]
    curve_runs: np.ndarray
    curve: np.ndarray
    curve_low: np.ndarray
    curve_high: np.ndarray
    notes: tuple[str, ...] = field(default=())


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
    are paired by position if pair_by is "position". task: which task, needed if scores have
    several. averaging: other scores of the pilot's method, such as of averaged snapshots or with
    test-time augmentation, by the name that the plan calls them. detect is in points if scores are
    shares.

    Raises ValueError for fewer than two runs, a pilot without spread, and a difference, power or
    confidence that is out of range.
    """
    raise NotImplementedError
