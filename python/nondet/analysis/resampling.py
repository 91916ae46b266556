"""Generators of the resamples behind standard errors and intervals of reports."""

import zlib

import numpy as np

BOOTSTRAP_SEED = 1
RESAMPLES = 10_000


def bootstrap(quantity: str) -> np.random.Generator:
    """Return the generator for the resamples of one quantity, always in the same state: no interval
    depends on which others are computed.
    """
    return np.random.default_rng([BOOTSTRAP_SEED, zlib.crc32(quantity.encode())])
