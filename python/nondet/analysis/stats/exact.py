"""Exact tests of a difference of means: sign flips of pairs, and splits of two samples.

A test counts the arrangements of the scores that differ at least as much as the observed one.
Sums that differ by no more than their rounding errors count as equal, so scores that tie as
decimals tie here too, and rounding never makes a p-value too small.
"""

from collections.abc import Callable
from math import comb, fsum
from typing import NamedTuple

import numpy as np

from nondet.analysis.stats.intervals import check_sample, paired_samples

MOST_COUNTED = 40
"""The most pairs, or scores of both sides, whose arrangements are all counted."""

_BLOCK = 1 << 22  # values that are drawn at once


class ExactTest(NamedTuple):
    """A two-sided p-value of a test over arrangements."""

    p: float
    smallest: float
    """the smallest p that this many runs can reach, whatever their scores"""
    name: str
    """such as "sign-flip test, all 4,096 sign patterns" """
    draws: int | None = None
    """the number of arrangements drawn at random; None if all were counted"""


def sign_flip_test(
    a: np.ndarray,
    b: np.ndarray,
    generator: np.random.Generator,
    draws: int = 100_000,
    shift: float = 0.0,
    most_counted: int = MOST_COUNTED,
) -> ExactTest:
    """Test whether paired scores a, b (k,) are exchangeable within their pairs once `shift` is
    taken from b.

    p is the share of all 2^k patterns of signs of the differences whose absolute sum is at least
    the observed one (Fisher 1935). All are counted up to `most_counted` pairs, by sorting the sums
    of each half of the pairs and counting the combinations; beyond, `draws` random patterns are,
    and p = (1 + count) / (1 + draws) (Phipson & Smyth 2010). The smallest p is 2^(1 - k).

    Raises ValueError for samples of different lengths, none, and NaN and infinite values.
    """
    left, right = paired_samples(a, b)
    _check_draws(draws)
    d, k = right - left - shift, len(left)
    # Each sum of k terms errs by k u times the sum of their sizes, u = eps / 2; a score that was
    # a decimal and was scaled once errs by 2 u, a difference by u.
    size = float(np.abs(left).sum() + np.abs(right).sum()) + k * abs(shift)
    least = abs(float(d.sum())) - (k + 4) * np.finfo(float).eps * size
    if k <= most_counted:
        p = _count_patterns(d, least) / 2**k if least > 0 else 1.0
        return ExactTest(p, 2.0 ** (1 - k), f"sign-flip test, all {2**k:,} sign patterns")

    def drawn(count: int) -> np.ndarray:
        sums: np.ndarray = (2.0 * generator.integers(0, 2, (count, k)) - 1) @ d
        return sums

    return _drawn_test("sign-flip test", "sign patterns", drawn, least, draws, k)


def permutation_test(
    a: np.ndarray,
    b: np.ndarray,
    generator: np.random.Generator,
    draws: int = 100_000,
    shift: float = 0.0,
    most_counted: int = MOST_COUNTED,
) -> ExactTest:
    """Test whether two independent samples a (n,) and b (m,) come from one distribution, once
    `shift` is taken from b.

    p is the share of all splits of the n + m scores into n and m whose absolute difference of means
    is at least the observed one (Fisher 1935; Pitman 1937). All are counted up to `most_counted`
    scores in total, as in `sign_flip_test`; beyond, `draws` random splits are. The smallest p is
    2 / C(2n, n) for equal sizes, else 1 / C(n + m, n).

    Raises ValueError for empty samples, and for NaN and infinite values.
    """
    left, right = check_sample("a", a, 1), check_sample("b", b, 1) - shift
    _check_draws(draws)
    n, m = len(left), len(right)
    pooled = np.concatenate([left, right])
    size = float(np.abs(pooled).sum()) + m * abs(shift)
    pooled = pooled - fsum(pooled.tolist()) / (n + m)
    # As for sign flips; the sizes of centred scores add up to at most twice those of the scores.
    slack = (2 * (n + m) + 8) * np.finfo(float).eps * size
    least = abs(float(pooled[n:].sum())) - slack
    splits = comb(n + m, n)
    if n + m <= most_counted:
        p = _count_splits(pooled, m, least) / splits if least > 0 else 1.0
        smallest = (2 if n == m else 1) / splits
        return ExactTest(p, min(smallest, 1.0), f"permutation test, all {splits:,} splits")

    def drawn(count: int) -> np.ndarray:
        rows = generator.permuted(np.broadcast_to(pooled, (count, n + m)), axis=1)
        sums: np.ndarray = rows[:, :m].sum(1)
        return sums

    return _drawn_test("permutation test", "splits", drawn, least, draws, n + m)


def smallest_p(runs: int, paired: bool) -> float:
    """Return the smallest two-sided p of the exact test of `runs` pairs, or runs of each side."""
    return 2.0 ** (1 - runs) if paired else min(2 / comb(2 * runs, runs), 1.0)


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise ValueError(f"draws is {draws}; it must be at least 1")


def _drawn_test(
    name: str,
    what: str,
    drawn: Callable[[int], np.ndarray],
    least: float,
    draws: int,
    width: int,
) -> ExactTest:
    step, count = max(_BLOCK // width, 1), 0
    for start in range(0, draws, step):
        count += int((np.abs(drawn(min(step, draws - start))) >= least).sum())
    words = f"{name}, {draws:,} random {what}"
    return ExactTest((1 + count) / (1 + draws), 1 / (1 + draws), words, draws)


def _count_patterns(d: np.ndarray, least: float) -> int:
    """Count the sign patterns whose sum is at least `least` > 0 in size."""
    half = len(d) // 2
    one, other = _signed_sums(d[:half]), np.sort(_signed_sums(d[half:]))
    return 2 * _count_pairs(one, other, least)


def _signed_sums(d: np.ndarray) -> np.ndarray:
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _count_splits(centred: np.ndarray, chosen: int, least: float) -> int:
    """Count the subsets of `chosen` values whose sum is at least `least` > 0 in size."""
    half = len(centred) // 2
    one, other = _subset_sums(centred[:half]), _subset_sums(centred[half:])
    count = 0
    for taken, sums in enumerate(one):
        if 0 <= chosen - taken < len(other):
            rest = np.sort(other[chosen - taken])
            count += _count_pairs(sums, rest, least) + _count_pairs(-sums, -rest[::-1], least)
    return count


def _subset_sums(values: np.ndarray) -> list[np.ndarray]:
    """Return the sums of all subsets, by the size of the subset."""
    sums = [np.zeros(1)]
    for value in values:
        larger = [one + value for one in sums]
        kept = [*sums, np.empty(0)]
        sums = [kept[0], *(np.concatenate(p) for p in zip(kept[1:], larger, strict=True))]
    return sums


def _count_pairs(one: np.ndarray, rising: np.ndarray, least: float) -> int:
    """Count the pairs of a value of `one` and one of `rising` whose sum is at least `least`."""
    below = np.searchsorted(rising, least - one, side="left")
    return len(one) * len(rising) - int(below.sum())
