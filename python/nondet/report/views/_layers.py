"""A table, a figure and findings on the mean CKA of pairs of runs, layer by layer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.stats import Interval
from nondet.analysis.summary import ModelSummary, RowSummary
from nondet.report import plots
from nondet.report.columns import CKA_DECIMALS
from nondet.report.document import Cell, Column, Figure, Line, Table
from nondet.report.text import describe_seeds, fixed, interval, listing
from nondet.report.views._common import number_cell
from nondet.store import StoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

ACCURACY = 1e-6
"""The accuracy of `nondet_ext.linear_cka`."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A row and the mean CKA of its pairs by layer, in order of depth; NaN where a layer has equal
    outputs for all examples.
    """

    row: RowSummary
    runs: Sequence[StoredRun]
    layers: Mapping[str, Interval]


def findings(model: ModelSummary, rows: Sequence[Compared]) -> list[str]:
    """Return findings on the control, on the range of CKA over layers, and on the sources."""
    name = model.config.model
    sentences = []
    controls = [compared for compared in rows if not compared.row.row.varies]
    if controls and all(
        value.value > 1 - ACCURACY for control in controls for value in control.layers.values()
    ):
        sentences.append(f"{name}: CKA of two runs of the control is 1 at every layer.")
    varied = [compared for compared in rows if compared.row.row.varies]
    layers = [
        layer
        for layer in (varied[0].layers if varied else ())
        if all(np.isfinite(compared.layers[layer].value) for compared in varied)
    ]
    if not layers:
        return sentences
    values = np.array([[compared.layers[layer].value for layer in layers] for compared in varied])
    means = values.mean(axis=0)
    lowest, highest = int(means.argmin()), int(means.argmax())
    if len(layers) > 1:
        sentences.append(
            f"{name}: averaged over sources, CKA of two runs lies between "
            f"{fixed(means[lowest], CKA_DECIMALS)} ({layers[lowest]}) and "
            f"{fixed(means[highest], CKA_DECIMALS)} ({layers[highest]})."
        )
    if len(varied) > 1:
        sentences += _between_sources(name, varied, layers, values)
    return sentences


def _between_sources(
    name: str, varied: Sequence[Compared], layers: Sequence[str], values: np.ndarray
) -> list[str]:
    """Return findings on the largest difference between sources, beside the difference between
    layers, and on the layers at which intervals of sources do not overlap. values: (sources,
    layers).
    """
    gaps = np.ptp(values, axis=0)
    at = int(gaps.argmax())
    ends = [
        f"{compared.row.row.name} {interval(compared.layers[layers[at]], _write)}"
        for compared in (varied[int(values[:, at].argmin())], varied[int(values[:, at].argmax())])
    ]
    comparison = ""
    if len(layers) > 1:
        between_layers = float(np.ptp(values.mean(axis=0)))
        than = "less" if gaps[at] < between_layers else "not less"
        comparison = f", {than} than between layers ({fixed(between_layers, CKA_DECIMALS)})"
    sentences = [
        f"{name}: between sources CKA differs by at most {fixed(gaps[at], CKA_DECIMALS)}"
        f"{comparison}; that is at {layers[at]}: {listing(ends)}."
    ]
    intervals = {layer: [compared.layers[layer] for compared in varied] for layer in layers}
    if all(math.isfinite(end) for known in intervals.values() for ends in known for end in ends):
        apart = [layer for layer in layers if not _overlap(intervals[layer])]
        sentences.append(
            f"{name}: the intervals of some sources do not overlap at {listing(apart)}."
            if apart
            else f"{name}: at every layer the intervals of all sources overlap."
        )
    return sentences


def _write(value: float) -> str:
    return fixed(value, CKA_DECIMALS)


def _overlap(intervals: Sequence[Interval]) -> bool:
    """Return True if every two of the intervals overlap."""
    return max(ends.low for ends in intervals) <= min(ends.high for ends in intervals)


def table(name: str, model: ModelSummary, rows: Sequence[Compared], note: str) -> Table:
    """Return a table called `name` with a line per row and a column per layer."""
    layers = list(rows[0].layers)
    columns = [
        Column("source", "source varied", align="left"),
        Column("runs", "runs"),
        *(Column(f"cka_{layer}", layer) for layer in layers),
    ]
    lines = []
    for compared in rows:
        runs = len(compared.runs)
        cells = [Cell(compared.row.row.name), Cell(str(runs), runs)]
        for layer in layers:
            value = compared.layers[layer]
            cells.append(number_cell(_write(value.value), value.value, ends=value))
        seeds = describe_seeds(run.job for run in compared.runs)
        lines.append(Line(tuple(cells), group=model.config.model, seeds=seeds))
    return Table(
        name, f"CKA of two runs, {model.config.model}", tuple(columns), tuple(lines), note=note
    )


def figure(name: str, model: ModelSummary, rows: Sequence[Compared]) -> Figure:
    """Return a figure called `name` of the table's numbers with their intervals."""
    return Figure(
        name,
        f"CKA by layer, {model.config.model}",
        "Average linear CKA between the representations of two runs, layer by layer from input to "
        "output, for each source of nondeterminism. Bars are 95% intervals from a jackknife over "
        "runs. The axis ends at 1, equal representations, and does not begin at 0.",
        partial(_draw, rows),
        size=(7.0, 4.2),
    )


def _draw(rows: Sequence[Compared], canvas: "Canvas") -> None:
    axes = plots.panels(canvas, 1, 1)[0][0]
    layers = list(rows[0].layers)
    places = np.arange(len(layers))
    lows = []
    for number, compared in enumerate(rows):
        shift = 0.0 if len(rows) == 1 else 0.6 * (number / (len(rows) - 1) - 0.5)
        values = np.array([compared.layers[layer] for layer in layers], np.float64)
        errors = np.abs(values[:, 1:] - values[:, :1]).T
        axes.errorbar(
            places + shift,
            values[:, 0],
            errors,
            label=compared.row.row.name,
            linestyle="none",
            capsize=2,
            elinewidth=1.2,
            **plots.series(number),
        )
        lows.append(values[:, 1])
    finite = [value for value in np.concatenate(lows) if np.isfinite(value)]
    bottom = min(finite, default=0.0)
    axes.set_ylim(max(0.0, bottom - 0.05 * (1 - bottom) - 1e-3), 1 + 0.03 * (1 - bottom) + 5e-4)
    plots.label(axes, "layer", "linear CKA (mean of pairs)")
    for edge in places[:-1] + 0.5:
        axes.axvline(edge, color="#DDDDDD", linewidth=0.8)
    axes.grid(False, axis="x")
    axes.set_xticks(places, layers)
    axes.set_xlim(-0.5, len(layers) - 0.5)
    plots.legend(canvas, [axes])
