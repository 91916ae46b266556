"""The difference of the means of two samples of runs."""

from typing import NamedTuple

import numpy as np

from nondet.analysis.stats.intervals import (
    Interval,
    bca_interval,
    check_resampling,
    check_sample,
    paired_samples,
    student_interval,
)

LEAST_BCA = 100
"""The fewest runs of a side with which the interval is BCa instead of Student's. With fewer, BCa
mostly covers less often in the simulations of docs/comparing-results.md; from here on both cover
about alike."""

_BLOCK = 1 << 22  # values that are resampled at once


class Difference(NamedTuple):
    """A difference of means, its interval, and how that was computed."""

    interval: Interval
    """the ends are NaN for fewer than two runs of a side"""
    method: str
    """such as "Student's t interval of the paired differences" """
    reason: str
    """why this method and not the other, such as "12 pairs; BCa needs 100" """


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    generator: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
    least_bca: int = LEAST_BCA,
) -> Difference:
    """Return the mean of b - a (k,) with its interval, for runs that are paired by position.

    The interval is Student's with k - 1 degrees of freedom for fewer than `least_bca` pairs, else
    the BCa bootstrap interval of the mean difference (Efron 1987).

    Raises ValueError for samples of different lengths, none, and NaN and infinite values.
    """
    left, right = paired_samples(a, b)
    d = right - left
    check_resampling(resamples, confidence)
    k, value = len(d), float(d[0] + (d - d[0]).mean())  # exact for equal differences
    if k < least_bca:
        error = float(np.std(d - d[0], ddof=1)) / k**0.5 if k > 1 else np.nan
        interval = student_interval(value, error, k - 1, confidence)
        method = "Student's t interval of the paired differences"
        return Difference(interval, method, f"{k} pairs; BCa needs {least_bca}")
    draws = _resampled_means(d, generator, resamples)
    without = (d.sum() - d) / (k - 1)
    interval = bca_interval(value, draws, [without], confidence)
    method = f"BCa bootstrap of the paired differences, {resamples:,} resamples"
    return Difference(interval, method, f"{k} pairs; BCa needs {least_bca}")


def mean_difference(
    a: np.ndarray,
    b: np.ndarray,
    generator: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
    least_bca: int = LEAST_BCA,
) -> Difference:
    """Return the mean of `b` (m,) minus that of the independent sample `a` (n,), with its interval.

    The interval is Welch's: Student's with the variance of each side and Satterthwaite's degrees of
    freedom (Welch 1947); from `least_bca` runs of both sides on BCa, resampling each side.

    Raises ValueError for empty samples, and for NaN and infinite values.
    """
    left, right = check_sample("a", a, 1), check_sample("b", b, 1)
    check_resampling(resamples, confidence)
    n, m = len(left), len(right)
    value = float(right.mean() - left.mean())
    sizes = f"{n} and {m} runs; BCa needs {least_bca} of each"
    if min(n, m) < least_bca:
        interval = student_interval(value, *_welch(left, right), confidence)
        return Difference(interval, "Welch's t interval", sizes)
    draws = _resampled_means(right, generator, resamples)
    draws -= _resampled_means(left, generator, resamples)
    jackknife = [
        right.mean() - (left.sum() - left) / (n - 1),
        (right.sum() - right) / (m - 1) - left.mean(),
    ]
    interval = bca_interval(value, draws, jackknife, confidence)
    return Difference(interval, f"BCa bootstrap, {resamples:,} resamples", sizes)


def _welch(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return the standard error of the difference of means, and its degrees of freedom."""
    if min(len(a), len(b)) < 2:
        return np.nan, np.nan
    parts = [float(np.var(x - x[0], ddof=1)) / len(x) for x in (a, b)]
    variance = sum(parts)
    if variance == 0:
        return 0.0, 1.0
    shares = [part / variance for part in parts]
    freedom = 1 / sum(s**2 / (len(x) - 1) for s, x in zip(shares, (a, b), strict=True))
    return variance**0.5, freedom


def _resampled_means(
    values: np.ndarray, generator: np.random.Generator, resamples: int
) -> np.ndarray:
    n = len(values)
    step = max(_BLOCK // n, 1)
    return np.concatenate(
        [
            values[generator.integers(0, n, (min(step, resamples - start), n))].mean(1)
            for start in range(0, resamples, step)
        ]
    )
