"""Through how many tokens gradients flow, step by step."""

import numpy as np

from nondet.keys import Key
from nondet.studies.config import LanguageSpec
from nondet_ext import philox_normal, philox_uniform

SHORTEST = 5
"""Drawn lengths are not below this."""
SPREAD = 5.0
"""Standard deviation of the drawn lengths."""
HALVED = 0.05
"""Probability of half the mean length."""


def segment_lengths(spec: LanguageSpec, steps: int, key: Key, epoch: int) -> list[int]:
    """The lengths of an epoch's segments; their sum is `steps`, the last one is what is left.

    With `variable_bptt`, length number i is a normal variate of mean bptt (with probability 0.05
    bptt / 2) and standard deviation 5, cut to an integer, at least 5 (Merity et al. 2017, Sec. 5):
    element i of the uniform and normal draws under `key` for the counters (epoch, 0, 2) and (epoch,
    0, 3), in no relation to masks.
    """
    if not spec.variable_bptt:
        full, rest = divmod(steps, spec.bptt)
        return [spec.bptt] * full + ([rest] if rest else [])
    most = -(-steps // SHORTEST)
    of_halves, of_lengths = (epoch, 0, 2), (epoch, 0, 3)
    uniform = philox_uniform((most,), seed=key.seed, stream=key.stream, counter=of_halves).numpy()
    halved = uniform < HALVED
    drawn_normal = philox_normal((most,), seed=key.seed, stream=key.stream, counter=of_lengths)
    normal = drawn_normal.numpy().astype(np.float64)
    means = np.where(halved, spec.bptt / 2, float(spec.bptt))
    drawn = np.maximum((means + SPREAD * normal).astype(np.int64), SHORTEST)
    ends = np.minimum(np.cumsum(drawn), steps)
    count = int(np.argmax(ends == steps)) + 1
    lengths: list[int] = np.diff(ends[:count], prepend=0).tolist()
    return lengths
