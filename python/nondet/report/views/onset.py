"""The spread of a source that varies only from some epoch on (paper, Fig. 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.resampling import bootstrap
from nondet.analysis.stats import Interval, Spread, bootstrap_spread, sd_ratio
from nondet.analysis.summary import RowSummary, Summary
from nondet.report import plots
from nondet.report.columns import PP_NOTE
from nondet.report.document import Cell, Column, Figure, Line, Section, Table
from nondet.report.text import (
    NOTHING,
    describe_seeds,
    interval,
    number,
    percentage_interval,
    plural,
    spread,
)
from nondet.report.views._common import family, number_cell, onset_epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


@dataclass(frozen=True, eq=False)
class _Point:
    """A row whose sources vary after `epoch` epochs, and its spread; accuracies in percent."""

    epoch: int
    row: RowSummary
    accuracies: np.ndarray
    cross_entropies: np.ndarray
    accuracy: Spread
    cross_entropy: Spread


@dataclass(frozen=True, eq=False)
class _Curve:
    """The rows of one model that differ only in onset, in order of onset."""

    model: str
    source: str
    epochs: int
    points: Sequence[_Point]


def view(summary: Summary) -> Section | None:
    """Return a section on sources that vary from different epochs on; None without such rows."""
    curves = _curves(summary)
    if not curves:
        return None
    models = list(dict.fromkeys(curve.model for curve in curves))
    by_model = {model: [curve for curve in curves if curve.model == model] for model in models}
    figure = Figure(
        "onset",
        "Spread against the onset of nondeterminism",
        "Standard deviation of accuracy (left) and cross-entropy (right) of the final models "
        "against the number of epochs trained with every source held, after which one source "
        "varies. Bars are the bootstrap errors of the standard deviations.",
        partial(_draw, by_model),
        size=(7.5, 2.9 * len(models) + 0.6),
    )
    return Section(
        "Onset of nondeterminism",
        findings=tuple(sentence for curve in curves for sentence in _findings(curve)),
        tables=(_table(curves),),
        figures=(figure,),
    )


def _curves(summary: Summary) -> list[_Curve]:
    """Return the rows of at least two runs by model, source and settings, if onsets differ."""
    curves = []
    for model in summary.models:
        groups: dict[str, dict[int, _Point]] = {}
        for row in model.rows:
            epoch = onset_epoch(row.row)
            if epoch is None or row.row.design != "tandem" or len(row.runs) < 2:
                continue
            groups.setdefault(family(row.row), {}).setdefault(epoch, _point(epoch, row))
        for source, by_epoch in groups.items():
            if len(by_epoch) >= 2:
                points = [by_epoch[epoch] for epoch in sorted(by_epoch)]
                curves.append(_Curve(model.config.model, source, model.config.epochs, points))
    return curves


def _point(epoch: int, row: RowSummary) -> _Point:
    accuracies = 100 * np.array([run.accuracy for run in row.runs])
    cross_entropies = np.array([run.cross_entropy for run in row.runs])
    return _Point(
        epoch,
        row,
        accuracies,
        cross_entropies,
        bootstrap_spread(accuracies, bootstrap("onset accuracy")),
        bootstrap_spread(cross_entropies, bootstrap("onset cross-entropy")),
    )


def _findings(curve: _Curve) -> list[str]:
    """Return a finding on the spread of the onsets nearest to the middle and to the end, relative
    to that of the earliest onset.
    """
    first, *later = curve.points
    subject = f"{curve.model}, {curve.source}"
    if first.cross_entropy.sd == 0:
        return [f"{subject}: varied from {_when(first.epoch)}, it spreads no cross-entropy at all."]
    within = [point for point in later if point.epoch < curve.epochs] or later
    middle = min(within, key=lambda point: abs(point.epoch - curve.epochs / 2))
    remaining = ""
    for point in dict.fromkeys((middle, within[-1])):
        share = sd_ratio(point.cross_entropies, first.cross_entropies)
        if not remaining:
            left = percentage_interval(
                share, f"the cross-entropy SD of variation from {_when(first.epoch)}"
            )
            remaining = (
                f"held for the first {point.epoch} of {curve.epochs} epochs it leaves {left}"
            )
        else:
            remaining += f"; held for {point.epoch}, {percentage_interval(share)}"
    return [f"{subject}: {remaining}."]


def _when(held: int) -> str:
    """Return in words when sources begin to vary, after `held` epochs."""
    return "the start" if held == 0 else f"after epoch {held}"


def _table(curves: Sequence[_Curve]) -> Table:
    lines = []
    for curve in curves:
        for point in curve.points:
            runs = point.row.runs
            cells = (
                Cell(curve.source),
                Cell(str(point.epoch), point.epoch),
                Cell(str(len(runs)), len(runs)),
                Cell(spread(point.accuracy, 2), point.accuracy.sd, point.accuracy.error),
                Cell(
                    spread(point.cross_entropy, 4),
                    point.cross_entropy.sd,
                    point.cross_entropy.error,
                ),
                _left(point, curve.points[0]),
            )
            seeds = describe_seeds(run.job for run in runs)
            if point.epoch > 0:
                seeds += f"; all 1 in the first {plural(point.epoch, 'epoch')}"
            lines.append(Line(cells, group=curve.model, seeds=seeds))
    columns = (
        Column("source", "source varied", align="left"),
        Column("onset_epoch", "held for", "epochs"),
        Column("runs", "runs"),
        Column("accuracy_sd", "accuracy SD", "pp"),
        Column("cross_entropy_sd", "cross-entropy SD", "nats", bar=True),
        Column("cross_entropy_left_percent", "of the first", "%"),
    )
    return Table(
        "onset",
        "Spread against the onset of nondeterminism",
        columns,
        tuple(lines),
        note="Held for: epochs trained with every source held, before the source varies. SD: "
        "standard deviation of the final models (divisor n) with its bootstrap error bar. Of "
        "the first: in percent of the cross-entropy SD of the source's first line, both unbiased, "
        "with the 95% interval from a jackknife over trainings, and (-) where there is none. "
        f"{PP_NOTE}",
    )


def _left(point: _Point, first: _Point) -> Cell:
    """Return how much of the first onset's cross-entropy SD a later onset leaves."""
    if point is first:
        return Cell(NOTHING)
    share = Interval(*(100 * end for end in sd_ratio(point.cross_entropies, first.cross_entropies)))
    return number_cell(interval(share, number), share.value, ends=share)


def _draw(models: Mapping[str, Sequence[_Curve]], canvas: "Canvas") -> None:
    grid = plots.panels(canvas, len(models), 2)
    numbers = plots.numbered([curve.source for curves in models.values() for curve in curves])
    for (model, curves), (left, right) in zip(models.items(), grid, strict=True):
        for curve in curves:
            # Shifted sideways, so that equal curves stay visible.
            shift = 0.008 * curve.epochs * (numbers[curve.source] - (len(numbers) - 1) / 2)
            epochs = [point.epoch + shift for point in curve.points]
            style = plots.series(numbers[curve.source]) | {"capsize": 2, "linewidth": 1.3}
            for axes, spreads in (
                (left, [point.accuracy for point in curve.points]),
                (right, [point.cross_entropy for point in curve.points]),
            ):
                axes.errorbar(
                    epochs,
                    [value.sd for value in spreads],
                    [value.error for value in spreads],
                    label=curve.source,
                    **style,
                )
        x = "epochs of deterministic training"
        plots.label(left, x, "accuracy SD (percentage points)", model)
        plots.label(right, x, "cross-entropy SD (nats)", model)
        for axes in (left, right):
            axes.set_ylim(bottom=0)
            plots.whole_ticks(axes)
    plots.legend(canvas, [axes for line in grid for axes in line])
