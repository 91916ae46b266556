"""Barriers of error and loss on the line between twins, against the epoch at which they part.

The instability analysis of Frankle et al. (2020, "Linear Mode Connectivity and the Lottery Ticket
Hypothesis"): two copies of a network trained alike for k epochs and then apart are linearly
connected if the error on the line between them never rises by 2% or more above the mean of its
ends, taken here above the straight line between them (`nondet.analysis.stats.barrier`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.stats import barrier
from nondet.analysis.summary import RowSummary, Summary
from nondet.report import plots
from nondet.report.colors import GREY
from nondet.report.columns import PP_NOTE
from nondet.report.document import Cell, Column, Figure, Line, Section, Table
from nondet.report.text import describe_seeds, number, percent, plural
from nondet.report.views._common import family, onset_epoch, recorded
from nondet.store import StoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

CONNECTED = 2.0
"""The error barrier, in percentage points, below which twins count as linearly connected."""

PATHS = {
    "train_error": ("error, training images", "percentage points"),
    "test_error": ("error, test images", "percentage points"),
    "train_cross_entropy": ("cross-entropy, training images", "nats"),
    "test_cross_entropy": ("cross-entropy, test images", "nats"),
}


@dataclass(frozen=True, eq=False)
class _Point:
    """The barriers of the runs whose sources vary after `epoch` epochs, (runs,) by name; errors are
    in percentage points.
    """

    epoch: int
    runs: Sequence[StoredRun]
    barriers: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Curve:
    """The rows of one model that differ only in onset, in order of onset."""

    model: str
    source: str
    epochs: int
    points: Sequence[_Point]


def view(summary: Summary) -> Section | None:
    """Return a section on the barriers between runs and their twins; None without such records."""
    left_out: list[str] = []
    curves = _curves(summary, left_out)
    if not curves:
        return None
    models = list(dict.fromkeys(curve.model for curve in curves))
    return Section(
        "Barriers between twins",
        findings=tuple(_finding(curve) for curve in curves),
        tables=(_table(curves),),
        figures=tuple(
            _figure(model, [curve for curve in curves if curve.model == model], len(models) > 1)
            for model in models
        ),
        text=tuple(left_out),
    )


def _curves(summary: Summary, left_out: list[str]) -> list[_Curve]:
    """Return the rows with twins by model, source and settings."""
    curves = []
    for model in summary.models:
        groups: dict[str, dict[int, _Point]] = {}
        for row in model.rows:
            point = _point(row, recorded(summary, row, "twin", left_out))
            if point is not None:
                groups.setdefault(family(row.row), {}).setdefault(point.epoch, point)
        for source, by_epoch in groups.items():
            points = [by_epoch[epoch] for epoch in sorted(by_epoch)]
            curves.append(_Curve(model.config.model, source, model.config.epochs, points))
    return curves


def _point(row: RowSummary, runs: Sequence[StoredRun]) -> _Point | None:
    """Return a row's barriers; rows that vary the initial weights have onset 0."""
    if not runs or not row.row.varies:
        return None
    epoch = 0 if "init" in row.row.varies else onset_epoch(row.row)
    if epoch is None:
        return None
    barriers = {
        name: np.array([_height(run.records["twin"][f"path_{name}"]) for run in runs])
        * (100 if unit == "percentage points" else 1)
        for name, (_, unit) in PATHS.items()
    }
    return _Point(epoch, runs, barriers)


def _height(path: np.ndarray) -> float:
    """Return the barrier of a path; infinite if predictions on it are not finite."""
    return barrier(path) if np.isfinite(path).all() else np.inf


def _finding(curve: _Curve) -> str:
    """Return a finding on the onset from which the mean barrier stays below `CONNECTED`."""
    subject = f"{curve.model}, {curve.source}"
    means = [float(point.barriers["test_error"].mean()) for point in curve.points]
    below = [mean < CONNECTED for mean in means]
    first = f"{percent(max(means[0], 0))} percentage points"
    limit = f"{CONNECTED:.0f} percentage points of test error"
    if all(below):
        many = len(below) > 1
        outcome = (
            f"twins are linearly connected {'from every onset on' if many else 'at the end'}: on "
            f"the line between them no mean barrier reaches {limit} ({first} with an onset at "
            f"{_when(curve.points[0].epoch)})"
        )
    elif not below[-1]:
        onset = _when(curve.points[-1].epoch)
        last = f"{percent(means[-1])} percentage points with an onset at {onset}"
        outcome = f"twins are not linearly connected: the mean barrier is {last}, above {limit}"
    else:
        place = len(below) - below[::-1].index(False)
        outcome = (
            f"twins are linearly connected, with a mean barrier below {limit}, once they are held "
            f"equal for {plural(curve.points[place].epoch, 'epoch')} of {curve.epochs}; with an "
            f"onset at {_when(curve.points[0].epoch)} it is {first}"
        )
    return f"{subject}: {outcome}."


def _when(epoch: int) -> str:
    return "the start" if epoch == 0 else f"epoch {epoch}"


def _table(curves: Sequence[_Curve]) -> Table:
    lines = []
    for curve in curves:
        for point in curve.points:
            means = {name: float(values.mean()) for name, values in point.barriers.items()}
            most = float(point.barriers["test_error"].max())
            cells = (
                Cell(curve.source),
                Cell(str(point.epoch), point.epoch),
                Cell(str(len(point.runs)), len(point.runs)),
                Cell(percent(means["train_error"]), means["train_error"]),
                Cell(percent(means["test_error"]), means["test_error"]),
                Cell(percent(most), most),
                Cell(number(means["train_cross_entropy"]), means["train_cross_entropy"]),
                Cell(number(means["test_cross_entropy"]), means["test_cross_entropy"]),
            )
            seeds = describe_seeds(run.job for run in point.runs) + "; twins: all 1"
            lines.append(Line(cells, curve.model, seeds=seeds))
    columns = (
        Column("source", "source varied", align="left"),
        Column("onset_epoch", "held for", "epochs"),
        Column("runs", "runs"),
        Column("train_error", "train error", "pp"),
        Column("test_error", "test error", "pp"),
        Column("test_error_largest", "largest", "pp"),
        Column("train_cross_entropy", "train c.-e.", "nats"),
        Column("test_cross_entropy", "test c.-e.", "nats"),
    )
    return Table(
        "barrier",
        "Barriers on the line between twins",
        columns,
        tuple(lines),
        note="How far error and cross-entropy rise on the straight line between the final weights "
        "of a run and its twin, above the straight line between the two ends: means over the "
        "runs, and the largest test error, on training and test images (c.-e.: cross-entropy). "
        "Batch-norm statistics are recomputed at every point of the line. Held for: epochs trained "
        f"alike. {PP_NOTE}",
    )


def _figure(model: str, curves: Sequence[_Curve], several: bool) -> Figure:
    return Figure(
        f"barrier-{model}" if several else "barrier",
        f"Barrier between twins against onset, {model}",
        "The highest rise of error (above) and cross-entropy (below) on the straight line between "
        "the final weights of a run and its twin, against the number of epochs that they are "
        "trained alike; left on the training images, right on the test images. Points: single "
        "runs; lines: their means. Dashed: the 2 percentage points below which Frankle et al. "
        "(2020) call networks linearly connected.",
        partial(_draw, curves),
        size=(7.5, 5.8),
    )


def _draw(curves: Sequence[_Curve], canvas: "Canvas") -> None:
    grid = plots.panels(canvas, 2, 2)
    axes_of = [axes for line in grid for axes in line]
    for axes, (name, (heading, unit)) in zip(axes_of, PATHS.items(), strict=True):
        if unit == "percentage points":
            axes.axhline(
                CONNECTED, color=GREY, linestyle="--", linewidth=1, label="2 percentage points"
            )
        widest = max(point.epoch for curve in curves for point in curve.points) or 1
        for number_, curve in enumerate(curves):
            style = plots.series(number_)
            shift = 0.012 * widest * (number_ - (len(curves) - 1) / 2)
            epochs = np.array([point.epoch for point in curve.points]) + shift
            for epoch, point in zip(epochs, curve.points, strict=True):
                values = point.barriers[name]
                axes.plot(
                    np.full(len(values), epoch),
                    values,
                    linestyle="none",
                    alpha=0.35,
                    markeredgewidth=0,
                    **style | {"markersize": 3.5},
                )
            means = [float(point.barriers[name].mean()) for point in curve.points]
            axes.plot(epochs, means, label=curve.source, linewidth=1.4, **style)
        plots.label(axes, "epochs trained alike", f"barrier ({unit})", heading)
        plots.whole_ticks(axes)
    plots.legend(canvas, axes_of)
