"""Writing numbers and lists in the text of reports."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict

from nondet.analysis.stats import Interval, Spread
from nondet.studies.job import Job
from nondet.studies.seeds import SOURCES, is_held

NOTHING = "-"
"""The text of a cell without a number."""


def percent(value: float) -> str:
    """Return a percentage with two decimals; "0" for exactly 0."""
    return "0" if value == 0 else fixed(value, 2)


def fixed(value: float, decimals: int) -> str:
    """Return a number with this many decimals; a dash for NaN, and -0 without its sign."""
    return NOTHING if math.isnan(value) else f"{value:z.{decimals}f}"


def plain(value: float, decimals: int) -> str:
    """Return a number with this many decimals; "0" for exactly 0, and scientific notation for a
    number that would round to 0.
    """
    if value == 0:
        return "0"
    return f"{value:.1e}" if abs(value) < 5 * 10**-decimals else fixed(value, decimals)


def spread(value: Spread, decimals: int, plus_minus: str = "±") -> str:
    """Return a standard deviation with its error bar; "0" for exactly 0, and scientific notation
    for one too small for `decimals`.
    """
    if value.sd == 0:
        return "0"
    if value.sd < 5 * 10**-decimals:
        return f"{value.sd:.1e} {plus_minus} {value.error:.0e}"
    return f"{value.sd:.{decimals}f} {plus_minus} {value.error:.{decimals}f}"


def number(value: float) -> str:
    """Return a number with two significant digits, in scientific notation below 0.001 and from
    1,000,000 on.
    """
    if math.isnan(value):
        return NOTHING
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}"
    return factor(value) if value >= 10 else f"{value:.2g}"


def factor(ratio: float) -> str:
    """Return a factor with two significant digits: "1.1", "14", "660,000"; a dash for NaN."""
    if math.isnan(ratio):
        return NOTHING
    if ratio < 10 or math.isinf(ratio):
        return f"{ratio:.1f}"
    digits = len(str(int(ratio))) - 2
    return f"{round(ratio, -digits):,.0f}"


def correlation(value: float) -> str:
    """Return a correlation with four decimals; close to 1 as "1 - 2e-09", and "1" for exactly 1."""
    if value == 1:
        return "1"
    return fixed(value, 4) if not 0.99995 <= value < 1 else f"1 - {1 - value:.0e}"


def change(value: float, decimals: int) -> str:
    """Return a difference with its sign; "0" for exactly 0, and scientific notation for one too
    small for `decimals`.
    """
    if value == 0:
        return "0"
    if math.isnan(value):
        return NOTHING
    if abs(value) < 5 * 10 ** -(decimals + 1):
        return f"{value:+.0e}"
    return f"{value:+.{decimals}f}"


def interval(value: Interval, write: Callable[[float], str]) -> str:
    """Return a number with its interval, each written by `write`: "0.28 (0.21-0.41)", or "0.28
    (-0.10 to 0.41)" where an end has a sign. Where it is unknown a dash stands for it, "0.28 (-)",
    except after exactly 0, a spread that is none, and 1, the correlation of equal runs. One
    without width is left out.
    """
    middle, low, high = (write(end) for end in value)
    if math.isnan(value.low) or math.isnan(value.high):
        exact = value.value in (0, 1) or math.isnan(value.value)
        return middle if exact else f"{middle} ({NOTHING})"
    return middle if value.low == value.high else f"{middle} ({between(low, high)})"


def between(low: str, high: str) -> str:
    """Return a range of two written numbers: "0.21-0.41", "-0.1 to +0.2"."""
    signs = any(sign in end for sign in "+-" for end in (low, high))
    return f"{low} to {high}" if signs else f"{low}-{high}"


def percentage_interval(share: Interval, of: str = "", at_once: str = "") -> str:
    """Return a fraction in percent with its interval: "94% (95% CI 80-110%) of the SD", or "94%
    (no interval) of the SD". of: the whole ("the SD"), left out if empty. at_once: what an interval
    that holds for several comparisons together is for ("10 pairs").
    """
    value, low, high = (
        f"{100 * part:,.0f}" if part == 0 or not part < 0.01 else number(100 * part)
        for part in share
    )
    text = f"{value}% ({written_interval(share, low, high, '%', at_once)})"
    return f"{text} of {of}" if of else text


def written_interval(
    found: Interval, low: str, high: str, unit: str = "", at_once: str = ""
) -> str:
    """Return the interval of a number as in "95% CI 80-110%", "95% CI 1.1-12 for 10 pairs at
    once", or "no interval" where it is unknown. low, high: its ends, written.
    """
    if math.isnan(found.low) or math.isnan(found.high):
        return "no interval"
    several = f" for {at_once} at once" if at_once else ""
    return f"95% CI {between(low, high)}{unit}{several}"


def plural(count: int, what: str) -> str:
    """Return a count with its noun: "1 run", "3 runs"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def listing(words: Iterable[str]) -> str:
    """Join words: "a", "a and b", "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def describe_seeds(jobs: Iterable[Job]) -> str:
    """Return the seeds of a row's runs in words: "init 2-11, all others 1"; for repetitions of
    equal seeds "all 1, 3 repetitions". What sources are held at (`RunConfig.held_seed`) is that of
    the first run; low-level source and bit are then absent.
    """
    jobs = list(jobs)
    if not jobs:
        return ""
    seeds = [asdict(job.seeds) for job in jobs]
    constant = jobs[0].config.held_seed
    varied = [
        source
        for source in SOURCES
        if not all(is_held(job.seeds, source, constant) for job in jobs)
    ]
    if not varied:
        return f"all {constant}, {plural(len(jobs), 'repetition')}"
    by_values: dict[str, list[str]] = {}
    for source in varied:
        by_values.setdefault(_ranges(run[source] for run in seeds), []).append(source)
    text = ", ".join(f"{' + '.join(names)} {values}" for values, names in by_values.items())
    return text if len(varied) == len(SOURCES) else f"{text}, all others {constant}"


def _ranges(values: Iterable[int]) -> str:
    """Return integers as ranges: "2-4, 7"."""
    ranges: list[list[int]] = []
    for value in sorted(set(values)):
        if ranges and value == ranges[-1][1] + 1:
            ranges[-1][1] = value
        else:
            ranges.append([value, value])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)
