"""What the spreads say, in plain sentences computed from them."""

import math
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np

from nondet.report.control import control_finding
from nondet.report.reduction import reduction_percent
from nondet.report.summary import (
    ModelSummary,
    RowSummary,
    Statistics,
    Summary,
    output_logits,
)
from nondet.report.text import factor, number, percent, percentage_interval
from nondet.row import Row
from nondet.seeds import Onset
from nondet.stats import Interval, sd_ratio

RATIO_OF_INTEREST = 2
"""The paper: no source, and no combination of them, is "a factor of even two more important"."""


COMPARABLE = 3
"""Two spreads are called as far as each other if they are so within this factor."""


class _Reaction(NamedTuple):
    """What one changed bit does to one model."""

    model: ModelSummary
    row: RowSummary
    bit: Statistics


def findings(summary: Summary) -> tuple[str, ...]:
    """On the control; on the change of one bit, model by model, the furthest first; on the sources
    beside each other; on what reduces the variability.
    """
    control = control_finding(summary)
    sentences = [] if control is None else [control]
    reactions = [reaction for model in summary.models for reaction in _reactions(model)]
    reactions.sort(key=lambda reaction: -reaction.bit.cross_entropy.sd)
    sentences += [_one_bit(reaction, reactions[0]) for reaction in reactions]
    for model in [reactions[0].model] if reactions else summary.models:
        sentences += _initialization(model)
        sentences += _other_orders(model)
    for model in summary.models:
        sentences += _one_bit_elsewhere(model)
        sentences += _beside_each_other(model)
    sentences += _reductions(summary)
    return tuple(sentences)


# -- one bit -----------------------------------------------------------------------------------


def _reactions(model: ModelSummary) -> list[_Reaction]:
    """The plain row of one changed bit, or where there is none those with settings of their own."""
    every = _reactions_with_settings(model)
    plain = model.row("bit")
    return every if plain is None else [one for one in every if one.row is plain]


def _reactions_with_settings(model: ModelSummary) -> list[_Reaction]:
    return [
        _Reaction(model, row, row.statistics)
        for row in model.rows
        if row.row.varies == ("bit",)
        and (row.row.output, row.row.design) == ("final", "tandem")
        and row.statistics is not None
    ]


def _together(model: ModelSummary, like: Row) -> tuple[Statistics, str] | None:
    """The row in which the most sources vary, two at least, in the setting of another; its
    statistics and what to call it.
    """
    candidates = [
        row
        for row in model.rows
        if len(row.row.varies) > 1
        and row.statistics is not None
        and row.statistics.cross_entropy.sd > 0
        and _setting(row.row) == _setting(like)
        and (row.row.output, row.row.design) == ("final", "tandem")
    ]
    if not candidates:
        return None
    widest = max(candidates, key=lambda row: len(row.row.varies))
    assert widest.statistics is not None
    every = {source for row in model.rows for source in row.row.varies} - {"bit"}
    name = (
        "all sources together do"
        if every <= set(widest.row.varies)
        else f"{widest.row.name!r} does"
    )
    return widest.statistics, name


def _initial(model: ModelSummary) -> tuple[Statistics, str] | None:
    """New initial weights, where they spread anything."""
    row = model.row("init")
    if row is None or row.statistics is None or row.statistics.cross_entropy.sd == 0:
        return None
    return row.statistics, "new initial weights do"


def _setting(row: Row) -> tuple[dict[str, object], Onset]:
    return {
        name: value for name, value in row.settings.items() if name != "perturbation"
    }, row.onset


def _one_bit(reaction: _Reaction, furthest: _Reaction) -> str:
    model, row, bit = reaction
    change = _change(reaction)
    if reaction is not furthest and change == _change(furthest):
        change = "the same change"
    subject = model.config.model
    if row is not model.row("bit"):
        subject += f", {row.row.name}"
    subject += f": {change}"
    sd = number(bit.cross_entropy.sd)
    together = _together(model, row.row) or _initial(model)
    if bit.disagreement.value == 0:
        sentence = f"{subject} alters no prediction"
        sentence += " of any run" if _predicts_as_control(model, row) else " from run to run"
        if bit.cross_entropy.sd > 0:
            sentence += f" and spreads cross-entropy by {sd} nats"
    else:
        disagree = (
            f"two such runs disagree on {percent(bit.disagreement.value)}% of the test images"
        )
        if together is None:
            sentence = f"{subject} spreads cross-entropy by {sd} nats; {disagree}"
        else:
            far, numbers = _compare(bit, together[0])
            sentence = f"{subject} spreads results {far} {together[1]}: {numbers}; {disagree}"
    sentence += "."
    largest = furthest.bit.cross_entropy.sd
    if model is not furthest.model and 0 < COMPARABLE * bit.cross_entropy.sd < largest:
        times = factor(largest / bit.cross_entropy.sd)
        sentence += f" That is {times} times less than in {furthest.model.config.model!r}."
    return sentence


def _one_bit_elsewhere(model: ModelSummary) -> list[str]:
    """One bit beside all sources in several settings of their own: the least and the most."""
    plain = model.row("bit")
    ratios = [
        (100 * bit.cross_entropy.sd / together[0].cross_entropy.sd, row.row.name)
        for _, row, bit in _reactions_with_settings(model)
        if row is not plain and (together := _together(model, row.row)) is not None
    ]
    if plain is None or not ratios:
        return []
    least, most = min(ratios), max(ratios)
    return [
        f"{model.config.model}: in other settings one bit gives {least[0]:.0f}% ({least[1]!r}) to "
        f"{most[0]:.0f}% ({most[1]!r}) of the cross-entropy SD of all sources in the same setting."
    ]


def _predicts_as_control(model: ModelSummary, row: RowSummary) -> bool:
    """Whether the first runs of a row and of the control predict the same classes."""
    control = model.row()
    if control is None or not control.runs:
        return False
    first, unchanged = (output_logits(one.runs[0], "final") for one in (row, control))
    return np.array_equal(first.argmax(axis=1), unchanged.argmax(axis=1))


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


def _compare(one: Statistics, other: Statistics) -> tuple[str, str]:
    """How far one row's cross-entropy spreads beside another's, in words and in numbers."""
    ratio = sd_ratio(one.cross_entropies, other.cross_entropies)
    numbers = percentage_interval(ratio, "their cross-entropy SD")
    if not all(map(math.isfinite, ratio)):
        numbers = (
            f"cross-entropy SD {number(one.cross_entropy.sd)} against "
            f"{number(other.cross_entropy.sd)}"
        )
    return _far(ratio), numbers


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


# -- sources -----------------------------------------------------------------------------------


def _initialization(model: ModelSummary) -> list[str]:
    """Initial weights, the most obvious source, beside all sources together."""
    row = model.row("init")
    together = _together(model, row.row) if row is not None else None
    if row is None or row.statistics is None or together is None:
        return []
    far, numbers = _compare(row.statistics, together[0])
    return [
        f"{model.config.model}: new initial weights alone spread results {far} {together[1]}: "
        f"{numbers}."
    ]


def _other_orders(model: ModelSummary) -> list[str]:
    """What the order in which gradients are added up does by itself, if it does anything."""
    row = model.row("lowlevel")
    if row is None or row.statistics is None or row.statistics.cross_entropy.sd == 0:
        return []
    found = row.statistics
    disagree = "no prediction changes"
    if found.disagreement.value > 0:
        percentage = percent(found.disagreement.value)
        disagree = f"two such runs disagree on {percentage}% of the test images"
    return [
        f"{model.config.model}: another order of the sums in its gradients, and nothing else, "
        f"spreads cross-entropy by {number(found.cross_entropy.sd)} nats; {disagree}."
    ]


def _beside_each_other(model: ModelSummary) -> list[str]:
    """Whether any single source spreads cross-entropy more than twice as far as another. The two
    that are furthest apart are looked at because they are, so the interval is one of as many as
    there are pairs (Bonferroni).
    """
    sources = [
        (row.row.name, row.statistics)
        for row in model.rows
        if len(row.row.varies) == 1
        and row.row.varies != ("bit",)
        and row is model.row(*row.row.varies)
        and row.statistics is not None
        and row.statistics.cross_entropy.sd > 0
    ]
    if len(sources) < 2:
        return []
    sources.sort(key=lambda source: source[1].cross_entropy.sd)
    (low_name, low), (high_name, high) = sources[0], sources[-1]
    pairs = len(list(combinations(sources, 2)))
    ratio = sd_ratio(high.cross_entropies, low.cross_entropies, confidence=1 - 0.05 / pairs)
    if not all(map(math.isfinite, ratio)):
        return []
    times = f"{factor(ratio.value)} times"
    if pairs > 1:
        ends = f"interval {factor(ratio.low)} to {factor(ratio.high)} for {pairs} pairs at once"
    else:
        ends = f"interval {factor(ratio.low)} to {factor(ratio.high)}"
    subject = f"{model.config.model}: "
    if ratio.low > RATIO_OF_INTEREST:
        return [
            f"{subject}the sources are not alike: {high_name} spreads cross-entropy {times} as far "
            f"as {low_name} ({ends})."
        ]
    if ratio.high < RATIO_OF_INTEREST:
        return [
            f"{subject}no source spreads cross-entropy more than twice as far as another; at most "
            f"{times} ({high_name} and {low_name}, {ends})."
        ]
    return [
        f"{subject}these runs do not tell whether a source spreads cross-entropy more than twice "
        f"as far as another; furthest apart are {high_name} and {low_name}, {times} ({ends})."
    ]


# -- reduction ---------------------------------------------------------------------------------


def _reductions(summary: Summary) -> Iterator[str]:
    """The remedy after which a model varies least beside the baseline, whose sources vary in it
    too. It is looked at because it is the best, so its interval is one of as many as there are
    remedies (Bonferroni).
    """
    baseline = next((row for row in summary.plan.rows if row.name == summary.plan.baseline), None)
    if baseline is None:
        return
    for model in summary.models:
        remedies = [
            row
            for row in model.rows
            if row.row is not baseline
            and row.row.varies == baseline.varies
            and reduction_percent(model, row, baseline.name) is not None
        ]
        if not remedies:
            continue
        confidence = 1 - 0.05 / len(remedies)
        values = [reduction_percent(model, row, baseline.name, confidence) for row in remedies]
        value, row = max(
            ((value, row) for value, row in zip(values, remedies, strict=True) if value),
            key=lambda one: one[0].value,
        )
        several = f" for {len(remedies)} rows at once" if len(remedies) > 1 else ""
        ends = f"interval {value.low:z.0f} to {value.high:z.0f}%{several}"
        name = row.row.name
        if value.low > 0:
            yield (
                f"{model.config.model}: {name!r} varies least, {value.value:.0f}% less than "
                f"{baseline.name!r} ({ends}; the mean over accuracy SD, cross-entropy SD, "
                "disagreement, 1 - correlation and what an ensemble of two gains)."
            )
        elif not math.isnan(value.low):
            yield (
                f"{model.config.model}: no row varies measurably less than {baseline.name!r}; "
                f"{name!r} comes closest to it, with a reduction of {value.value:z.0f}% ({ends})."
            )
