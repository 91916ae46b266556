"""Slow exact reference implementations of docs/numerics.md, "Summation orders".

Pure Python and NumPy, without the compiled module. An array's dtype is its format:
float64, float32, float16, or bfloat16 as the package ml_dtypes defines it. The floating-point
arithmetic is NumPy's elementwise ``+ * /``, which IEEE 754 defines; never ``np.sum``.

The sums run along the last axis; a 1-d array gives a scalar. ``key`` is what the ops call ``seed``:
an integer, or up to four of them.
"""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

TILE, LANES = 1024, 32
MAX_PARTS = 1024
ORDER_STREAM = 0x6F726465

Key = int | Sequence[int]
Array = np.ndarray[Any, np.dtype[Any]]

# For each format, the bits of the significand and the exponent of the smallest normal number.
_FORMATS = {
    "float64": (53, -1022),
    "float32": (24, -126),
    "float16": (11, -14),
    "bfloat16": (8, -126),
}
_SMALLEST = 1074  # every finite value of these formats is a multiple of 2**-1074


def accumulator(values: Array) -> Array:
    """Return the values in the dtype of the sum: float64 for float64, float32 for the others."""
    return values.astype(np.float64 if values.dtype == np.float64 else np.float32)


def fixed_sum(values: Array) -> Any:
    return _rounded(_fixed(accumulator(values)), values.dtype)


def fixed_mean(values: Array) -> Any:
    return _rounded(_divided(_fixed(accumulator(values)), values.shape[-1]), values.dtype)


def fixed_dot(a: Array, b: Array) -> Any:
    return _rounded(_fixed(_products(a, b)), a.dtype)


def seeded_sum(values: Array, key: Key) -> Any:
    return _rounded(_seeded(accumulator(values), key), values.dtype)


def seeded_mean(values: Array, key: Key) -> Any:
    return _rounded(_divided(_seeded(accumulator(values), key), values.shape[-1]), values.dtype)


def seeded_dot(a: Array, b: Array, key: Key) -> Any:
    return _rounded(_seeded(_products(a, b), key), a.dtype)


def _fixed(values: Array) -> Array:
    """Sum by levels of tiles of lanes, in the dtype of `values`."""
    if values.size == 0:
        return np.zeros(values.shape[:-1], values.dtype)
    with np.errstate(all="ignore"):
        while True:
            values = _tile_sums(values)
            if values.shape[-1] == 1:
                return values[..., 0]


def _tile_sums(values: Array) -> Array:
    short = -values.shape[-1] % TILE
    padding = np.full((*values.shape[:-1], short), -0.0, values.dtype)
    tiles = np.concatenate([values, padding], axis=-1)
    tiles = tiles.reshape(*values.shape[:-1], -1, TILE // LANES, LANES)
    lanes = np.full_like(tiles[..., 0, :], -0.0)
    for row in range(TILE // LANES):
        lanes = lanes + tiles[..., row, :]
    for half in (16, 8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
    return lanes[..., 0]


def _seeded(values: Array, key: Key) -> Array:
    if values.size == 0:
        return _fixed(values)
    size = part_size(values.shape[-1])
    whole = values.shape[-1] // size * size
    sums = _fixed(values[..., :whole].reshape(*values.shape[:-1], -1, size))
    last = _fixed(values[..., whole:])[..., np.newaxis]
    sums = np.concatenate([sums, last], axis=-1)  # unused if it is empty
    first, *others = [begin // size for begin, _ in seeded_order(values.shape[-1], key)]
    total: Array = sums[..., first]
    with np.errstate(all="ignore"):
        for part in others:
            total = total + sums[..., part]
    return total


def part_size(n: int) -> int:
    """Return the number of elements in a part of a seeded or atomic sum of n elements."""
    size = 1
    while -(-n // size) > MAX_PARTS:
        size *= 2
    return size


def seeded_order(n: int, key: Key) -> list[tuple[int, int]]:
    """Return the parts of a seeded sum of n elements, (begin, end), in the order of the sum."""
    seed, *coordinates = [key] if isinstance(key, int) else key
    c1, c2, c3 = [*coordinates, 0, 0, 0][:3]
    size = part_size(n)
    parts = -(-n // size)
    words: list[int] = []
    for block in range(-(-parts // 4)):
        words += philox4x32((block, c1, c2, c3), (seed, ORDER_STREAM))
    visited = sorted(range(parts), key=lambda part: (words[part], part))
    return [(part * size, min(n, (part + 1) * size)) for part in visited]


def philox4x32(counter: Sequence[int], key: Sequence[int], rounds: int = 10) -> tuple[int, ...]:
    """Compute one block of Philox4x32 (Salmon et al., SC 2011, section 3.3)."""
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(rounds):
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b = (right >> 32) ^ b ^ k0, right % 2**32
        c, d = (left >> 32) ^ d ^ k1, left % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return a, b, c, d


def exact_sum(values: Array, divisor: int = 1) -> Any:
    """Sum real numbers (1-d), divide by `divisor`, round once."""
    floats = [float(value) for value in values]
    special = [value for value in floats if not math.isfinite(value)]
    if special:
        return _special(special, values.dtype)
    return round_once(Fraction(_units(floats), divisor << _SMALLEST), values.dtype)


def exact_dot(a: Array, b: Array) -> Any:
    """Sum products of real numbers (1-d), round once."""
    pairs = [(float(x), float(y)) for x, y in zip(a, b, strict=True)]
    special = [x * y for x, y in pairs if not (math.isfinite(x) and math.isfinite(y))]
    if special:
        return _special(special, a.dtype)
    total = sum(_units([x]) * _units([y]) for x, y in pairs)
    return round_once(Fraction(total, 1 << 2 * _SMALLEST), a.dtype)


def _units(values: Iterable[float]) -> int:
    """Return the sum of finite values in units of 2**-1074."""
    total = 0
    for value in values:
        numerator, denominator = value.as_integer_ratio()
        total += numerator << (_SMALLEST + 1 - denominator.bit_length())
    return total


def _special(values: Sequence[float], dtype: Any) -> Any:
    """Return the sum of infinities and NaNs, which finite values do not change."""
    return np.array(sum(values), np.float64).astype(dtype)[()]


def round_once(value: Fraction, dtype: Any) -> Any:
    """Return the nearest value of the format, ties to even; infinity from half a unit above the
    largest value on. Zero gives +0; what rounds to zero keeps its sign.
    """
    precision, smallest_exponent = _FORMATS[np.dtype(dtype).name]
    size = abs(value)
    if size == 0:
        return np.zeros((), dtype)[()]
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if size < Fraction(2) ** exponent:
        exponent -= 1  # now 2**exponent <= size < 2**(exponent + 1)
    exponent = max(exponent, smallest_exponent)
    significand = round(size / Fraction(2) ** (exponent - precision + 1))  # of a Fraction: to even
    # In the layout of IEEE 754, a carry out of the significand increments the exponent.
    bits = ((exponent - smallest_exponent) << (precision - 1)) + significand
    width = 8 * np.dtype(dtype).itemsize
    infinity = ((1 << (width - precision)) - 1) << (precision - 1)
    sign = int(value < 0) << (width - 1)
    return np.array(min(bits, infinity) | sign, f"u{width // 8}").view(dtype)[()]


def index_add(
    input: Array, index: Array, source: Array, order: str = "fixed", key: Key = 0
) -> Array:
    """Add sources at indices (1-d): each destination takes its sources one by one, "fixed" in
    increasing position, "seeded" part by part; "exact" rounds the real sum once. Destinations
    without sources keep their bits.
    """
    out: Array = input.copy()
    positions: Sequence[int] = range(len(index))
    if order == "seeded":
        positions = [i for part in seeded_order(len(index), key) for i in range(*part)]
    sums, addends = accumulator(input), accumulator(source)
    with np.errstate(all="ignore"):
        for i in positions:
            sums[index[i]] += addends[i]
        for target in sorted({int(each) for each in index}):
            if order == "exact":
                out[target] = exact_sum(np.append(input[target], source[index == target]))
            else:
                out[target] = sums[target].astype(input.dtype)
    return out


def _products(a: Array, b: Array) -> Array:
    with np.errstate(all="ignore"):
        return accumulator(a) * accumulator(b)


def _divided(sums: Array, count: int) -> Array:
    with np.errstate(all="ignore"):
        quotients: Array = sums / sums.dtype.type(count)
    return quotients


def _rounded(sums: Array, dtype: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.asarray(sums).astype(dtype)[()]
