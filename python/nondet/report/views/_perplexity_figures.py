"""Figures of the spread of language models: every training's results, standard deviations, and what
compares pairs.
"""

from collections.abc import Sequence

from nondet.analysis.language_statistics import LanguageStatistics
from nondet.analysis.summary import ModelSummary, RowSummary
from nondet.report.document import Figure
from nondet.report.views._row_figures import RowFigures, Shown, below


def figures(
    shown: Sequence[tuple[ModelSummary, RowSummary]], order: Sequence[str]
) -> tuple[Figure, ...]:
    """Of all rows with statistics: a figure of the results for every model, then one of standard
    deviations and one of pairs with all models side by side. order: of the rows, by name.
    """
    known: list[Shown[LanguageStatistics]] = [
        Shown(model, row, row.language) for model, row in shown if row.language is not None
    ]
    if not known:
        return ()
    made = RowFigures(known, order, "perplexity-")
    return (
        *made.results(
            ("test perplexity", lambda found: found.perplexities),
            ("test cross-entropy (nats)", lambda found: found.cross_entropies),
        ),
        made.deviations(
            ("perplexity SD", lambda found: found.perplexity),
            ("cross-entropy SD (nats)", lambda found: found.cross_entropy),
        ),
        made.pairs(
            "test tokens in whose place two predict different types, 1 minus Spearman's "
            "correlation of their logits, by how much averaging the probabilities of two lowers "
            "perplexity, and 1 minus CKA of their hidden states in the last layer",
            ("disagreement (% of tokens)", lambda found: found.disagreement),
            ("1 - Spearman correlation", lambda found: below(1, found.correlation)),
            ("ensemble: perplexity lost", lambda found: below(0, found.ensemble_perplexity)),
            ("1 - CKA, last layer", lambda found: below(1, found.last_cka)),
        ),
    )
