"""Figures of spreads: every training's results, standard deviations, and what compares pairs."""

from collections.abc import Sequence

from nondet.analysis.summary import ModelSummary, RowSummary, Statistics
from nondet.report.document import Figure
from nondet.report.views._row_figures import RowFigures, Shown, below


def figures(
    shown: Sequence[tuple[ModelSummary, RowSummary]], order: Sequence[str]
) -> tuple[Figure, ...]:
    """Of all rows with statistics: a figure of the results for every model, then one of standard
    deviations and one of pairs with all models side by side. order: of the rows, by name.
    """
    known: list[Shown[Statistics]] = [
        Shown(model, row, row.statistics) for model, row in shown if row.statistics is not None
    ]
    if not known:
        return ()
    made = RowFigures(known, order)
    return (
        *made.results(
            ("test accuracy (%)", lambda found: found.accuracies),
            ("test cross-entropy (nats)", lambda found: found.cross_entropies),
        ),
        made.deviations(
            ("accuracy SD (percentage points)", lambda found: found.accuracy),
            ("cross-entropy SD (nats)", lambda found: found.cross_entropy),
        ),
        made.pairs(
            "test images on which two disagree, 1 minus Spearman's correlation of their logits, "
            "and by how much averaging the logits of two raises accuracy (pp: percentage "
            "points) and lowers cross-entropy",
            ("disagreement (% of images)", lambda found: found.disagreement),
            ("1 - Spearman correlation", lambda found: below(1, found.correlation)),
            ("ensemble: accuracy gained (pp)", lambda found: found.ensemble_accuracy),
            (
                "ensemble: cross-entropy lost (nats)",
                lambda found: below(0, found.ensemble_cross_entropy),
            ),
        ),
    )
