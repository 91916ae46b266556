"""Figures of the spread of language models: results, standard deviations and pairs."""

from collections.abc import Sequence

from nondet.analysis.language_statistics import LanguageStatistics
from nondet.analysis.summary import ModelSummary, RowSummary
from nondet.report.document import Figure
from nondet.report.views._row_figures import RowFigures, Shown, below


def figures(
    shown: Sequence[tuple[ModelSummary, RowSummary]], order: Sequence[str]
) -> tuple[Figure, ...]:
    """Return the figures of all rows with statistics: one of results for every model, then one of
    standard deviations and one of pairs with all models side by side. order: row names from the
    top.
    """
    known: list[Shown[LanguageStatistics]] = [
        Shown(model, row, row.language) for model, row in shown if row.language is not None
    ]
    if not known:
        return ()
    drawn = RowFigures(known, order, "perplexity-")
    return (
        *drawn.results(
            ("test perplexity", lambda row: row.perplexities),
            ("test cross-entropy (nats)", lambda row: row.cross_entropies),
        ),
        drawn.deviations(
            ("perplexity SD", lambda row: row.perplexity),
            ("cross-entropy SD (nats)", lambda row: row.cross_entropy),
        ),
        drawn.pairs(
            "test tokens in whose place two predict different types, 1 minus Spearman's "
            "correlation of their logits, by how much averaging the probabilities of two lowers "
            "perplexity, and 1 minus CKA of their hidden states in the last layer",
            ("disagreement (% of tokens)", lambda row: row.disagreement),
            ("1 - Spearman correlation", lambda row: below(1, row.correlation)),
            ("ensemble: perplexity lost", lambda row: below(0, row.ensemble_perplexity)),
            ("1 - CKA, last layer", lambda row: below(1, row.last_cka)),
        ),
    )
