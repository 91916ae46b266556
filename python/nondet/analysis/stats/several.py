"""Several tests at once: Holm's correction."""

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the p-values (m,) corrected for being m, by Holm's step-down method (Holm 1979).

    The i-th smallest becomes the largest of (m - j + 1) p_(j) over j <= i, at most 1. Those at most
    alpha are rejected with a probability of any false rejection of at most alpha, whatever the
    dependence of the tests.

    Raises ValueError unless p is a vector of numbers in [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p must be a vector of numbers in [0, 1], got {values.tolist()}")
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted
