"""The probability that a run of one method outperforms a run of another."""

from typing import NamedTuple

import numpy as np

from nondet.analysis.stats.intervals import Interval

MEANINGFUL = 0.75
"""The probability of outperforming above which Bouthillier et al. (2021) call an improvement
meaningful."""


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
    pairs of a (n,) and b (m,), resampling each side.

    Raises ValueError for paired samples of different lengths, empty ones, and NaN and infinite
    values.
    """
    raise NotImplementedError
