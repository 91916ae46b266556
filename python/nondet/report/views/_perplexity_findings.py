"""What the spreads of language models say, in plain sentences computed from them."""

import math
from collections.abc import Callable, Sequence

from nondet.analysis.language_statistics import LanguageStatistics
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.control import control_finding
from nondet.report.text import change, correlation, percent
from nondet.report.views._row_findings import Quantity, RowFindings


def findings(summary: Summary, shown: Sequence[tuple[ModelSummary, RowSummary]]) -> tuple[str, ...]:
    """On the control; on the change of one bit; on the sources beside all of them and beside each
    other; on what compares pairs.
    """
    control = control_finding(summary)
    sentences = [] if control is None else [control]
    told = RowFindings("perplexity", "", "test tokens", _quantity)
    sentences += told.one_bit(summary.models)[0]
    for model in summary.models:
        sentences += told.alone(model, "init")
        sentences += told.alone(model, "stochastic")
        sentences += told.one_bit_elsewhere(model)
        sentences += told.beside_each_other(model)
        sentences += _pairs(
            model.config.model,
            [
                (row.row.name, row.language)
                for one, row in shown
                if one is model and row.row.varies and row.language is not None
            ],
        )
    return tuple(sentences)


def _quantity(row: RowSummary) -> Quantity | None:
    found = row.language
    if found is None:
        return None
    return Quantity(found.perplexities, found.perplexity.sd, found.disagreement.value)


def _pairs(model: str, rows: Sequence[tuple[str, LanguageStatistics]]) -> list[str]:
    """Between which values two runs of a row lie in what compares them, row by row."""
    if not rows:
        return []
    disagree = _range([(found.disagreement.value, name) for name, found in rows], _percent)
    alike = _range([(found.correlation.value, name) for name, found in rows], correlation)
    gained = _range([(found.ensemble_perplexity.value, name) for name, found in rows], _change)
    return [
        f"{model}: two runs disagree on {disagree} of the test tokens; Spearman's correlation of "
        f"their logits is {alike}; averaging their probabilities changes perplexity by {gained}."
    ]


def _range(values: Sequence[tuple[float, str]], write: Callable[[float], str]) -> str:
    """The least and the most with their rows, or the one value there is; a dash where none is a
    number.
    """
    known = [one for one in values if math.isfinite(one[0])] or [(math.nan, "")]
    (least, lower), (most, upper) = min(known), max(known)
    if write(least) == write(most):
        return write(least)
    return f"{write(least)} ({lower}) to {write(most)} ({upper})"


def _percent(value: float) -> str:
    return f"{percent(value)}%"


def _change(value: float) -> str:
    return change(value, 2)
