"""Figures of the spread on images: results, standard deviations and pairs."""

from collections.abc import Sequence

from nondet.analysis.summary import ModelSummary, RowSummary, Statistics
from nondet.report.document import Figure
from nondet.report.views._row_figures import RowFigures, Shown, below


def figures(
    shown: Sequence[tuple[ModelSummary, RowSummary]], order: Sequence[str]
) -> tuple[Figure, ...]:
    """Return the figures of all rows with statistics: one of results for every model, then one of
    standard deviations and one of pairs with all models side by side. order: row names from the
    top.
    """
    known: list[Shown[Statistics]] = [
        Shown(model, row, row.statistics) for model, row in shown if row.statistics is not None
    ]
    if not known:
        return ()
    drawn = RowFigures(known, order)
    return (
        *drawn.results(
            ("test accuracy (%)", lambda row: row.accuracies),
            ("test cross-entropy (nats)", lambda row: row.cross_entropies),
        ),
        drawn.deviations(
            ("accuracy SD (percentage points)", lambda row: row.accuracy),
            ("cross-entropy SD (nats)", lambda row: row.cross_entropy),
        ),
        drawn.pairs(
            "test images on which two disagree, 1 minus Spearman's correlation of their logits, "
            "and by how much averaging the logits of two raises accuracy (pp: percentage "
            "points) and lowers cross-entropy",
            ("disagreement (% of images)", lambda row: row.disagreement),
            ("1 - Spearman correlation", lambda row: below(1, row.correlation)),
            ("ensemble: accuracy gained (pp)", lambda row: row.ensemble_accuracy),
            (
                "ensemble: cross-entropy lost (nats)",
                lambda row: below(0, row.ensemble_cross_entropy),
            ),
        ),
    )
