"""Differences over runs and test examples at once, and over examples in clusters."""

import math
from typing import NamedTuple

import numpy as np

from nondet.analysis.stats.intervals import Interval, check_confidence, student_interval


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

    Runs and examples are both random. A difference d_ij of run i on example j is the mean plus an
    effect of the run, one of the example and one of both. With the variances over runs V_r (of the
    mean over examples), over examples V_e (of the mean over runs) and of what is left V_re, each of
    the mean of all, V_r + V_e - V_re is unbiased (Searle, Casella & McCulloch 1992, ch. 4). The
    interval is Student's with Satterthwaite's degrees of freedom; the variance is at least the
    larger of V_r and V_e. For clusters, V_e and V_re come from the sums over each, times C / (C -
    1) for C clusters. Unpaired, V_r and V_re are the sums over both sides.

    Raises ValueError for fewer than two runs or clusters, different numbers of examples or, if
    paired, runs, and NaN and infinite values.
    """
    check_confidence(confidence)
    left, right = _check_matrix("a", a), _check_matrix("b", b)
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            f"a and b must have the same examples, got {left.shape[1]} and {right.shape[1]}"
        )
    if paired and len(left) != len(right):
        raise ValueError(f"a and b must have one row a pair each, got {len(left)} and {len(right)}")
    starts, order = _groups(clusters, left.shape[1])
    sides = [right - left] if paired else [left, right]
    mean = right.mean(0) - left.mean(0)
    value = float(mean.mean())
    examples = _variance_of_mean((mean - value)[None, order], starts)
    parts = [_of_runs(side[:, order], starts) for side in sides]
    freedoms = [len(side) - 1 for side in sides]
    runs, both = (sum(part[i] for part in parts) for i in (0, 1))
    variance = max(runs + examples - both, runs, examples)
    loose = len(starts) - 1
    spread = examples**2 / loose + sum(
        (part[0] ** 2 + part[1] ** 2 / loose) / free
        for part, free in zip(parts, freedoms, strict=True)
    )
    freedom = variance**2 / spread if spread > 0 else 1.0
    interval = student_interval(value, math.sqrt(variance), freedom, confidence)
    return TwoWay(interval, freedom, math.sqrt(runs), math.sqrt(examples))


def clustered_error(values: np.ndarray, clusters: np.ndarray | None = None) -> float:
    """Return the standard error of the mean of values (N,) over examples in clusters (N,).

    The squared error is the sum over clusters of the squared sum of their deviations from the mean,
    over N^2, times C / (C - 1) for C clusters (Liang & Zeger 1986; Miller 2024, "Adding Error Bars
    to Evals", whose formula lacks the factor). With differences of two methods on the same examples
    it is the paired error. Without clusters it is s / sqrt(N).

    Raises ValueError for fewer than two clusters, and for NaN and infinite values.
    """
    matrix = _check_matrix("values", values[None], 1)
    starts, order = _groups(clusters, matrix.shape[1])
    centred = (matrix - matrix[0, 0])[:, order]
    return math.sqrt(_variance_of_mean(centred - centred.mean(), starts))


def _check_matrix(name: str, values: np.ndarray, least: int = 2) -> np.ndarray:
    if values.ndim != 2 or values.shape[0] < least or values.shape[1] < 2:
        raise ValueError(
            f"{name} must be (runs, examples), at least {least} and 2, got shape {values.shape}"
        )
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return wide


def _groups(clusters: np.ndarray | None, examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where each cluster starts in the examples sorted by cluster, and that order."""
    if clusters is None:
        return np.arange(examples), np.arange(examples)
    if clusters.shape != (examples,):
        raise ValueError(
            f"clusters must have one entry an example, {examples}, got shape {clusters.shape}"
        )
    _, which = np.unique(clusters, return_inverse=True)
    order = np.argsort(which, kind="stable")
    starts = np.flatnonzero(np.diff(which[order], prepend=-1))
    if len(starts) < 2:
        raise ValueError("clusters holds a single cluster; at least 2 are needed")
    return starts, order


def _variance_of_mean(centred: np.ndarray, starts: np.ndarray) -> float:
    """Return the sum over rows of the variance of the mean of a row (1, N) over clusters."""
    clusters = len(starts)
    squares = float((np.add.reduceat(centred, starts, axis=1) ** 2).sum())
    return squares / int(centred.shape[1]) ** 2 * clusters / (clusters - 1)


def _of_runs(side: np.ndarray, starts: np.ndarray) -> tuple[float, float]:
    """Return V_r and V_re of one side (R, N)."""
    runs = len(side)
    of_run = side.mean(1)
    centred = of_run - of_run[0]
    left = side - side.mean(0) - (of_run - of_run.mean())[:, None]
    both = _variance_of_mean(left, starts) / (runs * (runs - 1))
    return float(np.var(centred, ddof=1)) / runs, both
