"""Distances between runs and their unchanged twins, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from nondet.analysis.stats import Growth, growth_rates
from nondet.analysis.summary import RowSummary, Summary
from nondet.report.views._common import family, onset_epoch, recorded
from nondet.store import StoredRun

WEIGHTS, LOGITS = "weights", "logits"


@dataclass(frozen=True, eq=False)
class Twins:
    """The runs of a row and their twins, which differ from the first of `steps` on. steps: (T,).
    distances: (runs, T) by quantity. norms: (runs, T), of the twins' weights. name: the model, with
    the source where there are several.
    """

    name: str
    model: str
    source: str
    runs: Sequence[StoredRun]
    steps: np.ndarray
    steps_per_epoch: int
    distances: dict[str, np.ndarray]
    norms: np.ndarray

    @cached_property
    def growth(self) -> dict[str, list[Growth]]:
        """Return the growth of every distance, by quantity and run."""
        return {
            quantity: [growth_rates(self.steps, distance) for distance in distances]
            for quantity, distances in self.distances.items()
        }


def twins_of(summary: Summary, left_out: list[str]) -> list[Twins]:
    """Return, for every model, source and setting, the row with the earliest onset."""
    found = []
    for model in summary.models:
        earliest: dict[str, tuple[int, Twins]] = {}
        for row in model.rows:
            twins = _read(model.config.model, row, recorded(summary, row, "twin", left_out))
            if twins is not None:
                onset = onset_epoch(row.row) or 0
                if twins.source not in earliest or onset < earliest[twins.source][0]:
                    earliest[twins.source] = (onset, twins)
        found += [twins for _, twins in earliest.values()]
    several = len({twins.source for twins in found}) > 1
    return [
        replace(twins, name=f"{twins.model}, {twins.source}" if several else twins.model)
        for twins in found
    ]


def _read(model: str, row: RowSummary, runs: Sequence[StoredRun]) -> Twins | None:
    """Return a row's runs over the steps that all of them recorded; None without such steps."""
    records = [(run, twin) for run in runs if len((twin := run.records["twin"])["step"]) > 1]
    if not records or not row.row.varies:
        return None
    steps = records[0][1]["step"]
    for _, twin in records[1:]:
        steps = np.intersect1d(steps, twin["step"])
    if len(steps) < 2:
        return None
    shared = [np.isin(twin["step"], steps) for _, twin in records]

    def series(name: str) -> np.ndarray:
        """Return an array of the records at the shared steps, (runs, T)."""
        return np.stack(
            [twin[name][chosen] for (_, twin), chosen in zip(records, shared, strict=True)]
        )

    return Twins(
        "",
        model,
        family(row.row),
        [run for run, _ in records],
        steps,
        max(int(steps[-1]) // records[0][0].job.config.epochs, 1),
        {WEIGHTS: series("weights_l2"), LOGITS: series("probe_logits_rms")},
        series("weights_norm"),
    )
