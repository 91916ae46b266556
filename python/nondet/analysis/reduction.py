"""Compute by how much less one row varies than another."""

import math

import numpy as np

from nondet.analysis.stats import Interval, reduction
from nondet.analysis.stats.intervals import jackknife_interval
from nondet.analysis.stats.pairs import leave_one_out_means
from nondet.analysis.summary import ModelSummary, RowSummary, Statistics


def reduction_percent(
    model: ModelSummary, row: RowSummary, baseline: str | None, confidence: float = 0.95
) -> Interval | None:
    """Return by how many percent a row varies less than the row named `baseline`.

    The value is the mean over accuracy SD, cross-entropy SD, disagreement, 1 - correlation and the
    ensemble's gain in accuracy, as in the published table of test-time augmentation. Its interval
    is Student's for the logarithm of what is left, from a jackknife over runs; rows of the same
    runs leave out the same ones. Ends are NaN for two runs, or where so few runs spread results
    that leaving one out leaves no spread. None for the baseline itself and where there is nothing
    to compare.
    """
    single = None if baseline is None else model.named(baseline)
    if single is None or single is row or single.statistics is None or row.statistics is None:
        return None
    return reduction_of(row.statistics, single.statistics, same_runs(row, single), confidence)


def reduction_of(
    found: Statistics, single: Statistics, paired: bool, confidence: float = 0.95
) -> Interval | None:
    """Return the reduction between two rows (`reduction_percent`). paired: whether their runs are
    the same; else they are independent. None where there is nothing to compare.
    """
    below = _variability(single)
    if 0 in (*below[:3], 1 - below[3], below[4]):
        return None
    value = 100 * reduction(_variability(found), below)
    if not math.isfinite(value):
        return None
    if 2 in (len(found.accuracies), len(single.accuracies)):
        return Interval(value, math.nan, math.nan)
    quotients = _quotients(found, single, paired)
    left = jackknife_interval(1 - value / 100, quotients, confidence, low=0)
    return Interval(value, 100 * (1 - left.high), 100 * (1 - left.low))


def same_runs(row: RowSummary, other: RowSummary) -> bool:
    """Return True if two rows have the same runs, predicted with in different ways."""
    return [run.job for run in row.runs] == [run.job for run in other.runs]


def _variability(found: Statistics) -> tuple[float, float, float, float, float]:
    return (
        found.accuracy.sd,
        found.cross_entropy.sd,
        found.disagreement.value,
        found.correlation.value,
        found.ensemble_accuracy.value,
    )


def _quotients(found: Statistics, single: Statistics, paired: bool) -> list[np.ndarray]:
    """Return the mean of the five quotients without each run of the row, and without each of the
    other row; without each run of both if these are the same.
    """
    above, below = _columns(found), _columns(single)
    left_above, left_below = _left(found), _left(single)
    with np.errstate(divide="ignore", invalid="ignore"):
        if paired:
            return [(left_above / left_below).mean(0)]
        return [(left_above / below).mean(0), (above / left_below).mean(0)]


def _columns(found: Statistics) -> np.ndarray:
    """Return the five columns with 1 - correlation, (5, 1)."""
    accuracy, cross_entropy, disagreement, correlation, gain = _variability(found)
    return np.array([accuracy, cross_entropy, disagreement, 1 - correlation, gain])[:, None]


def _left(found: Statistics) -> np.ndarray:
    """Return the five columns without each run, (5, runs)."""
    runs = len(found.accuracies)
    others = ~np.eye(runs, dtype=bool)
    sds = [
        np.broadcast_to(values, (runs, runs))[others].reshape(runs, runs - 1).std(1)
        for values in (found.accuracies, found.cross_entropies)
    ]
    means = [
        leave_one_out_means(matrix)
        for matrix in (
            found.pairs["disagreement"],
            1 - found.pairs["correlation"],
            found.pairs["ensemble_accuracy"],
        )
    ]
    return np.array([*sds, *means])
