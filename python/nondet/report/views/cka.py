"""How alike the representations of two runs are, layer by layer (paper, Sec. 3.2 and Fig. 1).

Linear centred kernel alignment of Kornblith et al. (2019), averaged over all pairs of runs.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

import nondet_ext
from nondet.report import plots
from nondet.report.document import Cell, Column, Figure, Line, Section, Table
from nondet.report.summary import ModelSummary, RowSummary, Summary, bootstrap
from nondet.report.text import describe_seeds, fixed, interval, listing
from nondet.report.views._common import measured, recorded
from nondet.stats import Interval, pair_mean
from nondet.store import StoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

DECIMALS = 3
ACCURACY = 1e-6
"""That of `nondet_ext.linear_cka`."""


@dataclass(frozen=True, eq=False)
class _Compared:
    """A row and, by layer in order of depth, the mean CKA of its pairs; NaN where a representation
    is the same for all images.
    """

    row: RowSummary
    runs: Sequence[StoredRun]
    layers: Mapping[str, Interval]


def view(summary: Summary) -> Section | None:
    """A table, a figure and a sentence per model whose rows recorded representations."""
    found = []
    left_out: list[str] = []
    for model in summary.models:
        rows = [
            _Compared(row, runs, _alignments(runs))
            for row in model.rows
            if len(runs := recorded(summary, row, "taps", left_out)) >= 2
        ]
        if rows:
            found.append((model, rows))
    if not found:
        return None
    several = len(found) > 1
    return Section(
        "Representations",
        findings=tuple(sentence for model, rows in found for sentence in _findings(model, rows)),
        tables=tuple(_table(model, rows, several) for model, rows in found),
        figures=tuple(
            _figure(model, varied, several)
            for model, rows in found
            if (varied := [one for one in rows if one.row.row.varies]) and len(varied[0].layers) > 1
        ),
        text=tuple(left_out),
    )


def _alignments(runs: Sequence[StoredRun]) -> dict[str, Interval]:
    """Mean CKA over all pairs of runs, layer by layer. Only one layer of all runs is in memory at a
    time: 3.3 GB for the first of 25 models of the paper's scale.
    """
    keys = sorted(runs[0].records["taps"])
    return {key.partition(".")[2]: _alignment(runs, key) for key in keys}


def _alignment(runs: Sequence[StoredRun], key: str) -> Interval:
    features = [torch.tensor(run.records["taps"][key]) for run in runs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nondet_ext.DegenerateInputWarning)
        matrix = nondet_ext.linear_cka(features).numpy()
    if not np.isfinite(matrix).all():
        return Interval(np.nan, np.nan, np.nan)
    return pair_mean(matrix, bootstrap(f"cka {key}"))


def _findings(model: ModelSummary, rows: Sequence[_Compared]) -> list[str]:
    name = model.config.model
    sentences = []
    exact = [one for one in rows if not one.row.row.varies]
    if exact and all(value.value > 1 - ACCURACY for one in exact for value in one.layers.values()):
        sentences.append(f"{name}: CKA of two runs of the control is 1 at every layer.")
    varied = [one for one in rows if one.row.row.varies]
    layers = [
        layer
        for layer in (varied[0].layers if varied else ())
        if all(np.isfinite(one.layers[layer].value) for one in varied)
    ]
    if not layers:
        return sentences
    values = np.array([[one.layers[layer].value for layer in layers] for one in varied])
    means = values.mean(axis=0)
    lowest, highest = int(means.argmin()), int(means.argmax())
    if len(layers) > 1:
        sentences.append(
            f"{name}: averaged over sources, CKA of two runs lies between "
            f"{fixed(means[lowest], DECIMALS)} ({layers[lowest]}) and "
            f"{fixed(means[highest], DECIMALS)} ({layers[highest]})."
        )
    if len(varied) > 1:
        sentences += _between_sources(name, varied, layers, values)
    return sentences


def _between_sources(
    name: str, varied: Sequence[_Compared], layers: Sequence[str], values: np.ndarray
) -> list[str]:
    """How far sources are apart at the layer where they are furthest, beside how far layers are,
    and at which layers their intervals tell them apart. values: (sources, layers).
    """
    gaps = np.ptp(values, axis=0)
    at = int(gaps.argmax())
    ends = [
        f"{one.row.row.name} {interval(one.layers[layers[at]], _write)}"
        for one in (varied[int(values[:, at].argmin())], varied[int(values[:, at].argmax())])
    ]
    told = ""
    if len(layers) > 1:
        between_layers = float(np.ptp(values.mean(axis=0)))
        than = "less" if gaps[at] < between_layers else "not less"
        told = f", {than} than between layers ({fixed(between_layers, DECIMALS)})"
    apart = [layer for layer in layers if not _overlap([one.layers[layer] for one in varied])]
    return [
        f"{name}: between sources CKA differs by at most {fixed(gaps[at], DECIMALS)}{told}; that "
        f"is at {layers[at]}: {listing(ends)}.",
        f"{name}: the intervals of some sources do not overlap at {listing(apart)}."
        if apart
        else f"{name}: at every layer the intervals of all sources overlap.",
    ]


def _write(value: float) -> str:
    return fixed(value, DECIMALS)


def _overlap(intervals: Sequence[Interval]) -> bool:
    """Whether every two of the intervals have a point in common."""
    return max(one.low for one in intervals) <= min(one.high for one in intervals)


def _table(model: ModelSummary, rows: Sequence[_Compared], several: bool) -> Table:
    layers = list(rows[0].layers)
    columns = [
        Column("source", "source varied", align="left"),
        Column("runs", "runs"),
        *(Column(f"cka_{layer}", layer) for layer in layers),
    ]
    lines = []
    for one in rows:
        cells = [Cell(one.row.row.name), Cell(str(len(one.runs)), len(one.runs))]
        for layer in layers:
            value = one.layers[layer]
            cells.append(measured(_write(value.value), value.value, ends=value))
        seeds = describe_seeds(run.job for run in one.runs)
        lines.append(Line(tuple(cells), group=model.config.model, seeds=seeds))
    return Table(
        f"cka-{model.config.model}" if several else "cka",
        f"CKA of two runs, {model.config.model}",
        tuple(columns),
        tuple(lines),
        note="Linear CKA between the representations that two runs have of the test images, "
        "averaged over all pairs of runs, from the first layer to the last; 1 for equal "
        "representations. Their 95% intervals, in the figure, come from a bootstrap over runs.",
    )


def _figure(model: ModelSummary, rows: Sequence[_Compared], several: bool) -> Figure:
    return Figure(
        f"cka-{model.config.model}" if several else "cka",
        f"CKA by layer, {model.config.model}",
        "Average linear CKA between the representations of two runs, layer by layer from input to "
        "output, for each source of nondeterminism. Bars are 95% intervals from a bootstrap over "
        "runs. The axis ends at 1, equal representations, and does not begin at 0.",
        partial(_draw, rows),
        size=(7.0, 4.2),
    )


def _draw(rows: Sequence[_Compared], canvas: "Canvas") -> None:
    axes = plots.panels(canvas, 1, 1)[0][0]
    layers = list(rows[0].layers)
    places = np.arange(len(layers))
    lows = []
    for number, one in enumerate(rows):
        shift = 0.0 if len(rows) == 1 else 0.6 * (number / (len(rows) - 1) - 0.5)
        values = np.array([one.layers[layer] for layer in layers], np.float64)
        errors = np.abs(values[:, 1:] - values[:, :1]).T
        axes.errorbar(
            places + shift,
            values[:, 0],
            errors,
            label=one.row.row.name,
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
