"""Intervals by resampling: bootstrap and jackknife."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit, ndtr, ndtri, stdtrit

_ROUNDING = 1e-12  # deviations of a jackknife below this are those of its rounding


class Interval(NamedTuple):
    """An estimate and the ends of its interval, which are NaN if the data allow none."""

    value: float
    low: float
    high: float


def percentile_interval(value: float, draws: np.ndarray, confidence: float) -> Interval:
    """Return the central quantiles of the bootstrap distribution `draws` (resamples,)."""
    tail = (1 - confidence) / 2
    return Interval(value, *_quantiles(draws, np.array([tail, 1 - tail])))


def bca_interval(
    value: float, draws: np.ndarray, jackknife: Sequence[np.ndarray], confidence: float
) -> Interval:
    """Return the bias-corrected and accelerated bootstrap interval (Efron 1987, "Better Bootstrap
    Confidence Intervals").

    draws: (resamples,), the statistic of the resamples. jackknife: for each sample that was
    resampled, the statistic (n,) without each of its n values. Falls back to the percentile
    interval if all draws lie on one side of the value, where the bias has no finite correction.
    """
    # Resamples that are the sample in another order differ from it by rounding only.
    slack = 1e-9 * float(np.ptp(draws))
    below = (np.sum(draws < value - slack) + np.sum(draws <= value + slack)) / 2
    if below in (0, len(draws)):
        return percentile_interval(value, draws, confidence)
    cubes = squares = 0.0
    for leave_one_out in jackknife:
        n = len(leave_one_out)
        influence = (n - 1) * (leave_one_out.mean() - leave_one_out)
        cubes += (influence**3).sum() / n**3
        squares += (influence**2).sum() / n**2
    acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0
    bias = ndtri(below / len(draws))
    tail = (1 - confidence) / 2
    shifted = bias + ndtri(np.array([tail, 1 - tail]))
    room = 1 - acceleration * shifted
    if (room <= 0).any():  # beyond the pole of the correction
        return percentile_interval(value, draws, confidence)
    return Interval(value, *_quantiles(draws, ndtr(bias + shifted / room)))


def jackknife_interval(
    value: float,
    jackknife: Sequence[np.ndarray],
    confidence: float,
    low: float = -np.inf,
    high: float = np.inf,
) -> Interval:
    """Return Student's interval on a scale on which the range (low, high) of a statistic has no
    ends, so that the interval stays inside: log-odds between two ends, the logarithm of the
    distance from one.

    jackknife: for each independent sample, a statistic (n,) without each of its n values. The value
    is that of their only sample or, from a range (0, inf), their product or quotient. The variance
    is the sum of the jackknife variances (Efron & Stein 1981), with Satterthwaite's degrees of
    freedom (1946). Ends are NaN if the value or a statistic lies outside of (low, high) or on its
    end, or if no statistic of the jackknife varies, from which no interval follows.
    """
    scaled = [_unbounded(leave_one_out, low, high) for leave_one_out in jackknife]
    at = float(_unbounded(np.array([value]), low, high)[0])
    if not np.isfinite(at) or not all(len(one) > 1 and np.isfinite(one).all() for one in scaled):
        return Interval(value, np.nan, np.nan)
    variances = [(len(one) - 1) * float(np.var(one)) for one in scaled]
    variance = sum(variances)
    if not variance > (_ROUNDING * max(1.0, abs(at))) ** 2:
        return Interval(value, np.nan, np.nan)
    parts = [v**2 / (len(one) - 1) for v, one in zip(variances, scaled, strict=True)]
    width = stdtrit(variance**2 / sum(parts), (1 + confidence) / 2) * variance**0.5
    ends = (_bounded(at - width, low, high), _bounded(at + width, low, high))
    return Interval(value, min(ends), max(ends))


def _unbounded(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values of (low, high) on a scale without ends; NaN or infinite outside."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled: np.ndarray
        if np.isfinite(low) and np.isfinite(high):
            scaled = np.log(x - low) - np.log(high - x)
        elif np.isfinite(low):
            scaled = np.log(x - low)
        elif np.isfinite(high):
            scaled = np.log(high - x)
        else:
            scaled = x.astype(np.float64)
    return scaled


def _bounded(z: float, low: float, high: float) -> float:
    """Return the value of (low, high) at `z`: the inverse of `_unbounded`."""
    if np.isfinite(low) and np.isfinite(high):
        return float(low + (high - low) * expit(z))
    with np.errstate(over="ignore"):
        if np.isfinite(low):
            return float(low + np.exp(z))
        return float(high - np.exp(z)) if np.isfinite(high) else float(z)


def student_interval(value: float, error: float, freedom: float, confidence: float) -> Interval:
    """Return Student's interval of an estimate with a standard error; its ends are NaN if the
    error is.
    """
    check_confidence(confidence)
    if not np.isfinite(error):
        return Interval(value, np.nan, np.nan)
    width = float(stdtrit(freedom, (1 + confidence) / 2)) * error if error > 0 else 0.0
    return Interval(value, value - width, value + width)


def check_resampling(resamples: int, confidence: float) -> None:
    """Raise ValueError for bad arguments of a bootstrap interval."""
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; it must be at least 1")
    check_confidence(confidence)


def check_confidence(confidence: float) -> None:
    """Raise ValueError for a confidence that is not in (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1")


def check_sample(name: str, values: np.ndarray, least: int) -> np.ndarray:
    """Return `values` as float64. Raises ValueError unless it is a finite vector of at least
    `least` values.
    """
    if values.ndim != 1 or len(values) < least:
        raise ValueError(
            f"{name} must be a vector of at least {least} values, got shape {values.shape}"
        )
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return wide


def paired_samples(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `a` and `b` as float64. Raises ValueError unless both are finite vectors of one
    length, at least 1.
    """
    left, right = check_sample("a", a, 1), check_sample("b", b, 1)
    if len(left) != len(right):
        raise ValueError(
            f"a and b must have one value a pair each, got {len(left)} and {len(right)}"
        )
    return left, right


def _quantiles(draws: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, at)
    return float(low), float(high)
