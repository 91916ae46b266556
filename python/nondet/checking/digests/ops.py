"""Digests of all ops, by family."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from nondet.checking.digests import comparisons, elements, ordered, recurrences, sums
from nondet.checking.digests.cases import Case

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

NOT_ON_DEVICES = {
    "scopes": "torch's own operators, whose CUDA kernels contract additions and products",
}
"""Families whose bits are promised on the CPU alone -> reason."""

DIGESTS = Path(__file__).with_name("op_digests.json")
"""The permanent digests: family -> name -> digest."""


def permanent_digests() -> dict[str, dict[str, str]]:
    """Return the permanent digests of every family, without those of dtypes that this version of
    torch lacks, such as bcomplex32 before 2.14.
    """
    held: dict[str, dict[str, str]] = json.loads(DIGESTS.read_text())
    return {
        family: {
            name: digest for name, digest in digests.items() if hasattr(torch, name.split("/")[1])
        }
        for family, digests in held.items()
    }
