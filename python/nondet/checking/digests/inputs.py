"""Inputs for the digests, made by integer arithmetic: the same bits under every version of Python,
NumPy and torch. They lie on the CPU, or on the device of `placed_on`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
import torch

Made = TypeVar("Made")
Words = np.ndarray[Any, np.dtype[np.uint64]]
Patterns = np.ndarray[Any, np.dtype[Any]]

_place: ContextVar[torch.device | None] = ContextVar("place", default=None)

FLOATS = {
    "float64": (torch.float64, torch.int64, 53, 11),
    "float32": (torch.float32, torch.int32, 24, 8),
    "float16": (torch.float16, torch.int16, 11, 5),
    "bfloat16": (torch.bfloat16, torch.int16, 8, 8),
}
"""Name -> (dtype, integer dtype of its width, bits of the significand, bits of the exponent)."""


@contextmanager
def placed_on(device: torch.device) -> Iterator[None]:
    """Make the inputs on a device within the context."""
    token = _place.set(device)
    try:
        yield
    finally:
        _place.reset(token)


def place() -> torch.device:
    """Return the device on which inputs are made."""
    return _place.get() or torch.device("cpu")


def placed(x: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the CPU on the device of the inputs."""
    return x.to(place())


def made_once(make: Callable[[str], Made]) -> Callable[[str], Made]:
    """Return a function of a dtype's name that makes its result once for every device."""
    made: dict[tuple[str, torch.device], Made] = {}

    def make_once(dtype: str) -> Made:
        key = dtype, place()
        if key not in made:
            made[key] = make(dtype)
        return made[key]

    return make_once


def tensor(values: Any) -> torch.Tensor:
    """Return an int64 tensor of integers."""
    return torch.tensor(values, dtype=torch.int64, device=place())


def words(n: int, seed: int) -> Words:
    """Return n uint64 numbers of SplitMix64 (Steele, Lea and Flood 2014)."""
    z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(seed) << np.uint64(32)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def integers(low: int, high: int, *shape: int, seed: int) -> torch.Tensor:
    """Return an int64 tensor of numbers in [low, high)."""
    drawn = words(int(np.prod(shape)), seed) >> np.uint64(32)
    numbers = (drawn % np.uint64(high - low)).astype(np.int64) + low
    return placed(torch.from_numpy(numbers).reshape(shape))


def floats(name: str, *shape: int, seed: int, scale: int = 0) -> torch.Tensor:
    """Return numbers with random signs, random significands and absolute values from 2**(scale - 8)
    to 2**(scale + 3), so that nearly every order of adding them gives other bits.
    """
    dtype, _, precision, _ = FLOATS[name]
    drawn = words(int(np.prod(shape)), seed)
    top = np.uint64(1 << (precision - 1))
    significand = (drawn >> np.uint64(11)) % top + top
    exponent = (drawn % np.uint64(11)).astype(np.int64) - (precision - 1) - 8 + scale
    sign = 1 - 2 * ((drawn >> np.uint64(5)) & np.uint64(1)).astype(np.int64)
    # Exact: the factors and the product are float64 values that the dtype can hold.
    values = np.ldexp(sign * significand.astype(np.float64), exponent)
    return placed(torch.from_numpy(values).reshape(shape).to(dtype))


def any_bits(name: str, *shape: int, seed: int) -> torch.Tensor:
    """Return elements with random bits, among them subnormals, infinities and NaN."""
    dtype, integer, _, _ = FLOATS[name]
    width = np.uint64(64 - 8 * dtype.itemsize)
    drawn = (words(int(np.prod(shape)), seed) >> width).astype(f"u{dtype.itemsize}")
    return _viewed(drawn, dtype, integer).reshape(shape)


def specials(name: str) -> torch.Tensor:
    """Return zeros, the ends of the subnormal and normal ranges, one and its neighbours, infinities
    and NaN with several payloads, each with both signs; shape (32,).
    """
    dtype, integer, precision, exponent_bits = FLOATS[name]
    one_exponent = (1 << (exponent_bits - 1)) - 1
    step = 1 << (precision - 1)
    infinity = ((1 << exponent_bits) - 1) * step
    one = one_exponent * step
    bits = [0, 1, 2, step - 1, step, step + 1, one - 1, one, one + 1, one + step]
    bits += [infinity - step, infinity - 1, infinity, infinity + 1, infinity + step // 2]
    bits += [infinity + step - 1]
    sign = 1 << (8 * dtype.itemsize - 1)
    patterns = np.array(bits + [each | sign for each in bits], dtype=f"u{dtype.itemsize}")
    return _viewed(patterns, dtype, integer)


def without_nan(x: torch.Tensor) -> torch.Tensor:
    """Return x with NaN replaced by one."""
    return torch.where(x.isnan(), torch.ones_like(x), x)


def strided(x: torch.Tensor) -> torch.Tensor:
    """Return a tensor equal to x, of two or more dimensions, with gaps between its elements and its
    last two dimensions exchanged in memory.
    """
    space = x.new_zeros(*x.shape[:-2], 2 * x.shape[-1], 3 * x.shape[-2])
    view = space[..., ::2, 1::3].transpose(-1, -2)
    view.copy_(x)
    return view


def _viewed(patterns: Patterns, dtype: torch.dtype, integer: torch.dtype) -> torch.Tensor:
    signed = torch.from_numpy(patterns.view(f"i{dtype.itemsize}").copy())
    assert signed.dtype == integer
    return placed(signed.view(dtype))
