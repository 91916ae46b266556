"""Equal arrays and tensors for the tests of sums."""

import math
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import torch

from factories.floats import FORMATS, Format, assert_same_values

EVERY_FORMAT = list(FORMATS)
REPRODUCIBLE = [("fixed", None), ("exact", None), ("seeded", 7), ("seeded", (7, 1, 2, 3))]


def mixed(fmt: Format, shape: int | Sequence[int], seed: int, spread: float = 3.0) -> np.ndarray:
    """Return values of many magnitudes, so that the order of additions shows in their sum."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) * np.exp(spread * rng.standard_normal(shape))
    largest = float(ml_dtypes.finfo(fmt.numpy_dtype).max) / 64
    return values.clip(-largest, largest).astype(fmt.numpy_dtype)


def finite_bits(fmt: Format, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return finite values from the whole range of exponents, subnormals included."""
    values = fmt.array(fmt.random_bits(rng, n))
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(values), values, np.ones((), fmt.numpy_dtype))


def to_torch(values: np.ndarray, fmt: Format) -> torch.Tensor:
    dense = np.ascontiguousarray(values).reshape(-1)
    return fmt.tensor(dense.view(fmt.uint)).reshape(values.shape)


def to_numpy(tensor: torch.Tensor, fmt: Format) -> np.ndarray:
    return fmt.array(fmt.bits(tensor)).reshape(tuple(tensor.shape))


def check(got: torch.Tensor, expected: object, fmt: Format) -> None:
    """Fail unless shape, dtype and bits are equal; any NaN equals any NaN."""
    array = np.asarray(expected, dtype=fmt.numpy_dtype)
    assert got.dtype == fmt.torch_dtype
    assert tuple(got.shape) == array.shape
    assert_same_values(fmt.bits(got).reshape(-1), np.ascontiguousarray(array).reshape(-1), fmt)


def gathered(values: np.ndarray, dims: Sequence[int]) -> np.ndarray:
    """Return the kept dimensions followed by one axis with the reduced elements in row-major
    order.
    """
    kept = [d for d in range(values.ndim) if d not in dims]
    moved = values.transpose(*kept, *sorted(dims))
    count = math.prod(moved.shape[len(kept) :])
    return np.ascontiguousarray(moved).reshape(*moved.shape[: len(kept)], count)
