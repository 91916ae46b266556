"""The similarity of two runs' representations, layer by layer (paper, Sec. 3.2 and Fig. 1).

Linear centred kernel alignment (Kornblith et al. 2019), averaged over all pairs of runs.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch

import nondet_ext
from nondet.analysis.stats import Interval, pair_mean
from nondet.analysis.summary import Summary
from nondet.report.document import Section
from nondet.report.views._common import recorded
from nondet.report.views._layers import Compared, figure, findings, table
from nondet.store import StoredRun

NOTE = (
    "Linear CKA between the representations that two runs have of the test images, averaged over "
    "all pairs of runs, from the first layer to the last; 1 for equal representations. Their 95% "
    "intervals, in the figure, come from a jackknife over runs."
)


def view(summary: Summary) -> Section | None:
    """Return a section on the rows that recorded representations; None without such rows."""
    found = []
    left_out: list[str] = []
    for model in summary.models:
        rows = [
            Compared(row, runs, _alignments(runs))
            for row in model.rows
            if len(runs := recorded(summary, row, "taps", left_out)) >= 2
        ]
        if rows:
            found.append((f"cka-{model.config.model}", model, rows))
    if not found:
        return None
    if len(found) == 1:
        found = [("cka", *found[0][1:])]
    return Section(
        "Representations",
        findings=tuple(sentence for _, model, rows in found for sentence in findings(model, rows)),
        tables=tuple(table(name, model, rows, NOTE) for name, model, rows in found),
        figures=tuple(
            figure(name, model, varied)
            for name, model, rows in found
            if (varied := [compared for compared in rows if compared.row.row.varies])
            and len(varied[0].layers) > 1
        ),
        text=tuple(left_out),
    )


def _alignments(runs: Sequence[StoredRun]) -> dict[str, Interval]:
    """Return the mean CKA over all pairs of runs by layer.

    Only one layer of all runs is in memory at a time: 3.3 GB for the first layer of 25 models of
    the paper's scale.
    """
    keys = sorted(runs[0].records["taps"])
    return {key.partition(".")[2]: _alignment(runs, key) for key in keys}


def _alignment(runs: Sequence[StoredRun], key: str) -> Interval:
    """Return the mean CKA of one layer; NaN if a run's outputs are equal for all examples."""
    features = [torch.tensor(run.records["taps"][key], device="cpu") for run in runs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nondet_ext.DegenerateInputWarning)
        matrix = nondet_ext.linear_cka(features).numpy()
    if not np.isfinite(matrix).all():
        return Interval(np.nan, np.nan, np.nan)
    return pair_mean(matrix, low=-1, high=1)
