"""Standard deviations of few runs, their standard errors and their ratios."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, stdtrit

from nondet.analysis.stats.intervals import (
    Interval,
    check_confidence,
    check_sample,
    jackknife_interval,
)

_LEAST_DIFFERENT = 3
_DRAWN = 1_000_000  # values of a side in the simulation of a power


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


def unbiased_sd(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the standard deviation of `values` (n,) without small-sample bias, and its interval.

    The value is s / c4(n): s has divisor n - 1, and c4(n) is the expectation of s / sigma for n
    normal values. The interval is Student's for the logarithm, with its jackknife variance and n -
    1 degrees of freedom; docs/statistics.md has its coverage. Its ends are NaN for fewer than three
    different values, and where leaving one out leaves no spread.

    Raises ValueError for fewer than two values, and for NaN and infinite ones.
    """
    deviations = _deviations("values", values)
    check_confidence(confidence)
    value = float(_unbiased(deviations))
    if not _tells(deviations):
        return Interval(value, np.nan, np.nan)
    return jackknife_interval(value, [_leave_one_out(deviations)], confidence, low=0)


def sd_ratio(
    a: np.ndarray, b: np.ndarray, confidence: float = 0.95, paired: bool = False
) -> Interval:
    """Return the standard deviation of `a` (n,) over that of `b` (m,), both as `unbiased_sd`
    estimates them.

    paired: whether the i-th values of both come from one run, such as two ways to predict with one
    model; else the samples are independent. The interval is Student's for the logarithm, with
    jackknife variances; it covered better than bootstrap intervals (docs/statistics.md) and is
    deterministic. Its ends are NaN where a sample has no interval of its own (`unbiased_sd`), such
    as two values. The value is infinite if only `b` has no spread, and NaN if neither has.

    Raises ValueError for fewer than two values, NaN and infinite ones, and paired samples of
    different lengths.
    """
    above, below = _deviations("a", a), _deviations("b", b)
    check_confidence(confidence)
    if paired and len(a) != len(b):
        raise ValueError(f"a and b must have one value a run each, got {len(a)} and {len(b)}")
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(np.divide(_unbiased(above), _unbiased(below)))
    if not (_tells(above) and _tells(below)):
        return Interval(value, np.nan, np.nan)
    left = [_leave_one_out(above), _leave_one_out(below)]
    return jackknife_interval(value, quotient_samples(left, paired), confidence, low=0)


def detectable_sd_ratio(
    runs: int, others: int, power: float = 0.8, confidence: float = 0.95
) -> float:
    """Return the ratio, above 1, of the standard deviations of `runs` and `others` normal values at
    which the interval of `sd_ratio` lies above 1 with probability `power`.

    It is simulated, since the jackknife's own variance, of few runs large, has no simple form: a
    ratio moves the logarithm of the quotient and not the width of its interval, so that samples
    without a difference tell how far it has to move. The generator is always the same; the ratio is
    accurate to about 1%. Infinite for fewer than three values.

    Raises ValueError for a power or a confidence outside (0, 1).
    """
    check_confidence(confidence)
    if not 0 < power < 1:
        raise ValueError(f"power is {power}; it must lie between 0 and 1")
    if min(runs, others) < _LEAST_DIFFERENT:
        return np.inf
    return float(np.exp(np.quantile(_margins(runs, others, confidence), power)))


@lru_cache
def _margins(runs: int, others: int, confidence: float) -> np.ndarray:
    """Return how far the logarithms of quotients of SDs of normal samples, which do not differ, are
    from an interval above 1, (samples,).
    """
    generator = np.random.default_rng([runs, others])
    count = int(np.clip(_DRAWN // max(runs, others), 500, 20_000))
    logs, variances = [], []
    for n in (runs, others):
        values = generator.standard_normal((count, n))
        squares = (values - values.mean(1, keepdims=True)) ** 2
        whole = squares.sum(1)
        left = np.log(whole[:, None] - squares * n / (n - 1)) / 2
        logs.append(np.log(_unbiased(values)))
        variances.append((n - 1) * left.var(1))
    total = variances[0] + variances[1]
    freedom = total**2 / (variances[0] ** 2 / (runs - 1) + variances[1] ** 2 / (others - 1))
    width = stdtrit(freedom, (1 + confidence) / 2) * np.sqrt(total)
    margins: np.ndarray = width - (logs[0] - logs[1])
    return margins


def quotient_samples(left: Sequence[np.ndarray], paired: bool) -> list[np.ndarray]:
    """Return the samples for `jackknife_interval` of the quotient of two statistics, from each
    statistic without each of its runs: one of quotients if both come from the same runs.
    """
    if not paired:
        return list(left)
    with np.errstate(divide="ignore", invalid="ignore"):
        return [left[0] / left[1]]


def _tells(values: np.ndarray) -> bool:
    """Return True if there are enough different values for an interval: of two, the jackknife makes
    one without width where both are equally frequent, and far too narrow ones near that.
    """
    return len(np.unique(values)) >= _LEAST_DIFFERENT


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


def _leave_one_out(values: np.ndarray) -> np.ndarray:
    n = len(values)
    return _unbiased(np.broadcast_to(values, (n, n))[~np.eye(n, dtype=bool)].reshape(n, n - 1))
