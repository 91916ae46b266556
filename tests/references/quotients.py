"""Correct rounding of c / sqrt(a b), decided with fractions."""

import math
from fractions import Fraction


def is_nearest(value, c, a, b):
    """Return True if `value` is the float nearest to c / sqrt(a b)."""
    square, sign = Fraction(c * c, a * b), -1 if c < 0 else 1
    size = Fraction(sign * value)
    below = Fraction(math.nextafter(float(size), -math.inf))
    above = Fraction(math.nextafter(float(size), math.inf))
    low, high = (below + size) / 2, (size + above) / 2
    return (low < 0 or low * low <= square) and square <= high * high
