"""Quotients c / sqrt(a b) of integers, rounded once to float64."""

import math

import numpy as np

_CERTAIN = 2.0**-95
"""A bound on the relative error of the double-double evaluation, which is about 2^-102."""

_SPLITTER = 2.0**27 + 1


def correlations(products: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return products / sqrt(left * right), correctly rounded (to nearest, ties to even), NaN where
    a square is 0.

    Computed with twice float64's precision. Quotients too close to the midpoint of two float64
    numbers for that, which are rare, are decided in Python's integers.

    Args:
        products: integers, (R1, R2).
        left, right: squares, integers, (R1,) and (R2,).

    Returns:
        float64, (R1, R2).
    """
    c = _as_pair(products)
    squares = _multiply(_as_pair(left[:, None]), _as_pair(right[None, :]))
    with np.errstate(divide="ignore", invalid="ignore"):
        high, low = _divide(c, _root(squares))
        middle = np.where(
            low > 0, np.nextafter(high, np.inf) - high, high - np.nextafter(high, -np.inf)
        )
        unsure = np.abs(np.abs(low) - 0.5 * middle) <= _CERTAIN * np.abs(high)
    for i, j in zip(*np.nonzero(unsure), strict=True):
        high[i, j] = rounded_quotient(int(products[i, j]), int(left[i]), int(right[j]))
    undefined = (left == 0)[:, None] | (right == 0)[None, :]
    high[undefined] = np.nan
    return high


def rounded_quotient(c: int, a: int, b: int) -> float:
    """Return c / sqrt(a b), correctly rounded, for integers a, b > 0."""
    if c == 0:
        return 0.0
    square, divisor = c * c, a * b
    shift = max(64 + (divisor.bit_length() - square.bit_length()) // 2, 0)
    root = math.isqrt((square << 2 * shift) // divisor)
    inexact = root * root * divisor != square << 2 * shift
    size = math.ldexp(float(2 * root + inexact), -shift - 1)
    return size if c > 0 else -size


Pair = tuple[np.ndarray, np.ndarray]


def _as_pair(integers: np.ndarray) -> Pair:
    """Return integers as an unevaluated sum of two float64, to a relative 2^-106."""
    high = integers.astype(np.float64)
    if integers.dtype == object:
        whole = np.frompyfunc(int, 1, 1)(high)
        return high, (integers - whole).astype(np.float64)
    return high, (integers - high.astype(np.int64)).astype(np.float64)


def _two_sum(a: np.ndarray, b: np.ndarray) -> Pair:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: np.ndarray, b: np.ndarray) -> Pair:
    product = a * b
    a_high, b_high = _top_half(a), _top_half(b)
    a_low, b_low = a - a_high, b - b_high
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def _top_half(a: np.ndarray) -> np.ndarray:
    scaled = a * _SPLITTER
    half: np.ndarray = scaled - (scaled - a)
    return half


def _multiply(a: Pair, b: Pair) -> Pair:
    high, low = _two_product(a[0], b[0])
    return _two_sum(high, low + (a[0] * b[1] + a[1] * b[0]))


def _subtract(a: Pair, b: Pair) -> Pair:
    high, low = _two_sum(a[0], -b[0])
    also, rest = _two_sum(a[1], -b[1])
    high, low = _two_sum(high, low + also)
    return _two_sum(high, low + rest)


def _root(a: Pair) -> Pair:
    """Return the square root, by one step of Newton's method, which doubles float64's digits."""
    first = np.sqrt(a[0])
    left = _subtract(a, _two_product(first, first))[0]
    return _two_sum(first, left / (2 * first))


def _divide(a: Pair, b: Pair) -> Pair:
    first = a[0] / b[0]
    rest = _subtract(a, _multiply((first, np.zeros_like(first)), b))
    return _two_sum(first, rest[0] / b[0])
