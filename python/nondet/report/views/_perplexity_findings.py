"""Findings on the spread of language models."""

import math
from collections.abc import Callable, Sequence

from nondet.analysis.language_statistics import LanguageStatistics
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.control import control_finding
from nondet.report.text import change, correlation, percent
from nondet.report.views._row_findings import Quantity, RowFindings


def findings(summary: Summary, shown: Sequence[tuple[ModelSummary, RowSummary]]) -> tuple[str, ...]:
    """Return findings on the control, on one changed bit, on single sources beside all of them and
    beside each other, and on pairs of runs.
    """
    control = control_finding(summary)
    sentences = [] if control is None else [control]
    rows = RowFindings("perplexity", "", "test tokens", _quantity)
    sentences += rows.one_bit(summary.models)[0]
    for model in summary.models:
        sentences += rows.alone(model, "init")
        sentences += rows.alone(model, "stochastic")
        sentences += rows.one_bit_elsewhere(model)
        sentences += rows.beside_each_other(model)
        sentences += _pairs(
            model.config.model,
            [
                (row.row.name, row.language)
                for owner, row in shown
                if owner is model and row.row.varies and row.language is not None
            ],
        )
    return tuple(sentences)


def _quantity(row: RowSummary) -> Quantity | None:
    statistics = row.language
    if statistics is None:
        return None
    return Quantity(
        statistics.perplexities, statistics.perplexity.sd, statistics.disagreement.value
    )


def _pairs(model: str, rows: Sequence[tuple[str, LanguageStatistics]]) -> list[str]:
    """Return a finding on the range over rows of disagreement, correlation and ensembles."""
    if not rows:
        return []
    disagree = _range([(row.disagreement.value, name) for name, row in rows], _percent)
    alike = _range([(row.correlation.value, name) for name, row in rows], correlation)
    gained = _range([(row.ensemble_perplexity.value, name) for name, row in rows], _change)
    return [
        f"{model}: two runs disagree on {disagree} of the test tokens; Spearman's correlation of "
        f"their logits is {alike}; averaging their probabilities changes perplexity by {gained}."
    ]


def _range(values: Sequence[tuple[float, str]], write: Callable[[float], str]) -> str:
    """Return the smallest and the largest value with their rows, one value if they are written
    alike, and a dash if none is finite.
    """
    known = [pair for pair in values if math.isfinite(pair[0])] or [(math.nan, "")]
    (least, lower), (most, upper) = min(known), max(known)
    if write(least) == write(most):
        return write(least)
    return f"{write(least)} ({lower}) to {write(most)} ({upper})"


def _percent(value: float) -> str:
    return f"{percent(value)}%"


def _change(value: float) -> str:
    return change(value, 2)
