"""The probability that a run of one method outperforms a run of another."""

from math import ceil
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from nondet.analysis.stats.intervals import (
    Interval,
    check_resampling,
    check_sample,
    paired_samples,
    percentile_interval,
)

MEANINGFUL = 0.75
"""The probability of outperforming above which Bouthillier et al. (2021) call an improvement
meaningful."""

_BLOCK = 1 << 22  # weights that are drawn at once


class Outperforming(NamedTuple):
    """P(b > a), and what the rule of Bouthillier et al. (2021) makes of it."""

    probability: Interval
    """P(b > a) + P(b = a) / 2, with a percentile bootstrap interval"""
    significant: bool
    """whether the lower end is above 1/2"""
    meaningful: bool
    """whether it is significant, and the upper end is above 0.75"""
    needed: int
    """pairs that find P = 0.75 at 5% and 5% errors (Noether 1987): 29"""


def outperforming(
    a: np.ndarray,
    b: np.ndarray,
    generator: np.random.Generator,
    paired: bool,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Outperforming:
    """Return the probability that a run of `b` scores higher than one of `a`, ties counted half.

    paired: compare the i-th of a (k,) with the i-th of b (k,), and resample pairs; else all n m
    pairs of a (n,) and b (m,), resampling each side. Scores that differ by rounding alone tie.
    Where one side always wins, every resample agrees and the interval has no width: for few runs
    that means little.

    Raises ValueError for paired samples of different lengths, empty ones, and NaN and infinite
    values.
    """
    check_resampling(resamples, confidence)
    if paired:
        left, right = paired_samples(a, b)
        wins = _wins(left, right)
        counts = [float((wins == x).mean()) for x in (0, 0.5, 1)]
        drawn = generator.multinomial(len(wins), counts, resamples)
        draws = drawn @ np.array([0, 0.5, 1]) / len(wins)
        found = percentile_interval(float(wins.mean()), draws, confidence)
    else:
        left, right = check_sample("a", a, 1), check_sample("b", b, 1)
        below, level = _counts(left, right)
        value = float((below + level / 2).sum()) / (len(left) * len(right))
        draws = _resampled(below, level, len(left), generator, resamples)
        found = percentile_interval(value, draws, confidence)
    significant = found.low > 0.5
    meaningful = significant and found.high > MEANINGFUL
    return Outperforming(found, significant, meaningful, noether_pairs())


def noether_pairs(
    probability: float = MEANINGFUL, false_positive: float = 0.05, false_negative: float = 0.05
) -> int:
    """Return how many pairs find that b outperforms a with `probability`, in a one-sided test with
    these two rates of errors (Noether 1987, for the sign test of pairs as Bouthillier et al. 2021
    use it).

    Raises ValueError for a probability of 1/2 or outside (0, 1), and rates outside (0, 1/2).
    """
    if not 0 < probability < 1 or probability == 0.5:
        raise ValueError(f"probability is {probability}; it must lie in (0, 1) and not be 0.5")
    for name, rate in (("false_positive", false_positive), ("false_negative", false_negative)):
        if not 0 < rate < 0.5:
            raise ValueError(f"{name} is {rate}; it must lie between 0 and 0.5")
    quantiles = float(ndtri(1 - false_positive) + ndtri(1 - false_negative))
    return ceil((quantiles / (6**0.5 * (probability - 0.5))) ** 2)


def _wins(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return 1 where b is higher, 1/2 where both tie, else 0."""
    d = b - a
    slack = 4 * np.finfo(float).eps * np.maximum(np.abs(a), np.abs(b))
    wins: np.ndarray = np.where(np.abs(d) <= slack, 0.5, d > 0)
    return wins


def _counts(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of `a` (n,) each of `b` (m,) beats, and how many it ties with."""
    rising = np.sort(a)
    step = max(_BLOCK // len(a), 1)
    wins = [_wins(rising, b[i : i + step, None]) for i in range(0, len(b), step)]
    below, level = ([(part == x).sum(1) for part in wins] for x in (1, 0.5))
    return np.concatenate(below), np.concatenate(level)


def _resampled(
    below: np.ndarray, level: np.ndarray, n: int, generator: np.random.Generator, resamples: int
) -> np.ndarray:
    """Return the share of pairs that b wins, ties counted half, for resamples of both sides.

    below, level: of `_counts`, in the order of b. What a run of b beats are the lowest of a, so
    sums of their weights are differences of cumulative ones.
    """
    m = len(below)
    step, parts = max(_BLOCK // (m + n), 1), []
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        of_b = generator.multinomial(m, np.full(m, 1 / m), count)
        of_a = generator.multinomial(n, np.full(n, 1 / n), count)
        sums = np.concatenate([np.zeros((count, 1), np.int64), of_a.cumsum(1)], axis=1)
        twice = sums[:, below] + sums[:, below + level]
        parts.append((of_b * twice).sum(1) / (2 * m * n))
    return np.concatenate(parts)
