"""Growth tables: times against a size, with the exponent of the growth.

A case with a `family` and a `size` is a row of its family's table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from measured import Case, Results


@dataclass(frozen=True)
class Exponent:
    """The slope of log(time) over log(size) with the half-width of its 95% interval, fitted from
    one size to another.
    """

    slope: float
    half: float
    begin: float
    end: float

    def in_words(self) -> str:
        return (
            f"from {self.begin:,.0f} to {self.end:,.0f} the time grows as the size to the power "
            f"{self.slope:.2f} (95% interval {self.slope - self.half:.2f} to "
            f"{self.slope + self.half:.2f})"
        )


def fit(sizes: Sequence[float], seconds: Sequence[float]) -> Exponent | None:
    """Fit a line to the logarithms of the larger half of the sizes, at least three, by least
    squares. Small sizes are left out since the price of a call hides their growth. Returns None
    for fewer than three sizes.
    """
    if len(sizes) < 3:
        return None
    pairs = sorted(zip(sizes, seconds, strict=True))
    pairs = pairs[-max(3, math.ceil(len(pairs) / 2)) :]
    x, y = np.log(np.array(pairs)).T
    line = scipy.stats.linregress(x, y)
    half = scipy.stats.t.ppf(0.975, len(pairs) - 2) * line.stderr
    return Exponent(float(line.slope), float(half), pairs[0][0], pairs[-1][0])


def families(results: Results) -> dict[str, list[Case]]:
    """Return the cases of each growth table, by size."""
    names = dict.fromkeys(case.family for case in results.cases if case.family)
    ordered = sorted(results.cases, key=lambda case: case.size)
    return {name: [case for case in ordered if case.family == name] for name in names}


def times(cases: list[Case]) -> dict[str, tuple[list[int], list[float]]]:
    """Return sizes and seconds of ours and of every peer of a growth table."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for case in cases:
        for each in case.contenders:
            if each.role == "ceiling":
                continue
            sizes, seconds = found.setdefault(each.name, ([], []))
            sizes.append(case.size)
            seconds.append(each.seconds)
    return found


def growth_table(family: str, cases: list[Case]) -> str:
    """Return the table of a family: a row a size, a column a contender, and the exponents. The
    exponent of a curve over threads would mean nothing, so it has none.
    """
    curves = times(cases)
    lines = [
        f"| {family} | {' | '.join(f'{name}, ms' for name in curves)} |",
        f"|---:|{'---:|' * len(curves)}",
    ]
    for case in cases:
        of = {each.name: f"{each.seconds * 1e3:.4g}" for each in case.contenders}
        lines.append(f"| {case.size:,} | {' | '.join(of.get(name, '') for name in curves)} |")
    if not family.endswith("threads"):
        for name, curve in curves.items():
            exponent = fit(*curve)
            if exponent is not None:
                lines.append(f"\n{name}: {exponent.in_words()}.")
    return "\n".join(lines)


def growth_tables(results: Results) -> str:
    """Return all growth tables of a run; empty if it has none."""
    return "\n\n".join(growth_table(*each) for each in families(results).items())
