"""Write what quotients of spreads say, and from which difference on the runs can tell."""

import math

from nondet.analysis.relative import HALF, Relative
from nondet.analysis.stats import Interval
from nondet.report.text import factor, percentage_interval

ALIKE = 2.0
"""Two spreads are alike if their quotient lies within this factor of 1: the paper claims that no
source is "a factor of even two more important" than another."""

QUANTITIES = {
    "accuracy": "accuracy SD",
    "cross_entropy": "cross-entropy SD",
    "perplexity": "perplexity SD",
    "disagreement": "disagreement",
    "rank_distance": "rank distance, 1 - Spearman",
}
"""The quantities of `Relative` in words."""


def verdict(ratio: Interval) -> str:
    """Return what the interval of a quotient says: "less" or "more", with or without ", within a
    factor of 2", else "alike within a factor of 2" or "undecided".
    """
    within = ratio.low > 1 / ALIKE and ratio.high < ALIKE
    if ratio.high < 1 or ratio.low > 1:
        word = "less" if ratio.high < 1 else "more"
        return f"{word}, within a factor of {ALIKE:.0f}" if within else word
    return f"alike within a factor of {ALIKE:.0f}" if within else "undecided"


def shares(found: Relative, sd: str, of: str, details: dict[str, str] | None = None) -> str:
    """Return the quotients of the SD of one metric and of both measures of pairs, with intervals
    and verdicts: "54% (95% CI 26-111%) of the cross-entropy SD of all sources together (undecided:
    10 runs a row can show differences above 2.0 times), ...".

    of: the reference ("all sources together"). details: by quantity, what else to say of it.
    """
    details = details or {}
    parts = []
    for name, ratio in {sd: found.sds[sd], **found.pairs}.items():
        whose = f"the {QUANTITIES[name]} of {of}" if name == sd else f"their {QUANTITIES[name]}"
        said = [verdict(ratio), details.get(name, "")]
        if name == sd and said[0] == "undecided":
            said[0] += f": {shown_by(found)}"
        parts.append(f"{percentage_interval(ratio, whose)} ({'; '.join(filter(None, said))})")
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def shown_by(found: Relative) -> str:
    """Return from which difference of SDs on the runs can tell, half of the time."""
    least = found.detectable(HALF)
    if not math.isfinite(least):
        return f"{runs_a_row(found.runs)} can show no difference"
    return f"{runs_a_row(found.runs)} can show differences above {factor(least)} times"


def runs_a_row(runs: tuple[int, int]) -> str:
    """Return the numbers of runs of two rows: "10 runs a row", "10 and 3 runs"."""
    return f"{runs[0]:,} runs a row" if runs[0] == runs[1] else f"{runs[0]:,} and {runs[1]:,} runs"
