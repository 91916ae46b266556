"""Findings on the spread on images."""

import math
from collections.abc import Iterator

from nondet.analysis.reduction import reduction_percent
from nondet.analysis.relative import Relative, relative
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.control import control_finding
from nondet.report.text import (
    fixed,
    percentage_interval,
    plural,
    written_interval,
)
from nondet.report.views._row_findings import RowFindings
from nondet.report.views._verdicts import QUANTITIES, runs_a_row

_NAMED = 3
"""How many rows a finding names."""


def findings(summary: Summary) -> tuple[str, ...]:
    """Return findings on the control, on one changed bit (the model with the largest spread first),
    on sources beside each other, and on rows that reduce the variability.
    """
    control = control_finding(summary)
    sentences = [] if control is None else [control]
    rows = RowFindings("cross_entropy", "nats", "test images")
    of_bits, models = rows.one_bit(summary.models)
    sentences += of_bits
    for model in models[:1] or summary.models:
        sentences += rows.alone(model, "init")
        sentences += rows.alone(model, "lowlevel")
    for model in summary.models:
        sentences += rows.one_bit_elsewhere(model)
        sentences += rows.beside_each_other(model)
        sentences += _reductions(model, summary.plan.baseline)
    return tuple(sentences)


def _reductions(model: ModelSummary, baseline: str | None) -> Iterator[str]:
    """Yield findings on the row that varies least, among those that vary the baseline's sources,
    and on those in which pairs of runs differ less. They are the best of several, so their
    intervals are corrected for their number (Bonferroni).
    """
    single = None if baseline is None else model.named(baseline)
    if single is None:
        return
    remedies = [
        row
        for row in model.rows
        if row is not single
        and row.row.varies == single.row.varies
        and reduction_percent(model, row, baseline) is not None
    ]
    if not remedies:
        return
    confidence = 1 - 0.05 / len(remedies)
    yield _least(model, remedies, single, confidence)
    found = [(row, relative(row, single, confidence)) for row in remedies]
    for name in found[0][1].pairs:
        yield _fewer(model, name, found, single)


def _least(
    model: ModelSummary, remedies: list[RowSummary], single: RowSummary, confidence: float
) -> str:
    """Return a finding on the mean reduction of the row that varies least."""
    values = [reduction_percent(model, row, single.row.name, confidence) for row in remedies]
    value, row = max(
        ((value, row) for value, row in zip(values, remedies, strict=True) if value),
        key=lambda pair: pair[0].value,
    )
    ends = written_interval(
        value, fixed(value.low, 0), fixed(value.high, 0), "%", _several(len(remedies))
    )
    text = (
        f"{model.config.model}: {row.row.name!r} has the largest reduction of the spread of "
        f"{single.row.name!r}, {fixed(value.value, 0)}% ({ends}; the mean over accuracy SD, "
        "cross-entropy SD, disagreement, 1 - correlation and what an ensemble of two gains)"
    )
    if value.low > 0 or math.isnan(value.low):
        return f"{text}."
    if value.high < 0:
        return f"{text}: even that row varies more."
    # On the logarithmic scale the interval keeps its width.
    least = 100 * (1 - (1 - value.value / 100) / (1 - value.low / 100))
    return f"{text}: undecided, since {runs_a_row((len(row.runs), len(single.runs)))} can show " + (
        f"reductions above {fixed(least, 0)}%."
    )


def _fewer(
    model: ModelSummary, name: str, found: list[tuple[RowSummary, Relative]], single: RowSummary
) -> str:
    """Return a finding on the rows whose pairs of runs differ less than those of the baseline."""
    ratios = sorted(((one.pairs[name], row) for row, one in found), key=lambda pair: pair[0].value)
    less = [(ratio, row) for ratio, row in ratios if ratio.high < 1]
    more = sum(ratio.low > 1 for ratio, _ in ratios)
    subject = f"{model.config.model}: {QUANTITIES[name]}, beside that of {single.row.name!r}, is"
    several = _several(len(ratios))
    if not less:
        ratio, row = ratios[0]
        return (
            f"{subject} less in no row: in {row.row.name!r} it is "
            f"{percentage_interval(ratio, at_once=several)}."
        )
    named = "; ".join(
        f"{row.row.name!r} {percentage_interval(ratio, at_once=several)}"
        for ratio, row in less[:_NAMED]
    )
    rest = len(ratios) - len(less) - more
    return (
        f"{subject} less in {len(less)} of {plural(len(ratios), 'row')}, more in {more} and "
        f"undecided in {rest}: {named}{'; ...' if len(less) > _NAMED else ''}."
    )


def _several(rows: int) -> str:
    return f"{rows} rows" if rows > 1 else ""
