"""Statistics of a handful of runs."""

from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """A standard deviation and its error bar."""

    sd: float
    error: float


def standard_deviation(values: np.ndarray) -> float:
    """The standard deviation with divisor n (ddof=0, as in the paper's code).

    values: (n,). Exactly 0 for equal values: deviations are taken from the first value before the
    mean is formed.
    """
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"values must be a non-empty vector, got shape {values.shape}")
    return float(np.std(values.astype(np.float64) - values[0]))


def bootstrap_spread(
    values: np.ndarray, generator: np.random.Generator, resamples: int = 10_000
) -> Spread:
    """The standard deviation of `values` (n,), with the standard deviation of its bootstrap
    distribution as error bar.

    The error bar is that of the paper's code: the standard deviation of the standard deviations of
    `resamples` samples of n values drawn with replacement.
    """
    sd = standard_deviation(values)
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; it must be at least 1")
    deviations = values.astype(np.float64) - values[0]
    drawn = deviations[generator.integers(0, len(values), (resamples, len(values)))]
    return Spread(sd, standard_deviation(np.std(drawn, axis=1)))
