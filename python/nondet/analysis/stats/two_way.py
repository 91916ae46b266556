"""Differences over runs and test examples at once, and over examples in clusters."""

from typing import NamedTuple

import numpy as np

from nondet.analysis.stats.intervals import Interval


class TwoWay(NamedTuple):
    """A difference of two methods for other runs on another test set."""

    interval: Interval
    freedom: float
    """Satterthwaite's degrees of freedom"""
    runs: float
    """the standard error that runs add for this test set"""
    examples: float
    """the standard error that examples add for these runs"""


def two_way_difference(
    a: np.ndarray,
    b: np.ndarray,
    paired: bool,
    clusters: np.ndarray | None = None,
    confidence: float = 0.95,
) -> TwoWay:
    """Return the mean of b (S, N) minus that of a (R, N), with an interval over runs and examples.

    Columns are the same examples on both sides. paired: row i of a and row i of b belong together.
    clusters: (N,) groups of examples that were drawn together.

    Raises ValueError for fewer than two runs or clusters, different numbers of examples or, if
    paired, runs, and NaN and infinite values.
    """
    raise NotImplementedError


def clustered_error(values: np.ndarray, clusters: np.ndarray | None = None) -> float:
    """Return the standard error of the mean of values (N,) over examples in clusters (N,)."""
    raise NotImplementedError
