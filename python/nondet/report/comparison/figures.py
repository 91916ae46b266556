"""The figure of a comparison: runs of both methods, and the difference beside its margin."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.comparison.result import Comparison, TaskComparison
from nondet.report.colors import GREY
from nondet.report.document import Figure
from nondet.report.plots import SMALL, label, legend, panels, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_APART = 0.22
"""How far the rows of the two methods lie from the middle of their task."""
_BAND = "#E9E9E9"
_LINE = 30
"""Characters a line of the texts beside axes."""
_LONGEST = 40
"""Characters of the longest name that is written in full."""


def comparison_figure(found: Comparison) -> Figure:
    """Return the figure: on the left the score of every run, those of a pair joined; on the right
    the difference with its interval, and the margin as a band.
    """
    joined = ", the runs of a pair joined" if found.pairing.paired else ""
    margin = "" if found.margin is None else f" The band is the margin, {found.margin:g}."
    intervals = "for all tasks at once " if len(found.tasks) > 1 else ""
    caption = (
        f"Left: each point is one run{joined}; bars are means. Right: {found.b} minus {found.a}, "
        f"with the {100 * found.confidence:g}% interval {intervals}around it.{margin}"
    )
    height = 1.5 + (1.3 if len(found.tasks) == 1 else 0.75 * len(found.tasks))
    return Figure(
        "comparison",
        f"{found.b} beside {found.a}",
        caption,
        lambda canvas: _draw(canvas, found),
        (7.5, height),
    )


def _draw(canvas: "Canvas", found: Comparison) -> None:
    ((left, right),) = panels(canvas, 1, 2)
    for place, task in enumerate(found.tasks):
        _runs(left, task, place, found.pairing.paired)
        interval = task.simultaneous
        known = np.isfinite([interval.low, interval.high]).all()
        width = [[interval.value - interval.low], [interval.high - interval.value]]
        right.errorbar(
            [interval.value],
            [place],
            xerr=width if known else None,
            linestyle="none",
            marker="o",
            color="black",
            markersize=5,
        )
    if found.margin is not None:
        right.axvspan(-found.margin, found.margin, color=_BAND, linewidth=0, zorder=0)
    right.axvline(0, color=GREY, linewidth=1)
    unit = " (%)" if found.percent else ""
    label(left, _wrapped(f"{found.score}{unit}"), "")
    a, b = (_cut(name) for name in (found.a, found.b))
    better = b if found.higher_is_better else a
    points = " (points)" if found.percent else ""
    difference = (f"{b} - {a}{points}", f"(right of 0: {better} is better)")
    label(right, "\n".join(map(_wrapped, difference)), "")
    names = [_wrapped(_cut(task.task)) for task in found.tasks]
    for axes, shown in ((left, names), (right, [""] * len(names))):
        axes.set_yticks(range(len(names)), shown, fontsize=SMALL)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
    legend(canvas, [left])


def _cut(name: str) -> str:
    """Return a name, of a long one its beginning and its end."""
    if len(name) <= _LONGEST:
        return name
    half = (_LONGEST - 3) // 2
    return f"{name[:half].rstrip()}...{name[-half:].lstrip()}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _LINE)


def _runs(axes: "Axes", task: TaskComparison, place: int, paired: bool) -> None:
    """Draw the runs of both methods on one task, the baseline above."""
    sides = (task.a, task.b)
    heights = (place - _APART, place + _APART)
    if paired:
        axes.plot(
            np.stack([side.values for side in sides]),
            np.array(heights)[:, None].repeat(len(task.a.values), 1),
            color=GREY,
            linewidth=0.6,
            alpha=0.6,
            zorder=1,
        )
    for number, (side, height) in enumerate(zip(sides, heights, strict=True)):
        look = series(number)
        axes.plot(
            side.values,
            np.full(len(side.values), height),
            linestyle="none",
            alpha=0.7,
            markeredgewidth=0,
            label=_cut(side.name),
            **look,
        )
        axes.vlines(side.mean, height - 0.14, height + 0.14, colors=look["color"], linewidth=2)
