"""The lengths of the segments of a text in truncated backpropagation through time."""

import numpy as np

from nondet.keys import Key
from nondet.studies.specs import LanguageSpec
from nondet_ext import philox_normal, philox_uniform

MIN_LENGTH = 5
"""The shortest length that is drawn."""
LENGTH_SD = 5.0
"""Standard deviation of the drawn lengths."""
HALF_PROBABILITY = 0.05
"""Probability that the mean length is halved."""


def segment_lengths(spec: LanguageSpec, steps: int, key: Key, epoch: int) -> list[int]:
    """Return the lengths of an epoch's segments; they add up to `steps`, the last is the remainder.

    Without `variable_bptt` every length is `bptt`. With it, length i is a normal variate with mean
    bptt (with probability 0.05 bptt / 2) and standard deviation 5, truncated to an integer, at
    least 5 (Merity et al. 2017, Sec. 5). It uses element i of the uniform and the normal variates
    drawn from `key` and the counters (epoch, 0, 2) and (epoch, 0, 3), which no mask uses.
    """
    if not spec.variable_bptt:
        full, rest = divmod(steps, spec.bptt)
        return [spec.bptt] * full + ([rest] if rest else [])
    size = (-(-steps // MIN_LENGTH),)
    uniform = philox_uniform(size, seed=key.seed, stream=key.stream, counter=(epoch, 0, 2)).numpy()
    normal = philox_normal(size, seed=key.seed, stream=key.stream, counter=(epoch, 0, 3)).numpy()
    means = np.where(uniform < HALF_PROBABILITY, spec.bptt / 2, float(spec.bptt))
    drawn = (means + LENGTH_SD * normal.astype(np.float64)).astype(np.int64)
    ends = np.minimum(np.cumsum(np.maximum(drawn, MIN_LENGTH)), steps)
    count = int(np.argmax(ends == steps)) + 1
    lengths: list[int] = np.diff(ends[:count], prepend=0).tolist()
    return lengths
