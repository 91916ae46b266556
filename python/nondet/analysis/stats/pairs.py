"""Means over pairs of models."""

import math

import numpy as np
from scipy.special import ndtri, stdtrit

from nondet.analysis.stats.intervals import Interval, bca_interval, check_resampling


def mean_over_pairs(matrix: np.ndarray) -> float:
    """Return the mean of a symmetric matrix (R, R) over its pairs i < j, for R >= 2."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix must be square, got shape {matrix.shape}")
    if len(matrix) < 2:
        raise ValueError(f"a mean over pairs needs at least 2 runs, got {len(matrix)}")
    pairs = matrix[np.triu_indices(len(matrix), 1)]
    return math.fsum(pairs.tolist()) / len(pairs)


def pair_mean(
    matrix: np.ndarray,
    generator: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Return the mean of a symmetric matrix (R, R) over its pairs i < j, with an interval that
    respects that pairs share models. The diagonal plays no part.

    The interval is BCa from a bootstrap over models: draw R models with replacement, and take the
    mean over all pairs of draws of different models. By symmetry these means are centred on the
    value, but their variance is biased: pairs are noisy beyond what their two models explain, and
    repeated models repeat that noise. The draws are therefore rescaled around the value to the
    unbiased variance of a mean over pairs (Hoeffding's decomposition; Griffing 1956 for its
    estimate), times the ratio of Student's quantile (R - 1 degrees of freedom) to the normal one.
    Ends are NaN for two runs, and if the matrix holds NaN.

    Raises ValueError for a matrix that is not square, or of fewer than two runs.
    """
    value = mean_over_pairs(matrix)
    check_resampling(resamples, confidence)
    runs = len(matrix)
    if runs == 2 or not np.isfinite(value):
        return Interval(value, np.nan, np.nan)
    centred = matrix.astype(np.float64) - value
    np.fill_diagonal(centred, 0)
    counts = generator.multinomial(runs, np.full(runs, 1 / runs), resamples).astype(np.float64)
    pairs = runs**2 - (counts**2).sum(1)
    some = pairs > 0  # a resample of one model alone has no pairs
    draws = ((counts @ centred) * counts).sum(1)[some] / pairs[some]
    spread = float(np.std(draws)) if len(draws) else 0.0
    if spread == 0:
        return Interval(value, value, value)
    stretch = stdtrit(runs - 1, (1 + confidence) / 2) / ndtri((1 + confidence) / 2)
    draws *= stretch * _variance(centred) ** 0.5 / spread
    leave_one_out = -2 * centred.sum(1) / ((runs - 1) * (runs - 2))
    around = bca_interval(0.0, draws, [leave_one_out], confidence)
    return Interval(value, value + around.low, value + around.high)


def _variance(centred: np.ndarray) -> float:
    """Return the variance of the mean over pairs, from pairs minus their mean.

    With M_ij = a_i + a_j + e_ij it is 4 Var(a) / R + 2 Var(e) / (R (R - 1)). Var(a) is clipped at
    0. Var(e) is 0 for three runs, which leave it no degree of freedom; the variance is then the
    jackknife's.
    """
    runs = len(centred)
    rows = centred.sum(1)
    between = float(rows @ rows) / (runs - 2)  # sum of squares, R - 1 degrees of freedom
    residual = 0.0
    if runs > 3:
        within = float((centred**2).sum()) / 2 - between
        residual = max(within, 0.0) / (runs * (runs - 3) / 2)
    model = max(between / (runs - 1) - residual, 0.0) / (runs - 2)
    return 4 * model / runs + 2 * residual / (runs * (runs - 1))
