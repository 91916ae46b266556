"""Compute by how much less one row varies than another."""

import math
from collections.abc import Iterator

import numpy as np

from nondet.analysis.resampling import bootstrap
from nondet.analysis.stats import Interval, reduction
from nondet.analysis.stats.intervals import percentile_interval
from nondet.analysis.summary import ModelSummary, RowSummary, Statistics

_RESAMPLES = 4000


def reduction_percent(
    model: ModelSummary, row: RowSummary, baseline: str | None, confidence: float = 0.95
) -> Interval | None:
    """Return by how many percent a row varies less than the row named `baseline`.

    The value is the mean over accuracy SD, cross-entropy SD, disagreement, 1 - correlation and the
    ensemble's gain in accuracy, as in the published table of test-time augmentation. Its interval
    comes from a bootstrap over runs; rows that share runs share resamples. None for the baseline
    itself and where there is nothing to compare.
    """
    single = None if baseline is None else model.named(baseline)
    if single is None or single is row or single.statistics is None or row.statistics is None:
        return None
    below = _variability(single.statistics)
    if 0 in (*below[:3], 1 - below[3], below[4]):
        return None
    value = 100 * reduction(_variability(row.statistics), below)
    if not math.isfinite(value):
        return None
    generator = bootstrap("reduction")
    runs, others = len(row.runs), len(single.runs)
    counts = generator.multinomial(runs, np.full(runs, 1 / runs), _RESAMPLES)
    if [run.job for run in row.runs] == [run.job for run in single.runs]:
        other_counts = counts
    else:
        other_counts = generator.multinomial(others, np.full(others, 1 / others), _RESAMPLES)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = [
            above / under
            for above, under in zip(
                _resampled(row.statistics, counts),
                _resampled(single.statistics, other_counts),
                strict=True,
            )
        ]
    draws = 100 * (1 - np.mean(quotients, axis=0))
    known = draws[np.isfinite(draws)]
    if len(known) < 0.99 * len(draws):  # so few runs that many resamples have no spread
        return Interval(value, math.nan, math.nan)
    return percentile_interval(value, known, confidence)


def _variability(found: Statistics) -> tuple[float, float, float, float, float]:
    return (
        found.accuracy.sd,
        found.cross_entropy.sd,
        found.disagreement.value,
        found.correlation.value,
        found.ensemble_accuracy.value,
    )


def _resampled(found: Statistics, counts: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the five columns of the resamples, (resamples,) each, with 1 - correlation.

    counts: (resamples, runs), how often each resample contains each run.
    """
    wide = counts.astype(np.float64)
    runs = wide.shape[1]
    for values in (found.accuracies, found.cross_entropies):
        centred = values - values.mean()
        variance = wide @ centred**2 / runs - (wide @ centred / runs) ** 2
        yield np.sqrt(np.maximum(variance, 0))
    pairs = runs**2 - (wide**2).sum(axis=1)
    for matrix in (
        found.pairs["disagreement"],
        1 - found.pairs["correlation"],
        found.pairs["ensemble_accuracy"],
    ):
        between = matrix.copy()
        np.fill_diagonal(between, 0)
        yield ((wide @ between) * wide).sum(axis=1) / pairs
