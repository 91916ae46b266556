"""The spread of cross-entropy after a one-bit change, epoch by epoch (Appendix C and Fig. 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.resampling import bootstrap
from nondet.analysis.stats import Spread, bootstrap_spread, sd_ratio, standard_deviation
from nondet.analysis.summary import RowSummary, Summary
from nondet.report import plots
from nondet.report.document import Cell, Column, Figure, Line, Section, Table
from nondet.report.text import describe_seeds, fixed, number, spread, written_interval
from nondet.report.views._common import evaluated, select_epochs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MIDDLE = (2.5, 97.5)
"""The percentiles that bound the middle 95% of the runs."""
FIRST = 10
"""The number of epochs in the second row of the figure."""


@dataclass(frozen=True, eq=False)
class _Course:
    """The runs of one model that differ in one bit. epochs: (E,), those evaluated. cross_entropies:
    (runs, E), in nats.
    """

    name: str
    row: RowSummary
    epochs: np.ndarray
    cross_entropies: np.ndarray

    @property
    def sds(self) -> np.ndarray:
        """Return the standard deviation over the runs at every epoch, (E,)."""
        return np.array([standard_deviation(column) for column in self.cross_entropies.T])

    @property
    def ends(self) -> np.ndarray:
        """Return the ends of the middle 95% of the runs at every epoch, (2, E)."""
        ends: np.ndarray = np.percentile(self.cross_entropies, MIDDLE, axis=0)
        return ends


def view(summary: Summary) -> Section | None:
    """Return a section on runs that differ in one bit; None without such runs."""
    courses = _courses(summary)
    if not courses:
        return None
    longer = any(course.epochs[-1] > FIRST for course in courses)
    caption = (
        "Test cross-entropy of runs that differ in one bit of their initial weights. Left: the "
        "median and the range of the middle 95% of the runs, which where it cannot be seen is "
        "narrower than the line. Right: their standard deviation, on a logarithmic axis."
    )
    if longer:
        caption += f" Above: all epochs; below: the first {FIRST}."
    figure = Figure(
        "epochs",
        "Cross-entropy after a one-bit change, epoch by epoch",
        caption,
        partial(_draw, courses),
        size=(7.5, 5.6 if longer else 3.3),
    )
    return Section(
        "One bit, epoch by epoch",
        findings=tuple(_findings(courses)),
        tables=(_table(courses),),
        figures=(figure,),
    )


def _courses(summary: Summary) -> list[_Course]:
    """Return the rows of at least two runs in which one bit varies from the start."""
    courses = []
    for model in summary.models:
        rows = [
            row
            for row in model.rows
            if row.row.varies == ("bit",) and row.row.onset.bit == 0 and len(row.runs) >= 2
        ]
        for row in rows:
            epochs, cross_entropies = evaluated(row.runs, "test_cross_entropy")
            if len(epochs) > 0:
                name = model.config.model + (f", {row.row.name}" if len(rows) > 1 else "")
                courses.append(_Course(name, row, epochs, cross_entropies))
    return courses


def _findings(courses: Sequence[_Course]) -> list[str]:
    """Return findings on each model's largest and last spread, and on the ratio between the models
    with the largest and the smallest last spread.
    """
    sentences = []
    for course in courses:
        sds = course.sds
        peak = int(sds.argmax())
        if sds[peak] == 0:
            sentences.append(
                f"{course.name}: runs that differ in one bit have equal cross-entropies at every "
                "evaluated epoch."
            )
            continue
        end = number(sds[-1])
        if peak == len(sds) - 1:
            sentences.append(
                f"{course.name}: the cross-entropy SD after a one-bit change is largest at the "
                f"end, {end} nats after epoch {course.epochs[-1]}."
            )
        else:
            sentences.append(
                f"{course.name}: the cross-entropy SD after a one-bit change peaks after epoch "
                f"{course.epochs[peak]} at {number(sds[peak])} nats and is {end} after the last, "
                f"epoch {course.epochs[-1]}."
            )
    ordered = sorted(courses, key=lambda course: -course.sds[-1])
    most, least = ordered[0], ordered[-1]
    if len(courses) > 1 and most.sds[-1] > 0:
        sentences.append(_against(most, least))
    return sentences


def _against(most: _Course, least: _Course) -> str:
    """Return a finding on the ratio of two models' spreads after the last epoch."""
    if least.sds[-1] == 0:
        return (
            f"After the last epoch one bit spreads {most.name} by {number(most.sds[-1])} nats and "
            f"{least.name} not at all."
        )
    ratio = sd_ratio(most.cross_entropies[:, -1], least.cross_entropies[:, -1])
    times = f"{number(ratio.value)} times as far as {least.name}'s"
    if np.isfinite(ratio.low) and np.isfinite(ratio.high):
        times += f" ({written_interval(ratio, number(ratio.low), number(ratio.high))})"
    if ratio.low <= 1 <= ratio.high:
        times += ", an interval that holds 1"
    return f"After the last epoch one bit spreads {most.name}'s cross-entropy {times}."


def _table(courses: Sequence[_Course]) -> Table:
    lines = []
    for course in courses:
        seeds = describe_seeds(run.job for run in course.row.runs)
        low, high = course.ends
        for epoch in select_epochs(course.epochs):
            place = int(np.searchsorted(course.epochs, epoch))
            column = course.cross_entropies[:, place]
            sd = bootstrap_spread(column, bootstrap(f"epochs {epoch}"))
            cells = _cells(epoch, column, low[place], high[place], sd)
            lines.append(Line(cells, course.name, seeds=seeds))
    columns = (
        Column("epoch", "epoch"),
        Column("cross_entropy_mean", "mean", "nats"),
        Column("cross_entropy_low", "2.5%", "nats"),
        Column("cross_entropy_high", "97.5%", "nats"),
        Column("cross_entropy_range", "range", "nats"),
        Column("cross_entropy_sd", "SD", "nats"),
    )
    return Table(
        "epochs",
        "Cross-entropy after a one-bit change",
        columns,
        tuple(lines),
        note="Test cross-entropy of runs that differ in one bit of their initial weights. Range: "
        "between the 2.5th and the 97.5th percentile of the runs. SD: standard deviation (divisor "
        "n) with its bootstrap error bar.",
    )


def _cells(epoch: int, column: np.ndarray, low: float, high: float, sd: Spread) -> tuple[Cell, ...]:
    return (
        Cell(str(epoch), epoch),
        Cell(fixed(column.mean(), 4), float(column.mean())),
        Cell(fixed(low, 4), float(low)),
        Cell(fixed(high, 4), float(high)),
        Cell(number(high - low), float(high - low)),
        Cell(spread(sd, 4), sd.sd, sd.error),
    )


def _draw(courses: Sequence[_Course], canvas: "Canvas") -> None:
    longer = any(course.epochs[-1] > FIRST for course in courses)
    grid = plots.panels(canvas, 2 if longer else 1, 2)
    for line, until in zip(grid, (None, FIRST), strict=False):
        _draw_line(line, courses, until)
    plots.legend(canvas, grid[0])


def _draw_line(line: Sequence["Axes"], courses: Sequence[_Course], until: int | None) -> None:
    """Draw the range and the SD of all models, up to epoch `until` if that is given."""
    left, right = line
    drawn = []
    for place, course in enumerate(courses):
        shown = course.epochs <= (until or course.epochs[-1])
        if not shown.any():
            continue
        epochs, (low, high) = course.epochs[shown], course.ends[:, shown]
        style = plots.series(place)
        if until is None:
            style |= {"marker": "", "linewidth": 1.4}
        median = np.median(course.cross_entropies[:, shown], axis=0)
        left.fill_between(epochs, low, high, color=style["color"], alpha=0.3, linewidth=0)
        left.plot(epochs, median, label=course.name, **style)
        sds = np.where(course.sds > 0, course.sds, np.nan)[shown]
        right.plot(epochs, sds, label=course.name, **style)
        drawn.append(course.sds[shown])
    title = "all epochs" if until is None else f"first {until} epochs"
    plots.label(left, "epoch", "cross-entropy (nats)", title)
    plots.label(right, "epoch", "cross-entropy SD (nats)", title)
    plots.log_axis(right, *drawn)
    for axes in line:
        plots.whole_ticks(axes)
