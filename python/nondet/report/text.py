"""How numbers are written, in every form of the report."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict

from nondet.analysis.stats import Interval, Spread
from nondet.studies.job import Job
from nondet.studies.seeds import HELD, SOURCES

NOTHING = "-"
"""Stands where there is no number."""


def percent(value: float) -> str:
    """A percentage with two decimals; exactly 0 is written 0."""
    return "0" if value == 0 else fixed(value, 2)


def fixed(value: float, decimals: int) -> str:
    """A number with so many decimals; NaN as a dash, minus zero without its sign."""
    return NOTHING if math.isnan(value) else f"{value:z.{decimals}f}"


def plain(value: float, decimals: int) -> str:
    """A number with so many decimals; exactly 0 is written 0, one too small for them in scientific
    notation.
    """
    if value == 0:
        return "0"
    return f"{value:.1e}" if abs(value) < 5 * 10**-decimals else fixed(value, decimals)


def spread(value: Spread, decimals: int, plus_minus: str = "±") -> str:
    """A standard deviation with its error bar.

    Exactly 0 is written 0; a value too small for `decimals` is written in scientific notation.
    """
    if value.sd == 0:
        return "0"
    if value.sd < 5 * 10**-decimals:
        return f"{value.sd:.1e} {plus_minus} {value.error:.0e}"
    return f"{value.sd:.{decimals}f} {plus_minus} {value.error:.{decimals}f}"


def number(value: float) -> str:
    """Two significant digits; scientific below 0.001 and from 1,000,000 on."""
    if math.isnan(value):
        return NOTHING
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}"
    return factor(value) if value >= 10 else f"{value:.2g}"


def factor(ratio: float) -> str:
    """A factor in two significant digits: 1.1, 14, 660,000."""
    if ratio < 10:
        return f"{ratio:.1f}"
    digits = len(str(int(ratio))) - 2
    return f"{round(ratio, -digits):,.0f}"


def correlation(value: float) -> str:
    """A correlation with four decimals; close to 1, its distance from 1; exactly 1 is written 1."""
    if value == 1:
        return "1"
    return fixed(value, 4) if not 0.99995 <= value < 1 else f"1 - {1 - value:.0e}"


def change(value: float, decimals: int) -> str:
    """A signed difference; exactly 0 is written 0, one too small for `decimals` scientifically."""
    if value == 0:
        return "0"
    if math.isnan(value):
        return NOTHING
    if abs(value) < 5 * 10 ** -(decimals + 1):
        return f"{value:+.0e}"
    return f"{value:+.{decimals}f}"


def interval(value: Interval, write: Callable[[float], str]) -> str:
    """A number with its interval, each written by `write`: "0.28 (0.21-0.41)", and "to" between
    ends that hold a sign of their own. Without the interval where all three are equal or it is
    not known.
    """
    middle, low, high = (write(one) for one in value)
    if value.low == value.high == value.value or math.isnan(value.low) or math.isnan(value.high):
        return middle
    return f"{middle} ({between(low, high)})"


def between(low: str, high: str) -> str:
    """From one written number to another: "0.21-0.41", "-0.1 to +0.2"."""
    signs = any(sign in end for sign in "+-" for end in (low, high))
    return f"{low} to {high}" if signs else f"{low}-{high}"


def percentage_interval(share: Interval, of: str = "") -> str:
    """A share in words, in percent: "94% of the SD, interval 80 to 110%"; without the interval
    where it is not known.
    """
    value, low, high = (
        f"{100 * one:,.0f}" if one == 0 or not one < 0.01 else number(100 * one) for one in share
    )
    told = f"{value}% of {of}" if of else f"{value}%"
    return told if math.isnan(share.low) else f"{told}, interval {low} to {high}%"


def plural(count: int, what: str) -> str:
    """As in "1 run", "3 runs"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def listing(words: Iterable[str]) -> str:
    """As in "a", "a and b", "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def describe_seeds(jobs: Iterable[Job]) -> str:
    """The seeds of a row's runs in words: "init 2-11, all others 1"; for repetitions of equal work
    how many there are.
    """
    jobs = list(jobs)
    if not jobs:
        return ""
    seeds = [asdict(job.seeds) for job in jobs]
    varied = [s for s in SOURCES if any(one[s] != HELD for one in seeds)]
    if not varied:
        return f"all {HELD}, {plural(len(jobs), 'repetition')}"
    by_values: dict[str, list[str]] = {}
    for source in varied:
        by_values.setdefault(_runs_of(one[source] for one in seeds), []).append(source)
    told = ", ".join(f"{' + '.join(names)} {values}" for values, names in by_values.items())
    return told if len(varied) == len(SOURCES) else f"{told}, all others {HELD}"


def _runs_of(values: Iterable[int]) -> str:
    """Integers as ranges: "2-4, 7"."""
    ranges: list[list[int]] = []
    for value in sorted(set(values)):
        if ranges and value == ranges[-1][1] + 1:
            ranges[-1][1] = value
        else:
            ranges.append([value, value])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)
