"""The views: each makes one section of a report from a summary."""

from collections.abc import Callable

from nondet.analysis.summary import Summary
from nondet.names import check_view
from nondet.report.document import Section
from nondet.report.views import (
    barrier,
    cka,
    components,
    divergence,
    ensembles,
    epochs,
    growth,
    onset,
    perplexity,
    predictions,
    spread,
    test_set,
)

VIEWS: dict[str, Callable[[Summary], Section | None]] = {
    "spread": spread.view,
    "perplexity": perplexity.view,
    "test-set": test_set.view,
    "predictions": predictions.view,
    "cka": cka.view,
    "onset": onset.view,
    "epochs": epochs.view,
    "divergence": divergence.view,
    "growth": growth.view,
    "barrier": barrier.view,
    "ensembles": ensembles.view,
    "components": components.view,
}
"""The views by name, in the order of `nondet.names.VIEWS`."""


def make_section(name: str, summary: Summary) -> Section | None:
    """Return the section of a view; None if the study has nothing for it.

    Raises ValueError for an unknown name.
    """
    check_view(name)
    return VIEWS[name](summary)
