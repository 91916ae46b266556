"""Variance components of a full cross product of seeds."""

from itertools import combinations
from math import prod
from typing import NamedTuple

import numpy as np

from nondet.analysis.stats.intervals import Interval, check_resampling, percentile_interval

Effect = tuple[int, ...]


class Components(NamedTuple):
    """The share of the variance that each source and each interaction explains."""

    effects: dict[Effect, Interval]
    """variance of each effect, named by its sources (0,), (1,), (0, 1), ...; clipped at 0"""
    unclipped: dict[Effect, float]
    """the unbiased estimates, which may be negative"""
    first_order: list[Interval]
    """by source: the share of the total variance of the source alone"""
    total: list[Interval]
    """by source: the share of all effects that the source takes part in"""
    shares: dict[Effect, Interval]
    """the share of the total variance of each effect"""
    interactions: Interval
    """the share of all effects of more than one source; 0 for one source"""


def components(
    values: np.ndarray,
    generator: np.random.Generator,
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> Components:
    """Split the variance of a result over a full cross product of the seeds of k sources.

    values: (n_1, ..., n_k), the result for every combination of n_i seeds of source i. The model is
    balanced random effects: a value is the mean plus one independent effect for every non-empty set
    of sources. Each expected mean square is the sum of the variances of all effects that contain
    the set, each times its repetitions; the solution of these equations is unbiased for any
    distribution (Searle, Casella & McCulloch 1992, "Variance Components", ch. 4). With one value
    per combination, the interaction of all sources is confounded with pure error, which is 0 for
    deterministic trainings.

    The shares are Sobol's first-order and total indices for random inputs (Sobol 2001), of clipped
    variances. Intervals are quantiles of generalised pivots: every mean square becomes its sum of
    squares over a chi-squared draw, and the variances are solved from these (Weerahandi 1993) and
    clipped at 0. They assume normal effects. Shares are NaN if all values are equal.

    Raises ValueError for fewer than two seeds of a source, and for NaN and infinite values.
    """
    if values.ndim == 0 or min(values.shape) < 2:
        raise ValueError(
            f"values must have at least 2 levels along every source, got shape {values.shape}"
        )
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ValueError("values holds NaN or infinite values")
    check_resampling(resamples, confidence)
    sources = range(values.ndim)
    effects = [e for size in sources for e in combinations(sources, size + 1)]
    squares, freedom = _sums_of_squares(wide - wide.flat[0], effects)
    found = _solve({e: np.array(squares[e] / freedom[e]) for e in effects}, values.shape, effects)
    pivots = {e: squares[e] / generator.chisquare(freedom[e], resamples) for e in effects}
    draws = {e: np.maximum(d, 0) for e, d in _solve(pivots, values.shape, effects).items()}
    clipped = {e: np.maximum(v, 0) for e, v in found.items()}

    def shares(chosen: list[Effect]) -> Interval:
        with np.errstate(invalid="ignore"):
            value = sum(clipped[e] for e in chosen) / sum(clipped.values())
            drawn = sum(draws[e] for e in chosen) / sum(draws.values())
        return percentile_interval(float(value), drawn, confidence)

    return Components(
        {e: percentile_interval(float(clipped[e]), draws[e], confidence) for e in effects},
        {e: float(found[e]) for e in effects},
        [shares([(i,)]) for i in sources],
        [shares([e for e in effects if i in e]) for i in sources],
        {e: shares([e]) for e in effects},
        shares([e for e in effects if len(e) > 1]),
    )


def _sums_of_squares(
    values: np.ndarray, effects: list[Effect]
) -> tuple[dict[Effect, float], dict[Effect, int]]:
    squares, freedom = {}, {}
    axes = range(values.ndim)
    for effect in effects:
        part = values
        for axis in axes:
            mean = part.mean(axis=axis, keepdims=True)
            part = part - mean if axis in effect else mean
        repeats = prod(values.shape[a] for a in axes if a not in effect)
        squares[effect] = repeats * float((part**2).sum())
        freedom[effect] = prod(values.shape[a] - 1 for a in effect)
    return squares, freedom


def _solve(
    mean_squares: dict[Effect, np.ndarray], shape: tuple[int, ...], effects: list[Effect]
) -> dict[Effect, np.ndarray]:
    """Return the variances whose expected mean squares are the given ones."""
    solved = {}
    for effect in effects:
        repeats = prod(n for axis, n in enumerate(shape) if axis not in effect)
        signed = [
            (-1) ** (len(e) - len(effect)) * mean_squares[e]
            for e in effects
            if set(effect) <= set(e)
        ]
        solved[effect] = np.add.reduce(signed) / repeats
    return solved
