"""Means over pairs of models."""

import math

import numpy as np

from nondet.analysis.stats.intervals import Interval, check_confidence, jackknife_interval
from nondet.analysis.stats.spread import quotient_samples


def mean_over_pairs(matrix: np.ndarray) -> float:
    """Return the mean of a symmetric matrix (R, R) over its pairs i < j, for R >= 2."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix must be square, got shape {matrix.shape}")
    if len(matrix) < 2:
        raise ValueError(f"a mean over pairs needs at least 2 runs, got {len(matrix)}")
    pairs = matrix[np.triu_indices(len(matrix), 1)]
    return math.fsum(pairs.tolist()) / len(pairs)


def pair_mean(
    matrix: np.ndarray, confidence: float = 0.95, low: float = -np.inf, high: float = np.inf
) -> Interval:
    """Return the mean of a symmetric matrix (R, R) over its pairs i < j, with an interval that
    respects that pairs share models. The diagonal plays no part.

    low, high: the range of the measure, inside which the interval stays. It is Student's with R - 1
    degrees of freedom on a scale on which the range has no ends, such as Fisher's z for a
    correlation; the variance is the jackknife's over models, which is on average not too small
    (Efron & Stein 1981). Ends are NaN for two runs, where all pairs or all but those of one run are
    alike, and if the matrix holds NaN.

    Raises ValueError for a matrix that is not square, or of fewer than two runs, and a range
    without inside.
    """
    value = mean_over_pairs(matrix)
    check_confidence(confidence)
    if not low < high:
        raise ValueError(f"low is {low} and high is {high}; low must be below high")
    if len(matrix) == 2 or not np.isfinite(value):
        return Interval(value, np.nan, np.nan)
    return jackknife_interval(value, [leave_one_out_means(matrix)], confidence, low, high)


def pair_ratio(
    a: np.ndarray, b: np.ndarray, confidence: float = 0.95, paired: bool = False
) -> Interval:
    """Return the mean of `a` (R, R) over pairs i < j, over that of `b` (S, S), two measures that
    are not negative, such as disagreement.

    paired: whether the i-th runs of both are one, such as two ways to predict with one model; else
    the runs are independent. The interval is Student's for the logarithm, with jackknife variances
    over runs. Its ends are NaN for two runs of a side, and where a mean without one run is 0. The
    value is infinite if only the mean of `b` is 0, and NaN if both are.

    Raises ValueError for matrices that are not square or of fewer than two runs, and paired ones of
    different sizes.
    """
    check_confidence(confidence)
    above, below = mean_over_pairs(a), mean_over_pairs(b)
    if paired and len(a) != len(b):
        raise ValueError(f"a and b must have the same runs, got {len(a)} and {len(b)}")
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(np.divide(above, below))
    if 2 in (len(a), len(b)) or not np.isfinite(value):
        return Interval(value, np.nan, np.nan)
    left = [leave_one_out_means(matrix) for matrix in (a, b)]
    return jackknife_interval(value, quotient_samples(left, paired), confidence, low=0)


def leave_one_out_means(matrix: np.ndarray) -> np.ndarray:
    """Return the mean over pairs without each run, (R,), for R >= 3."""
    runs, start = len(matrix), float(matrix[0, 1])
    wide = matrix.astype(np.float64) - start  # exactly 0 where all pairs are alike
    np.fill_diagonal(wide, 0)
    rows = wide.sum(1)
    left: np.ndarray = start + (rows.sum() - 2 * rows) / ((runs - 1) * (runs - 2))
    return left
