"""The power of t tests of a difference of means, and the runs that a difference needs."""

from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, fdtri, ndtri
from scipy.stats import nct, t

from nondet.analysis.stats.intervals import Interval, check_confidence, paired_samples

_MOST_RUNS = 10**9


class RunSpread(NamedTuple):
    """How far the difference of one run of each method varies."""

    sd: float
    """of b - a"""
    freedom: float
    """degrees of freedom of the t test that each run of a side adds after its first: 1 if runs are
    paired, else between 1 and, for equal standard deviations, 2 (Welch)"""


class PairingGain(NamedTuple):
    """What pairing runs saves."""

    correlation: Interval
    """of the scores of a pair; Fisher's z interval, NaN for fewer than four pairs"""
    saved: Interval
    """share of the runs that pairing saves, 1 - Var(b - a) / (Var a + Var b); negative if it costs
    runs. The interval is exact for normal scores with equal standard deviations."""


def paired_spread(sd_a: float, sd_b: float, correlation: float) -> RunSpread:
    """Return the spread of the differences of pairs, from the standard deviations of both sides.

    Raises ValueError for negative standard deviations and a correlation outside [-1, 1].
    """
    _check_sds(sd_a, sd_b)
    if not -1 <= correlation <= 1:
        raise ValueError(f"correlation is {correlation}; it must lie in [-1, 1]")
    variance = sd_a**2 + sd_b**2 - 2 * correlation * sd_a * sd_b
    return RunSpread(max(variance, 0.0) ** 0.5, 1.0)


def unpaired_spread(sd_a: float, sd_b: float) -> RunSpread:
    """Return the spread of the differences of runs that are not paired.

    Raises ValueError for negative standard deviations.
    """
    _check_sds(sd_a, sd_b)
    one, other = sd_a**2, sd_b**2
    equal = one + other == 0
    return RunSpread(
        (one + other) ** 0.5, 2.0 if equal else (one + other) ** 2 / (one**2 + other**2)
    )


def t_power(
    difference: float, spread: RunSpread, runs: np.ndarray | int, confidence: float = 0.95
) -> np.ndarray:
    """Return the probability that the two-sided t test finds a difference of means, for each number
    of `runs` (pairs, or runs of each side), all at least 2.

    Exact for normal scores if runs are paired or both sides have one standard deviation; else
    Welch's test is treated as if its degrees of freedom were known.

    Raises ValueError for fewer than two runs and a confidence out of range.
    """
    check_confidence(confidence)
    count = np.asarray(runs, dtype=np.float64)
    if (count < 2).any():
        raise ValueError(f"runs is {runs}; it must be at least 2")
    if spread.sd == 0:
        return np.full(count.shape, 1.0 if difference else 1 - confidence)
    freedom = spread.freedom * (count - 1)
    centre = np.sqrt(count) * abs(difference) / spread.sd
    critical = t.ppf((1 + confidence) / 2, freedom)
    power = nct.sf(critical, freedom, centre) + nct.cdf(-critical, freedom, centre)
    # Far beyond the critical value the noncentral distribution has no more digits.
    found: np.ndarray = np.where(
        np.isnan(power), (centre > critical).astype(float), np.clip(power, 0, 1)
    )
    return found


def runs_needed(
    difference: float, spread: RunSpread, power: float = 0.8, confidence: float = 0.95
) -> float:
    """Return the fewest runs (pairs, or of each side) with which `t_power` is at least `power`; a
    whole number, infinite beyond a thousand million.

    Raises ValueError for a difference of 0 and a power or confidence out of range.
    """
    _check_power(power, confidence)
    if not (np.isfinite(difference) and difference != 0):
        raise ValueError(f"difference is {difference}; it must be finite and not 0")
    if not np.isfinite(spread.sd):
        return np.inf
    low, high = 1, 2
    while float(t_power(difference, spread, high, confidence)) < power:
        low, high = high, 2 * high
        if high > _MOST_RUNS:
            return np.inf
    while high - low > 1:
        middle = (low + high) // 2
        enough = float(t_power(difference, spread, middle, confidence)) >= power
        low, high = (low, middle) if enough else (middle, high)
    return float(high)


def detectable_difference(
    spread: RunSpread, runs: int, power: float = 0.8, confidence: float = 0.95
) -> float:
    """Return the difference that `runs` runs (pairs, or of each side) find with `power`.

    Raises ValueError for fewer than two runs and a power or confidence out of range.
    """
    _check_power(power, confidence)
    if spread.sd == 0:
        return 0.0
    unit = RunSpread(1.0, spread.freedom)
    low, high = 0.0, 1.0
    while float(t_power(high, unit, runs, confidence)) < power:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        enough = float(t_power(middle, unit, runs, confidence)) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high * spread.sd


def sd_interval(sd: float, freedom: float, confidence: float = 0.95) -> Interval:
    """Return the interval of a standard deviation of normal values, estimated with `freedom`
    degrees of freedom, from the chi-squared distribution.

    Raises ValueError for a negative sd, no degrees of freedom and a confidence out of range.
    """
    check_confidence(confidence)
    _check_sds(sd, 0)
    if freedom <= 0:
        raise ValueError(f"freedom is {freedom}; it must be positive")
    tail = (1 - confidence) / 2
    low, high = (float((freedom / chdtri(freedom, q)) ** 0.5) for q in (tail, 1 - tail))
    return Interval(sd, sd * low, sd * high)


def pairing_gain(a: np.ndarray, b: np.ndarray, confidence: float = 0.95) -> PairingGain:
    """Return what pairing saves, from paired scores a and b (k,) of a pilot.

    The share saved is (g - 1) / (g + 1) with g = Var(a + b) / Var(b - a). With equal standard
    deviations the sum and the difference of normal scores are independent, and g over its true
    value has an F distribution with k - 1 and k - 1 degrees of freedom.

    Raises ValueError for fewer than three pairs, samples of different lengths, and NaN and infinite
    values. Both results are NaN if a side has no spread.
    """
    check_confidence(confidence)
    left, right = paired_samples(a, b)
    k = len(left)
    if k < 3:
        raise ValueError(f"a and b must have at least 3 pairs, got {k}")
    left, right = left - left[0], right - right[0]
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        nothing = Interval(np.nan, np.nan, np.nan)
        return PairingGain(nothing, nothing)
    r = float(np.clip(np.corrcoef(left, right)[0, 1], -1, 1))
    correlation = Interval(r, np.nan, np.nan)
    if k > 3:
        with np.errstate(divide="ignore"):
            z, width = np.arctanh(r), ndtri((1 + confidence) / 2) / (k - 3) ** 0.5
        correlation = Interval(r, float(np.tanh(z - width)), float(np.tanh(z + width)))
    of_sum, of_difference = (float(np.var(x, ddof=1)) for x in (left + right, right - left))
    quantile = float(fdtri(k - 1, k - 1, (1 + confidence) / 2))
    # (g - 1) / (g + 1) without a division by a difference of no spread.
    saved = [
        (of_sum * f - of_difference) / (of_sum * f + of_difference)
        for f in (1.0, 1 / quantile, quantile)
    ]
    return PairingGain(correlation, Interval(*saved))


def _check_sds(*sds: float) -> None:
    if not all(sd >= 0 for sd in sds):
        raise ValueError(f"standard deviations must not be negative, got {list(sds)}")


def _check_power(power: float, confidence: float) -> None:
    check_confidence(confidence)
    if not 1 - confidence < power < 1:
        raise ValueError(
            f"power is {power}; it must lie between 1 - confidence, {1 - confidence:g}, and 1"
        )
