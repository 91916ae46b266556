"""What rows say beside each other, in plain sentences: one bit, single sources, all of them
together. Whose spread they compare is up to the view.
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
"""The paper: no source, and no combination of them, is "a factor of even two more important"."""
COMPARABLE = 3
"""Two spreads are called as far as each other if they are so within this factor."""
ALONE: Mapping[Source, str] = {
    "init": "new initial weights",
    "stochastic": "other draws in its stochastic operations",
}


class Quantity(NamedTuple):
    """What is told of a row: the results of its runs, (runs,), their standard deviation (divisor
    n), and the percentage of test examples on which two runs disagree.
    """

    values: np.ndarray
    sd: float
    disagreement: float


class _Reaction(NamedTuple):
    """What one changed bit does to one model."""

    model: ModelSummary
    row: RowSummary
    bit: Quantity


@dataclass(frozen=True)
class RowFindings:
    """Sentences on some models. metric, unit: of the results whose spread is told ("cross-entropy",
    "nats"; "" without a unit). examples: what is predicted ("test images"). of: what is told of a
    row, None where there is nothing.
    """

    metric: str
    unit: str
    examples: str
    of: Callable[[RowSummary], Quantity | None]

    # -- one bit -------------------------------------------------------------------------------

    def one_bit(self, models: Sequence[ModelSummary]) -> tuple[list[str], list[ModelSummary]]:
        """On the change of one bit, model by model, the furthest first; and the models in that
        order.
        """
        reactions = [reaction for model in models for reaction in self._reactions(model)]
        reactions.sort(key=lambda reaction: -reaction.bit.sd)
        sentences = [self._one_bit(reaction, reactions[0]) for reaction in reactions]
        return sentences, [reaction.model for reaction in reactions]

    def one_bit_elsewhere(self, model: ModelSummary) -> list[str]:
        """One bit beside all sources in several settings of their own: the least and the most."""
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
        """The plain row of one changed bit, or where there is none those with settings of their
        own.
        """
        every = self._reactions_with_settings(model)
        plain = model.row("bit")
        return every if plain is None else [one for one in every if one.row is plain]

    def _reactions_with_settings(self, model: ModelSummary) -> list[_Reaction]:
        return [
            _Reaction(model, row, bit)
            for row in model.rows
            if row.row.varies == ("bit",) and _final(row.row) and (bit := self.of(row)) is not None
        ]

    def _together(self, model: ModelSummary, like: Row) -> tuple[Quantity, str] | None:
        """The row in which the most sources vary, two at least, in the setting of another; what is
        told of it and what to call it.
        """
        candidates = [
            (row, found)
            for row in model.rows
            if len(row.row.varies) > 1
            and (found := self.of(row)) is not None
            and found.sd > 0
            and _setting(row.row) == _setting(like)
            and _final(row.row)
        ]
        if not candidates:
            return None
        widest, found = max(candidates, key=lambda one: len(one[0].row.varies))
        every = {source for row in model.rows for source in row.row.varies} - {"bit"}
        name = (
            "all sources together do"
            if every <= set(widest.row.varies)
            else f"{widest.row.name!r} does"
        )
        return found, name

    def _initial(self, model: ModelSummary) -> tuple[Quantity, str] | None:
        """New initial weights, where they spread anything."""
        row = model.row("init")
        found = None if row is None else self.of(row)
        return None if found is None or found.sd == 0 else (found, f"{ALONE['init']} do")

    def _one_bit(self, reaction: _Reaction, furthest: _Reaction) -> str:
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
        """One source, of those in `ALONE`, beside all sources together."""
        row = model.row(source)
        found = None if row is None else self.of(row)
        together = None if row is None else self._together(model, row.row)
        if found is None or together is None:
            return []
        far, numbers = self._compare(found, together[0])
        return [
            f"{model.config.model}: {ALONE[source]} alone spread results {far} {together[1]}: "
            f"{numbers}."
        ]

    def other_orders(self, model: ModelSummary) -> list[str]:
        """What the order in which gradients are added up does by itself, if it does anything."""
        row = model.row("lowlevel")
        found = None if row is None else self.of(row)
        if found is None or found.sd == 0:
            return []
        disagree = self._disagree(found) if found.disagreement > 0 else "no prediction changes"
        return [
            f"{model.config.model}: another order of the sums in its gradients, and nothing else, "
            f"spreads {self.metric} by {self._amount(found.sd)}; {disagree}."
        ]

    def beside_each_other(self, model: ModelSummary) -> list[str]:
        """Whether any single source spreads results more than twice as far as another. The two that
        are furthest apart are looked at because they are, so the interval is one of as many as
        there are pairs (Bonferroni).
        """
        sources = [
            (row.row.name, found)
            for row in model.rows
            if len(row.row.varies) == 1
            and row.row.varies != ("bit",)
            and row is model.row(*row.row.varies)
            and (found := self.of(row)) is not None
            and found.sd > 0
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

    def _disagree(self, found: Quantity) -> str:
        return f"two such runs disagree on {percent(found.disagreement)}% of the {self.examples}"

    def _compare(self, one: Quantity, other: Quantity) -> tuple[str, str]:
        """How far one row's results spread beside another's, in words and in numbers."""
        ratio = sd_ratio(one.values, other.values)
        numbers = percentage_interval(ratio, f"their {self.metric} SD")
        if not all(map(math.isfinite, ratio)):
            numbers = f"{self.metric} SD {number(one.sd)} against {number(other.sd)}"
        return _far(ratio), numbers


def _final(row: Row) -> bool:
    return (row.output, row.design) == ("final", "tandem")


def _setting(row: Row) -> tuple[dict[str, object], Onset]:
    return {
        name: value for name, value in row.settings.items() if name != "perturbation"
    }, row.onset


def _predicts_as_control(model: ModelSummary, row: RowSummary) -> bool:
    """Whether the first runs of a row and of the control predict the same."""
    control = model.row()
    if control is None or not control.runs:
        return False
    return np.array_equal(predicted(row.runs[0]), predicted(control.runs[0]))


def _change(reaction: _Reaction) -> str:
    """What a run with a bit seed of its own does, in words."""
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
    """In words, where the interval of a ratio of SDs lies; "as far as" only where it holds 1 and
    says that the two are of one size.
    """
    if ratio.high < 1:
        return "less than"
    if ratio.low > 1:
        return "further than"
    if ratio.low >= 1 / COMPARABLE and ratio.high <= COMPARABLE:
        return "as far as"
    return "not measurably less than" if ratio.value < 1 else "not measurably further than"
