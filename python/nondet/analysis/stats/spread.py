"""Standard deviations of few runs, their standard errors and their ratios."""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from nondet.analysis.stats.intervals import (
    Interval,
    bca_interval,
    check_confidence,
    check_resampling,
    check_sample,
    log_student_interval,
    percentile_interval,
)

_LEAST_BCA = 6


class Spread(NamedTuple):
    """A standard deviation and its standard error."""

    sd: float
    error: float


def standard_deviation(values: np.ndarray) -> float:
    """Return the standard deviation of `values` (n,) with divisor n (ddof=0, as in the paper's
    code).

    Exactly 0 for equal values: deviations are taken from the first value before the mean is formed.
    """
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"values must be a non-empty vector, got shape {values.shape}")
    return float(np.std(values.astype(np.float64) - values[0]))


def bootstrap_spread(
    values: np.ndarray, generator: np.random.Generator, resamples: int = 10_000
) -> Spread:
    """Return the standard deviation of `values` (n,) and its bootstrap standard error.

    The standard error is that of the paper's code: the standard deviation of the standard
    deviations of `resamples` samples of n values drawn with replacement.
    """
    sd = standard_deviation(values)
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; it must be at least 1")
    deviations = values.astype(np.float64) - values[0]
    drawn = deviations[generator.integers(0, len(values), (resamples, len(values)))]
    return Spread(sd, standard_deviation(np.std(drawn, axis=1)))


def unbiased_sd(
    values: np.ndarray,
    generator: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Return the standard deviation of `values` (n,) without small-sample bias, and its interval.

    The value is s / c4(n): s has divisor n - 1, and c4(n) is the expectation of s / sigma for n
    normal values. The interval is the BCa bootstrap interval of the same statistic (Efron 1987); up
    to five values the percentile interval, because the acceleration of BCa, which does not exist
    for two values, makes coverage worse there. (0, 0, 0) for equal values. Small samples are
    covered less often than `confidence`: docs/statistics.md has measurements.

    Raises ValueError for fewer than two values, and for NaN and infinite ones.
    """
    deviations = _deviations("values", values)
    check_resampling(resamples, confidence)
    value = float(_unbiased(deviations))
    draws = _resampled(deviations, generator, resamples)
    if len(values) < _LEAST_BCA:
        return percentile_interval(value, draws, confidence)
    return bca_interval(value, draws, [_leave_one_out(deviations)], confidence)


def sd_ratio(a: np.ndarray, b: np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the standard deviation of `a` (n,) over that of the independent sample `b` (m,), both
    as `unbiased_sd` estimates them.

    The interval is Student's on the logarithmic scale, with jackknife variances of both logarithms;
    it covered better than bootstrap intervals (docs/statistics.md) and is deterministic. Its ends
    are NaN if leaving one value out leaves a sample without spread, as for two values. (0, 0, 0) if
    `a` has no spread; the value is infinite if only `b` has none, and NaN if neither has.

    Raises ValueError for fewer than two values, and for NaN and infinite ones.
    """
    above, below = _deviations("a", a), _deviations("b", b)
    check_confidence(confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(np.divide(_unbiased(above), _unbiased(below)))
    if value == 0:
        return Interval(0.0, 0.0, 0.0)
    if not np.isfinite(value) or 2 in (len(a), len(b)):
        return Interval(value, np.nan, np.nan)
    return log_student_interval(value, [_leave_one_out(above), _leave_one_out(below)], confidence)


def _deviations(name: str, values: np.ndarray) -> np.ndarray:
    wide = check_sample(name, values, 2)
    deviations: np.ndarray = wide - wide[0]
    return deviations


def _unbiased(values: np.ndarray) -> np.ndarray:
    """Return s / c4 along the last axis."""
    n = values.shape[-1]
    c4 = np.sqrt(2 / (n - 1)) * np.exp(gammaln(n / 2) - gammaln((n - 1) / 2))
    sd: np.ndarray = np.std(values, axis=-1, ddof=1) / c4
    return sd


def _resampled(values: np.ndarray, generator: np.random.Generator, resamples: int) -> np.ndarray:
    return _unbiased(values[generator.integers(0, len(values), (resamples, len(values)))])


def _leave_one_out(values: np.ndarray) -> np.ndarray:
    n = len(values)
    return _unbiased(np.broadcast_to(values, (n, n))[~np.eye(n, dtype=bool)].reshape(n, n - 1))
