"""Numbers of a comparison in words."""

import math
from collections.abc import Sequence

from nondet.analysis.stats import Interval

_MOST_DECIMALS = 9
_MOST_DIGITS = 1e9
_ROUNDING = 1e-9
"""Widths below this share of the value are those of rounding."""


def decimals_of(interval: Interval) -> int:
    """Return how many decimals show the width of an interval with two significant digits; those of
    the value if there is no width.
    """
    width = interval.high - interval.low
    wide = math.isfinite(width) and width > _ROUNDING * abs(interval.value)
    size = width if wide else abs(interval.value)
    if not (math.isfinite(size) and size > 0):
        return 2
    return max(1 - math.floor(math.log10(size)), 0)


def signed(interval: Interval, unit: str) -> str:
    """Return a difference and its interval: "+0.31 points [0.12, 0.50]"; in scientific notation if
    that takes many digits.
    """
    digits = decimals_of(interval)
    plain = digits <= _MOST_DECIMALS and max(map(abs, interval)) < _MOST_DIGITS
    value, low, high = (f"{x:z.{digits}f}" if plain else f"{x:.2e}" for x in interval)
    sign = "+" if interval.value > 0 else ""
    return f"{sign}{value}{unit} [{low}, {high}]"


def short(value: float) -> str:
    """Return a number with two significant digits, more if it was given with more: "0.2"."""
    return f"{value:.4g}"


def rounded(value: float) -> str:
    """Return a computed number with two significant digits: "0.31", "12"."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    return f"{value:.{max(1 - math.floor(math.log10(abs(value))), 0)}f}"


def count_of(number: float, noun: str) -> str:
    """Return a count with its noun: "1 pair", "4 pairs"."""
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Return names as an English list: "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
