"""Findings on the spread on images."""

import math
from collections.abc import Iterator

from nondet.analysis.reduction import reduction_percent
from nondet.analysis.summary import RowSummary, Summary
from nondet.report.control import control_finding
from nondet.report.views._row_findings import Quantity, RowFindings


def findings(summary: Summary) -> tuple[str, ...]:
    """Return findings on the control, on one changed bit (the model with the largest spread first),
    on sources beside each other, and on rows that reduce the variability.
    """
    control = control_finding(summary)
    sentences = [] if control is None else [control]
    rows = RowFindings("cross-entropy", "nats", "test images", _quantity)
    of_bits, models = rows.one_bit(summary.models)
    sentences += of_bits
    for model in models[:1] or summary.models:
        sentences += rows.alone(model, "init")
        sentences += rows.other_orders(model)
    for model in summary.models:
        sentences += rows.one_bit_elsewhere(model)
        sentences += rows.beside_each_other(model)
    sentences += _reductions(summary)
    return tuple(sentences)


def _quantity(row: RowSummary) -> Quantity | None:
    statistics = row.statistics
    if statistics is None:
        return None
    return Quantity(
        statistics.cross_entropies, statistics.cross_entropy.sd, statistics.disagreement.value
    )


def _reductions(summary: Summary) -> Iterator[str]:
    """Yield a finding for every model on the row that varies least, among those that vary the
    baseline's sources. It is chosen as the best of several, so its interval is corrected for their
    number (Bonferroni).
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
            key=lambda pair: pair[0].value,
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
