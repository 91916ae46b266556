"""The growth of the distance between a run and its unchanged twin, step by step.

Finite-time Lyapunov exponents (`nondet.stats.growth_rates`) of training as a dynamical system,
computed from neighbouring trajectories of weights as by Danovski, Soriano and Lacasa (2024,
"Dynamical stability and chaos in artificial neural network trajectories along training"). The small
change is that of the paper's Sec. 4.1, the linear model that of its Sec. 4.2.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.summary import Summary
from nondet.report import plots
from nondet.report.document import Cell, Column, Figure, Line, Section, Table
from nondet.report.text import NOTHING, between, describe_seeds, factor, number, plural
from nondet.report.views._twins import LOGITS, WEIGHTS, Twins, twins_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_POINTS = 400  # per line; more would look the same and take megabytes
_THIN = 12  # the most single runs drawn

_AXES = {WEIGHTS: "distance of weights (L2)", LOGITS: "distance of logits (RMS)"}


def view(summary: Summary) -> Section | None:
    """Return a section on the rows that recorded their twins; None without such rows."""
    left_out: list[str] = []
    found = twins_of(summary, left_out)
    if not found:
        return None
    figure = Figure(
        "growth",
        "Distance between twins, step by step",
        "Distance between a run and its unchanged twin after every step, on logarithmic axes: L2 "
        "of all weights (left) and root mean square of the logits of at most 256 test images "
        f"(right). Thin: single runs, at most {_THIN}; thick: the median of all runs. "
        "A distance of 0 does not appear."
        + (" Below: the first steps." if _first_steps(found) else ""),
        partial(_draw, found),
        size=(7.5, 5.8 if _first_steps(found) else 3.5),
    )
    return Section(
        "Growth of a small change",
        findings=tuple(_findings(found)),
        tables=(_table(found),),
        figures=(figure,),
        text=tuple(left_out),
    )


# -- sentences ---------------------------------------------------------------------------------


def _findings(found: Sequence[Twins]) -> list[str]:
    """Return a finding on the growth of each row's distance, and for every source one on the ratio
    between the models with the largest and the smallest last distance.
    """
    sentences = [f"{twins.name}: {_course(twins)}." for twins in found]
    for source in dict.fromkeys(twins.source for twins in found):
        alike = [twins for twins in found if twins.source == source]
        ends = [float(np.median(twins.distances[WEIGHTS][:, -1])) for twins in alike]
        most, least = int(np.argmax(ends)), int(np.argmin(ends))
        if ends[least] > 0 and ends[most] > 2 * ends[least]:
            sentences.append(
                f"After the last step the weights of {alike[most].name} are "
                f"{factor(ends[most] / ends[least])} times as far apart as those of "
                f"{alike[least].name} (medians)."
            )
    return sentences


def _course(twins: Twins) -> str:
    """Return in words how the distance of the weights grows."""
    growth = twins.growth[WEIGHTS]
    ends = twins.distances[WEIGHTS][:, -1]
    if not ends.any():
        return "in every run the weights end equal to the twin's"
    end = f"{number(float(np.median(ends)))} after the last step, {_of_norm(twins)} of their norm"
    growing = [run for run in growth if run.exponential]
    if not growing:
        return (
            f"the distance of the weights does not grow exponentially in any of "
            f"{plural(len(growth), 'run')}; it is {end} (median)"
        )
    every = len(growing) == len(growth)
    runs = (
        f"in {'each of ' if len(growth) > 1 else ''}{plural(len(growth), 'run')}"
        if every
        else f"in {len(growing)} of {len(growth)} runs"
    )
    exponents = [run.lyapunov for run in growing]
    course = (
        f"the distance of the weights grows exponentially {runs}, with a finite-time Lyapunov "
        f"exponent of {_median(exponents)} per step "
        f"({number(float(np.median(exponents)) * twins.steps_per_epoch)} per epoch): it doubles "
        f"every {_median([run.doubling_steps for run in growing])} steps"
    )
    stops = [run.saturation_step for run in growing if run.saturation_step is not None]
    if len(stops) == len(growing):
        epochs = number(float(np.median(stops)) / twins.steps_per_epoch)
        course += f" and nears its last level after {_median(stops)} steps (epoch {epochs})"
    leap = number(float(np.median(_leaps(twins.distances[WEIGHTS]))))
    return f"{course}; a single step multiplies it by up to {leap}; it is {end} (medians)"


def _of_norm(twins: Twins) -> str:
    """Return the last distance in percent of the norm of the twin's weights."""
    share = 100 * twins.distances[WEIGHTS][:, -1] / twins.norms[:, -1]
    return f"{number(float(np.median(share)))}%"


def _median(values: Sequence[float], write: Callable[[float], str] = number) -> str:
    """Return the median of some numbers, with their range if they differ."""
    middle, low, high = write(float(np.median(values))), write(min(values)), write(max(values))
    return middle if low == high else f"{middle} ({between(low, high)})"


# -- table -------------------------------------------------------------------------------------


def _table(found: Sequence[Twins]) -> Table:
    lines = []
    for twins in found:
        seeds = describe_seeds(run.job for run in twins.runs) + "; twins: all 1"
        for quantity, distances in twins.distances.items():
            growth = twins.growth[quantity]
            growing = [run for run in growth if run.exponential]
            stops = [run.saturation_step for run in growth if run.saturation_step is not None]
            exponents = [run.lyapunov for run in growth if np.isfinite(run.lyapunov)]
            per_epoch = [exponent * twins.steps_per_epoch for exponent in exponents]
            cells = (
                Cell(quantity),
                Cell(str(len(growth)), len(growth)),
                _medians(distances[:, 0], ranges=False),
                _medians(distances[:, -1], ranges=False),
                _medians(exponents),
                _medians(per_epoch, ranges=False),
                Cell(f"{len(growing)}/{len(growth)}", len(growing)),
                _medians([run.doubling_steps for run in growing], ranges=False),
                _medians(stops, ranges=False),
                _medians(_leaps(distances), ranges=False),
            )
            lines.append(Line(cells, twins.name, seeds=seeds))
    columns = (
        Column("quantity", "distance of", align="left"),
        Column("runs", "runs"),
        Column("first_distance", "first"),
        Column("last_distance", "last"),
        Column("lyapunov_per_step", "Lyapunov", "1/step"),
        Column("lyapunov_per_epoch", "Lyapunov", "1/epoch"),
        Column("exponential_runs", "exponential", "runs"),
        Column("doubling_steps", "doubles in", "steps"),
        Column("saturation_step", "saturates at", "step"),
        Column("largest_step_factor", "largest step", "factor"),
    )
    return Table(
        "growth",
        "Growth of the distance between twins",
        columns,
        tuple(lines),
        note="Medians over the runs. Distance of weights: L2 norm; of logits: root mean square on "
        "at most 256 test images; after the first and the last step. Lyapunov: the finite-time "
        "exponent ln(d1/d0)/(t1 - t0), with its range over the runs, of the steps until the "
        "distance nears its last level, of all where it does not. Doubling: where the growth is "
        "exponential. Saturates: the first step at half of the last level. Largest "
        "step: the highest factor by which one step multiplies the distance.",
    )


def _medians(values: Sequence[float] | np.ndarray, ranges: bool = True) -> Cell:
    """Return a cell with the median, and the range over the runs; a dash for no values."""
    if len(values) == 0:
        return Cell(NOTHING)
    middle = float(np.median(values))
    ends = float(np.min(values)), float(np.max(values))
    text = _median([*map(float, values)]) if ranges else number(middle)
    return Cell(text, middle, interval=ends if ranges else None)


def _leaps(distances: np.ndarray) -> np.ndarray:
    """Return each run's largest factor of a single step, (runs,); 0 if no distance is positive."""
    before, after = distances[:, :-1], distances[:, 1:]
    factors = np.divide(after, before, out=np.zeros_like(after), where=before > 0)
    leaps: np.ndarray = factors.max(axis=1)
    return leaps


# -- figure ------------------------------------------------------------------------------------


def _first_steps(found: Sequence[Twins]) -> int | None:
    """Return the last step of the figure's second row, which enlarges the beginning; None if no
    distance nears its last level in the first half.
    """
    stops = [
        run.saturation_step
        for twins in found
        for run in twins.growth[WEIGHTS]
        if run.exponential and run.saturation_step is not None
    ]
    until = 2 * max(stops, default=0)
    last = max(int(twins.steps[-1]) for twins in found)
    return until if 0 < until < last / 2 else None


def _draw(found: Sequence[Twins], canvas: "Canvas") -> None:
    until = _first_steps(found)
    spans = [None] if until is None else [None, until]
    grid = plots.panels(canvas, len(spans), 2)
    for line, span in zip(grid, spans, strict=True):
        for axes, quantity in zip(line, _AXES, strict=True):
            _draw_distances(axes, found, quantity, span)
    plots.legend(canvas, grid[0])


def _draw_distances(axes: "Axes", found: Sequence[Twins], quantity: str, until: int | None) -> None:
    """Draw one quantity of single runs and its median, up to step `until` if that is given."""
    drawn = []
    for place, twins in enumerate(found):
        shown = np.flatnonzero(twins.steps <= (until or twins.steps[-1]))
        if len(shown) == 0:
            continue
        at = shown[np.unique(np.linspace(0, len(shown) - 1, _POINTS).astype(int))]
        distances = twins.distances[quantity][:, at]
        color = plots.series(place)["color"]
        for distance in distances[:_THIN]:
            axes.plot(
                twins.steps[at],
                np.where(distance > 0, distance, np.nan),
                color=color,
                alpha=0.35,
                linewidth=0.6,
            )
        median = np.median(distances, axis=0)
        axes.plot(
            twins.steps[at],
            np.where(median > 0, median, np.nan),
            color=color,
            linewidth=2,
            linestyle=plots.dashes(place),
            label=twins.name,
        )
        drawn.append(distances)
    plots.log_axis(axes, *drawn)
    plots.label(axes, "optimizer step", _AXES[quantity], "" if until is None else "first steps")
    plots.whole_ticks(axes)
