"""Findings that compare the spreads of rows: one changed bit, single sources, all sources.

A view chooses the metric whose spread they compare.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from nondet.analysis.stats import Interval, sd_ratio
from nondet.analysis.summary import ModelSummary, RowSummary, predicted
from nondet.report.text import factor, number, percent, percentage_interval
from nondet.studies.row import Row
from nondet.studies.seeds import Onset, Source

RATIO_OF_INTEREST = 2
"""The paper claims that no source is "a factor of even two more important" than another."""
COMPARABLE = 3
"""The largest factor within which two spreads count as equal."""
ALONE: Mapping[Source, str] = {
    "init": "new initial weights",
    "stochastic": "other draws in its stochastic operations",
}


class Quantity(NamedTuple):
    """A row's results, (runs,), their standard deviation (divisor n), and the percentage of test
    examples on which two runs disagree.
    """

    values: np.ndarray
    sd: float
    disagreement: float


class _Reaction(NamedTuple):
    """A model, a row of it that varies one bit, and the row's results."""

    model: ModelSummary
    row: RowSummary
    bit: Quantity


@dataclass(frozen=True)
class RowFindings:
    """Makes findings on the spread of a metric. metric, unit: its name ("cross-entropy") and unit
    ("nats", or "" without one). examples: the predicted examples ("test images"). of: returns a
    row's results; None for a row without statistics.
    """

    metric: str
    unit: str
    examples: str
    of: Callable[[RowSummary], Quantity | None]

    # -- one bit -------------------------------------------------------------------------------

    def one_bit(self, models: Sequence[ModelSummary]) -> tuple[list[str], list[ModelSummary]]:
        """Return findings on one changed bit, the model with the largest spread first, and the
        models in that order.
        """
        reactions = [reaction for model in models for reaction in self._reactions(model)]
        reactions.sort(key=lambda reaction: -reaction.bit.sd)
        sentences = [self._one_bit(reaction, reactions[0]) for reaction in reactions]
        return sentences, [reaction.model for reaction in reactions]

    def one_bit_elsewhere(self, model: ModelSummary) -> list[str]:
        """Return a finding on rows with settings of their own: the smallest and the largest spread
        of one bit relative to all sources.
        """
        plain = model.row("bit")
        ratios = [
            (100 * bit.sd / together[0].sd, row.row.name)
            for _, row, bit in self._reactions_with_settings(model)
            if row is not plain and (together := self._together(model, row.row)) is not None
        ]
        if plain is None or not ratios:
            return []
        least, most = min(ratios), max(ratios)
        return [
            f"{model.config.model}: in other settings one bit gives {least[0]:.0f}% "
            f"({least[1]!r}) to {most[0]:.0f}% ({most[1]!r}) of the {self.metric} SD of all "
            "sources in the same setting."
        ]

    def _reactions(self, model: ModelSummary) -> list[_Reaction]:
        """Return the row of one changed bit without settings of its own; if there is none, those
        with settings.
        """
        reactions = self._reactions_with_settings(model)
        plain = model.row("bit")
        if plain is None:
            return reactions
        return [reaction for reaction in reactions if reaction.row is plain]

    def _reactions_with_settings(self, model: ModelSummary) -> list[_Reaction]:
        return [
            _Reaction(model, row, bit)
            for row in model.rows
            if row.row.varies == ("bit",) and _final(row.row) and (bit := self.of(row)) is not None
        ]

    def _together(self, model: ModelSummary, like: Row) -> tuple[Quantity, str] | None:
        """Return the results and a name of the row in which most sources vary, at least two, among
        rows with the settings of `like`; None without such a row.
        """
        candidates = [
            (row, results)
            for row in model.rows
            if len(row.row.varies) > 1
            and (results := self.of(row)) is not None
            and results.sd > 0
            and _setting(row.row) == _setting(like)
            and _final(row.row)
        ]
        if not candidates:
            return None
        widest, results = max(candidates, key=lambda pair: len(pair[0].row.varies))
        sources = {source for row in model.rows for source in row.row.varies} - {"bit"}
        name = (
            "all sources together do"
            if sources <= set(widest.row.varies)
            else f"{widest.row.name!r} does"
        )
        return results, name

    def _initial(self, model: ModelSummary) -> tuple[Quantity, str] | None:
        """Return results and name of the row that varies initial weights; None without spread."""
        row = model.row("init")
        results = None if row is None else self.of(row)
        return None if results is None or results.sd == 0 else (results, f"{ALONE['init']} do")

    def _one_bit(self, reaction: _Reaction, furthest: _Reaction) -> str:
        """Return the finding on one changed bit. furthest: the reaction with the largest spread."""
        model, row, bit = reaction
        change = _change(reaction)
        if reaction is not furthest and change == _change(furthest):
            change = "the same change"
        subject = model.config.model
        if row is not model.row("bit"):
            subject += f", {row.row.name}"
        subject += f": {change}"
        together = self._together(model, row.row) or self._initial(model)
        if bit.disagreement == 0:
            sentence = f"{subject} alters no prediction"
            sentence += " of any run" if _predicts_as_control(model, row) else " from run to run"
            if bit.sd > 0:
                sentence += f" and spreads {self.metric} by {self._amount(bit.sd)}"
        elif together is None:
            sentence = f"{subject} spreads {self.metric} by {self._amount(bit.sd)}"
            sentence += f"; {self._disagree(bit)}"
        else:
            far, numbers = self._compare(bit, together[0])
            sentence = f"{subject} spreads results {far} {together[1]}: {numbers}"
            sentence += f"; {self._disagree(bit)}"
        sentence += "."
        largest = furthest.bit.sd
        if model is not furthest.model and 0 < COMPARABLE * bit.sd < largest:
            times = factor(largest / bit.sd)
            sentence += f" That is {times} times less than in {furthest.model.config.model!r}."
        return sentence

    # -- sources -------------------------------------------------------------------------------

    def alone(self, model: ModelSummary, source: Source) -> list[str]:
        """Return a finding on one source, of those in `ALONE`, beside all sources together."""
        row = model.row(source)
        results = None if row is None else self.of(row)
        together = None if row is None else self._together(model, row.row)
        if results is None or together is None:
            return []
        far, numbers = self._compare(results, together[0])
        return [
            f"{model.config.model}: {ALONE[source]} alone spread results {far} {together[1]}: "
            f"{numbers}."
        ]

    def other_orders(self, model: ModelSummary) -> list[str]:
        """Return a finding on the order of sums in gradients, if that alone spreads results."""
        row = model.row("lowlevel")
        results = None if row is None else self.of(row)
        if results is None or results.sd == 0:
            return []
        disagree = self._disagree(results) if results.disagreement > 0 else "no prediction changes"
        return [
            f"{model.config.model}: another order of the sums in its gradients, and nothing else, "
            f"spreads {self.metric} by {self._amount(results.sd)}; {disagree}."
        ]

    def beside_each_other(self, model: ModelSummary) -> list[str]:
        """Return a finding on whether a source spreads results more than twice as far as another.

        The pair that is furthest apart is chosen from all pairs, so its interval is corrected for
        their number (Bonferroni).
        """
        sources = [
            (row.row.name, results)
            for row in model.rows
            if len(row.row.varies) == 1
            and row.row.varies != ("bit",)
            and row is model.row(*row.row.varies)
            and (results := self.of(row)) is not None
            and results.sd > 0
        ]
        if len(sources) < 2:
            return []
        sources.sort(key=lambda source: source[1].sd)
        (low_name, low), (high_name, high) = sources[0], sources[-1]
        pairs = len(list(combinations(sources, 2)))
        ratio = sd_ratio(high.values, low.values, confidence=1 - 0.05 / pairs)
        if not all(map(math.isfinite, ratio)):
            return []
        times = f"{factor(ratio.value)} times"
        ends = f"interval {factor(ratio.low)} to {factor(ratio.high)}"
        if pairs > 1:
            ends += f" for {pairs} pairs at once"
        subject = f"{model.config.model}: "
        if ratio.low > RATIO_OF_INTEREST:
            return [
                f"{subject}the sources are not alike: {high_name} spreads {self.metric} {times} as "
                f"far as {low_name} ({ends})."
            ]
        if ratio.high < RATIO_OF_INTEREST:
            return [
                f"{subject}no source spreads {self.metric} more than twice as far as another; at "
                f"most {times} ({high_name} and {low_name}, {ends})."
            ]
        return [
            f"{subject}these runs do not tell whether a source spreads {self.metric} more than "
            f"twice as far as another; furthest apart are {high_name} and {low_name}, {times} "
            f"({ends})."
        ]

    # -- words ---------------------------------------------------------------------------------

    def _amount(self, sd: float) -> str:
        return f"{number(sd)} {self.unit}".rstrip()

    def _disagree(self, results: Quantity) -> str:
        return f"two such runs disagree on {percent(results.disagreement)}% of the {self.examples}"

    def _compare(self, results: Quantity, other: Quantity) -> tuple[str, str]:
        """Return how far results spread relative to others, in words and in numbers."""
        ratio = sd_ratio(results.values, other.values)
        numbers = percentage_interval(ratio, f"their {self.metric} SD")
        if not all(map(math.isfinite, ratio)):
            numbers = f"{self.metric} SD {number(results.sd)} against {number(other.sd)}"
        return _far(ratio), numbers


def _final(row: Row) -> bool:
    """Return True if the row compares final models of independent runs."""
    return (row.output, row.design) == ("final", "tandem")


def _setting(row: Row) -> tuple[dict[str, object], Onset]:
    """Return a row's settings, except what the bit changes, and its onset."""
    return {
        name: value for name, value in row.settings.items() if name != "perturbation"
    }, row.onset


def _predicts_as_control(model: ModelSummary, row: RowSummary) -> bool:
    """Return True if the first runs of a row and of the control predict the same."""
    control = model.row()
    if control is None or not control.runs:
        return False
    return np.array_equal(predicted(row.runs[0]), predicted(control.runs[0]))


def _change(reaction: _Reaction) -> str:
    """Return the change that a bit seed makes, in words."""
    spec = reaction.row.row.config(reaction.model.config).perturbation
    target = {
        "weights": "one weight",
        "momentum": "one entry of the momentum",
        "statistics": "one batch-norm statistic",
        "gradient": "one entry of a gradient",
        "pixel": "one pixel of a batch",
    }[spec.target]
    if spec.change == "bit":
        return f"one inverted bit of {target}"
    return f"{target} moved by one unit in the last place"


def _far(ratio: Interval) -> str:
    """Return the interval of a ratio of SDs in words; "as far as" only if it contains 1 and lies
    within the factor `COMPARABLE`.
    """
    if ratio.high < 1:
        return "less than"
    if ratio.low > 1:
        return "further than"
    if ratio.low >= 1 / COMPARABLE and ratio.high <= COMPARABLE:
        return "as far as"
    return "not measurably less than" if ratio.value < 1 else "not measurably further than"
