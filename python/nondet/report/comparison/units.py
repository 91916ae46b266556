"""Numbers of scores and of their differences as text."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from nondet.analysis.stats import Interval
from nondet.report.document import Cell
from nondet.report.text import change, fixed, interval

_MOST_DIGITS = 1e9


class Units(NamedTuple):
    """How scores and differences are written.

    Attributes:
        score: The unit of scores, "%" or "".
        difference: The unit of differences, "points" or "".
        decimals: The number of decimals of both.
    """

    score: str
    difference: str
    decimals: int

    def value(self, number: float) -> str:
        """Return a score or a standard deviation, in scientific notation if all decimals would be
        0 or there are many digits.
        """
        if 0 < abs(number) < 5 * 10 ** -(self.decimals + 1) or abs(number) >= _MOST_DIGITS:
            return f"{number:.3g}"
        return fixed(number, self.decimals)

    def change(self, number: float) -> str:
        """Return a difference with its sign."""
        return (
            change(number, self.decimals) if not abs(number) >= _MOST_DIGITS else f"{number:+.3g}"
        )

    def change_cell(self, found: Interval) -> Cell:
        """Return a cell with a difference and its interval."""
        return interval_cell(found, self.change)

    def value_cell(self, number: float) -> Cell:
        """Return a cell with a score."""
        return Cell(self.value(number), number if math.isfinite(number) else None)


def units(percent: bool, spreads: Iterable[float]) -> Units:
    """Return how scores are written: in percent, with two decimals; else with as many as show two
    digits of the smallest positive of `spreads`.
    """
    if percent:
        return Units("%", "points", 2)
    positive = [spread for spread in spreads if math.isfinite(spread) and spread > 0]
    smallest = min(positive, default=0.01)
    return Units("", "", min(max(1 - math.floor(math.log10(smallest)), 0), 12))


def interval_cell(found: Interval, write: Callable[[float], str]) -> Cell:
    """Return a cell with a number and its interval, if that is known."""
    ends = (found.low, found.high)
    known = all(map(math.isfinite, ends))
    return Cell(interval(found, write), found.value, interval=ends if known else None)


def probability(p: float) -> str:
    """Return a p-value with two significant digits."""
    if math.isnan(p):
        return "-"
    if p < 0.001:
        return f"{p:.1e}"
    return f"{p:.4f}" if p < 0.01 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def count(runs: float) -> str:
    """Return a number of runs; "no number" if none is enough or nothing is known."""
    return f"{runs:,.0f}" if math.isfinite(runs) else "no number"
