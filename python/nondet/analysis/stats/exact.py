"""Exact tests of a difference of means: sign flips of pairs, and splits of two samples.

A test counts the arrangements of the scores that differ at least as much as the observed one.
Sums that differ by no more than their rounding errors are equal, so that scores which tie as
decimals tie here too, and a p-value never becomes too small by rounding.
"""

from typing import NamedTuple

import numpy as np


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
    a: np.ndarray, b: np.ndarray, generator: np.random.Generator, draws: int = 100_000
) -> ExactTest:
    """Test whether paired scores a, b (k,) are exchangeable within their pairs.

    p is the share of all 2^k patterns of signs of the differences whose absolute sum is at least
    the observed one (Fisher 1935). All are counted up to 40 pairs, by sorting the sums of each half
    of the pairs and counting the combinations; beyond, `draws` random patterns are, and p = (1 +
    count) / (1 + draws) (Phipson & Smyth 2010). The smallest p is 2^(1 - k).

    Raises ValueError for samples of different lengths, none, and NaN and infinite values.
    """
    raise NotImplementedError


def permutation_test(
    a: np.ndarray, b: np.ndarray, generator: np.random.Generator, draws: int = 100_000
) -> ExactTest:
    """Test whether two independent samples a (n,) and b (m,) come from one distribution.

    p is the share of all splits of the n + m scores into n and m whose absolute difference of means
    is at least the observed one (Fisher 1935; Pitman 1937). All are counted up to 40 scores in
    total; beyond, `draws` random splits are, as in `sign_flip_test`. The smallest p is 2 / C(2n, n)
    for equal sizes, else 1 / C(n + m, n).

    Raises ValueError for empty samples, and for NaN and infinite values.
    """
    raise NotImplementedError
