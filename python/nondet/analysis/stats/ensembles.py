"""Groups of independent runs, and the gain of ensembles."""

from collections.abc import Sequence

import numpy as np


def partitions(
    runs: int, size: int, generator: np.random.Generator, count: int
) -> list[np.ndarray]:
    """Draw `count` random partitions of `runs` runs into disjoint groups of `size`.

    Each partition is (runs // size, size) int64; the runs left over differ between partitions.
    """
    if size < 1 or size > runs:
        raise ValueError(f"size is {size}; it must lie in [1, {runs}], the number of runs")
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    groups = runs // size
    return [
        generator.permutation(runs)[: groups * size].reshape(groups, size) for _ in range(count)
    ]


def group_means(logits: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the mean logits of groups of runs, (groups, examples, classes) float64.

    logits: (runs, examples, classes). groups: (groups, size) indices of runs.
    """
    mean = np.zeros((len(groups), *logits.shape[1:]))
    for member in groups.T:
        mean += logits[member]
    mean /= groups.shape[1]
    return mean


def reduction(row: Sequence[float], baseline: Sequence[float]) -> float:
    """Return the variability reduction of the paper's tables: the mean over the five columns of 1 -
    x / x_baseline, with 1 - rho in place of the correlation.
    """
    x, single = (np.array([a, b, c, 1 - rho, d]) for a, b, c, rho, d in (row, baseline))
    return float(np.mean(1 - x / single))
