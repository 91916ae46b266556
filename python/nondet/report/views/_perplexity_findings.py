"""Findings on the spread of language models."""

import math
from collections.abc import Callable, Sequence

from nondet.analysis.language_statistics import LanguageStatistics
from nondet.analysis.stats import Interval
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.control import control_finding
from nondet.report.text import change, correlation, percent, written_interval
from nondet.report.views._row_findings import RowFindings


def findings(summary: Summary, shown: Sequence[tuple[ModelSummary, RowSummary]]) -> tuple[str, ...]:
    """Return findings on the control, on one changed bit, on single sources beside all of them and
    beside each other, and on pairs of runs.
    """
    control = control_finding(summary)
    sentences = [] if control is None else [control]
    rows = RowFindings("perplexity", "", "test tokens")
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


def _pairs(model: str, rows: Sequence[tuple[str, LanguageStatistics]]) -> list[str]:
    """Return a finding on the range over rows of disagreement, correlation and ensembles."""
    if not rows:
        return []
    disagree = _range([(row.disagreement, name) for name, row in rows], _percent)
    alike = _range([(row.correlation, name) for name, row in rows], correlation)
    gained = _range([(row.ensemble_perplexity, name) for name, row in rows], _change)
    return [
        f"{model}: two runs disagree on {disagree} of the test tokens; Spearman's correlation of "
        f"their logits is {alike}; averaging their probabilities changes perplexity by {gained}."
    ]


def _range(values: Sequence[tuple[Interval, str]], write: Callable[[float], str]) -> str:
    """Return the smallest and the largest value with their intervals and rows, one value if they
    are written alike, and a dash if none is finite.
    """
    unknown = (Interval(math.nan, math.nan, math.nan), "")
    known = [pair for pair in values if math.isfinite(pair[0].value)] or [unknown]
    (least, lower), (most, upper) = min(known), max(known)
    if math.isnan(least.value):
        return write(least.value)
    if write(least.value) == write(most.value):
        return _written(least, write)
    return f"{_written(least, write)} ({lower}) to {_written(most, write)} ({upper})"


def _written(value: Interval, write: Callable[[float], str]) -> str:
    ends = written_interval(value, write(value.low), write(value.high))
    return f"{write(value.value)} [{ends}]"


def _percent(value: float) -> str:
    return f"{percent(value)}%"


def _change(value: float) -> str:
    return change(value, 2)
