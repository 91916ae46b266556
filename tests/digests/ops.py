"""Digests of all ops, by family."""

from collections.abc import Callable, Iterator

from digests import comparisons, elements, ordered, recurrences, sums
from digests.cases import Case

FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    family.__name__: family
    for family in (
        sums.sums,
        sums.dots,
        sums.scatters,
        elements.neighbors,
        elements.flips,
        elements.randoms,
        elements.fingerprints,
        comparisons.ranks,
        comparisons.correlations,
        comparisons.predictions,
        comparisons.similarities,
        recurrences.recurrences,
        recurrences.layers,
        ordered.scopes,
    )
}

COMPUTE_NOTHING = {
    "build_info": "describes the compiled module",
    "DegenerateInputWarning": "is a warning",
    "FlipRecord": "is what random_flip returns; its fields and undo() are in random_flip's digests",
}
"""Public callables without digests -> reason."""
