"""Findings that compare the spreads of rows: one changed bit, single sources, all sources.

A view chooses the metric whose spread they compare.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from nondet.analysis.relative import (
    HALF,
    Relative,
    compares_finals,
    initial,
    quantities,
    relative,
    together,
)
from nondet.analysis.stats import Interval, mean_over_pairs, sd_ratio, standard_deviation
from nondet.analysis.summary import ModelSummary, RowSummary, predicted
from nondet.report.text import factor, number, percent, percentage_interval, written_interval
from nondet.report.views._verdicts import ALIKE, QUANTITIES, runs_a_row, shares
from nondet.studies.seeds import Source

FAR = 3
"""The factor from which on a model is said to spread less than another."""
ALONE: Mapping[Source, str] = {
    "init": "new initial weights alone",
    "stochastic": "other draws in its stochastic operations alone",
    "lowlevel": "another order of the sums in its gradients, and nothing else,",
}


class _Reaction(NamedTuple):
    """A model, a row of it that varies one bit, and the SD and disagreement of its results."""

    model: ModelSummary
    row: RowSummary
    sd: float
    disagreement: float


@dataclass(frozen=True)
class RowFindings:
    """Makes findings on the spread of a metric. metric, unit: its name in `QUANTITIES` and its unit
    ("nats", or "" without one). examples: the predicted examples ("test images").
    """

    metric: str
    unit: str
    examples: str

    # -- one bit -------------------------------------------------------------------------------

    def one_bit(self, models: Sequence[ModelSummary]) -> tuple[list[str], list[ModelSummary]]:
        """Return findings on one changed bit, the model with the largest spread first, and the
        models in that order.
        """
        reactions = [reaction for model in models for reaction in self._reactions(model)]
        reactions.sort(key=lambda reaction: -reaction.sd)
        sentences = [self._one_bit(reaction, reactions[0]) for reaction in reactions]
        return sentences, [reaction.model for reaction in reactions]

    def one_bit_elsewhere(self, model: ModelSummary) -> list[str]:
        """Return a finding on rows with settings of their own: the smallest and the largest spread
        of one bit relative to all sources.
        """
        plain = model.row("bit")
        ratios = [
            (relative(row, beside).sds[self.metric], row.row.name)
            for _, row, _, _ in self._reactions_with_settings(model)
            if row is not plain and (beside := together(model, row.row)) is not None
        ]
        if plain is None or not ratios:
            return []
        least, most = (
            f"{percentage_interval(ratio)} in {name!r}"
            for ratio, name in (min(ratios), max(ratios))
        )
        span = least if len(ratios) == 1 else f"{least} to {most}"
        return [
            f"{model.config.model}: in other settings one bit gives {span} of the "
            f"{QUANTITIES[self.metric]} of all sources in the same setting."
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
            _Reaction(model, row, *found)
            for row in model.rows
            if row.row.varies == ("bit",) and compares_finals(row.row) and (found := self._of(row))
        ]

    def _of(self, row: RowSummary) -> tuple[float, float] | None:
        """Return the SD (divisor n) and the disagreement of a row; None without statistics, and for
        a row of the other kind of models.
        """
        found = quantities(row)
        if found is None or (row.language is not None) != (self.metric == "perplexity"):
            return None
        values, pairs = found
        return standard_deviation(values[self.metric]), mean_over_pairs(pairs["disagreement"])

    def _one_bit(self, reaction: _Reaction, furthest: _Reaction) -> str:
        """Return the finding on one changed bit. furthest: the reaction with the largest spread."""
        model, row, sd, disagreement = reaction
        change = _change(reaction)
        if reaction is not furthest and change == _change(furthest):
            change = "the same change"
        subject = model.config.model
        if row is not model.row("bit"):
            subject += f", {row.row.name}"
        subject += f": {change}"
        beside = together(model, row.row) or initial(model)
        if disagreement == 0:
            sentence = f"{subject} alters no prediction"
            sentence += " of any run" if _predicts_as_control(model, row) else " from run to run"
            if sd > 0:
                sentence += f" and spreads {self._name} by {self._amount(sd)}"
        elif beside is None:
            sentence = f"{subject} spreads {self._name} by {self._amount(sd)}"
            sentence += f"; two such runs disagree on {self._share(disagreement)}"
        else:
            sentence = f"{subject} gives {self._beside(model, row, beside)}"
        sentence += "."
        if model is not furthest.model and 0 < FAR * sd < furthest.sd:
            sentence += f" That is {self._times_less(reaction, furthest)}."
        return sentence

    def _times_less(self, reaction: _Reaction, furthest: _Reaction) -> str:
        above, below = quantities(furthest.row), quantities(reaction.row)
        assert above is not None
        assert below is not None
        ratio = sd_ratio(above[0][self.metric], below[0][self.metric])
        ends = written_interval(ratio, factor(ratio.low), factor(ratio.high))
        return f"{factor(ratio.value)} times less than in {furthest.model.config.model!r} ({ends})"

    # -- sources -------------------------------------------------------------------------------

    def alone(self, model: ModelSummary, source: Source) -> list[str]:
        """Return a finding on one source, of those in `ALONE`, beside all sources together; on the
        order of sums alone, which nobody chooses, also where there is nothing beside it.
        """
        row = model.row(source)
        found = None if row is None else self._of(row)
        if row is None or found is None:
            return []
        beside = together(model, row.row)
        if beside is not None and min(found) > 0:
            return [
                f"{model.config.model}: {ALONE[source]} give"
                f"{'' if source != 'lowlevel' else 's'} {self._beside(model, row, beside)}."
            ]
        if source != "lowlevel" or found[0] == 0:
            return []
        changed = f"two such runs disagree on {self._share(found[1])}"
        return [
            f"{model.config.model}: {ALONE[source]} spreads {self._name} by "
            f"{self._amount(found[0])}; {changed if found[1] > 0 else 'no prediction changes'}."
        ]

    def beside_each_other(self, model: ModelSummary) -> list[str]:
        """Return findings on whether a source spreads results more than twice as far as another, by
        the SD of the metric and by disagreement.

        The pair that is furthest apart is chosen from all pairs, so its interval is corrected for
        their number (Bonferroni).
        """
        sources = [
            (found, row)
            for row in model.rows
            if len(row.row.varies) == 1
            and row.row.varies != ("bit",)
            and row is model.row(*row.row.varies)
            and (found := self._of(row)) is not None
            and found[0] > 0
        ]
        if len(sources) < 2:
            return []
        sentences = []
        for name, measure in ((self.metric, 0), ("disagreement", 1)):
            ordered = sorted(sources, key=lambda source, at=measure: source[0][at])  # type: ignore[misc]
            low, high = ordered[0][1], ordered[-1][1]
            pairs = len(list(combinations(sources, 2)))
            apart = relative(high, low, confidence=1 - 0.05 / pairs)
            ratio = {**apart.sds, **apart.pairs}[name]
            if all(map(math.isfinite, ratio)):
                sentences.append(
                    f"{model.config.model}: {_apart(name, apart, ratio, high, low, pairs)}"
                )
        return sentences

    # -- words ---------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return QUANTITIES[self.metric].removesuffix(" SD")

    def _amount(self, sd: float) -> str:
        return f"{number(sd)} {self.unit}".rstrip()

    def _share(self, disagreement: float) -> str:
        return f"{percent(disagreement)}% of the {self.examples}"

    def _beside(self, model: ModelSummary, row: RowSummary, beside: RowSummary) -> str:
        """Return a row's spread as shares of another's."""
        found = self._of(row)
        assert found is not None
        details = {"disagreement": self._share(found[1])}
        return shares(relative(row, beside), self.metric, _called(model, beside), details)


def _apart(
    name: str, found: Relative, ratio: Interval, high: RowSummary, low: RowSummary, pairs: int
) -> str:
    """Return whether the two sources that are furthest apart are so by more than a factor of 2."""
    quantity = QUANTITIES[name]
    several = f"{pairs} pairs" if pairs > 1 else ""
    ends = written_interval(ratio, factor(ratio.low), factor(ratio.high), at_once=several)
    times = f"{factor(ratio.value)} times ({ends})"
    between = f"{high.row.name} and {low.row.name}"
    if ratio.low > ALIKE:
        return f"the sources are not alike in {quantity}: {between} are apart {times}."
    if ratio.high < ALIKE:
        return f"no source has more than twice the {quantity} of another: {between}, {times}."
    text = f"whether a source has more than twice the {quantity} of another is undecided: {between}"
    text += f" are furthest apart, {times}"
    if name in found.sds:
        seen = factor(ALIKE * found.detectable(HALF))
        text += f"; {runs_a_row(found.runs)} can show it from {seen} times on"
    return f"{text}."


def _called(model: ModelSummary, row: RowSummary) -> str:
    """Return what a row that others are compared with is called."""
    if row is initial(model):
        return "new initial weights"
    sources = {source for other in model.rows for source in other.row.varies} - {"bit"}
    return "all sources together" if sources <= set(row.row.varies) else repr(row.row.name)


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
