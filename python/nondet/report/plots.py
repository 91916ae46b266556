"""What the figures of reports have in common: series, panels, axes and legends. Fonts, grids and
the like are set where they are rendered (`nondet.report.render.drawing`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.report.colors import CYCLE, GREY, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SMALL = 9.0
"""The smallest font, in points."""


def series(number: int) -> dict[str, Any]:
    """Colour and marker of the series of this number, counted from 0."""
    return {
        "color": CYCLE[number % len(CYCLE)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
    }


def dashes(number: int) -> str:
    """The line style of the series of this number, for lines without markers."""
    return ("-", "--", "-.", ":")[number % 4]


def panels(canvas: "Canvas", rows: int, columns: int) -> list[list["Axes"]]:
    """A grid of axes."""
    grid = canvas.subplots(rows, columns, squeeze=False)
    return [list(line) for line in grid]


def label(axes: "Axes", x: str, y: str, title: str = "") -> None:
    """Names the axes, with their units."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if title:
        axes.set_title(title)


def legend(canvas: "Canvas", axes: Sequence["Axes"], columns: int = 4) -> None:
    """One legend below all panels, each name once; none where there is nothing to tell apart."""
    entries: dict[str, Any] = {}
    for one in axes:
        for handle, name in zip(*one.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    if entries:
        lines = -(-len(entries) // columns)
        canvas.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=-(-len(entries) // lines),  # the lines about equally long
            fontsize=SMALL,
            frameon=False,
        )


def log_axis(axes: "Axes", *values: np.ndarray) -> bool:
    """Makes the y axis logarithmic, wide enough for every positive one of the values; a plain axis
    that says so where none is positive. Returns whether it is logarithmic.
    """
    positive = [one[one > 0] for one in map(np.asarray, values)]
    found = np.concatenate([one.ravel() for one in positive]) if positive else np.empty(0)
    if found.size == 0:
        axes.set_ylim(0, 1)
        axes.text(0.5, 0.5, "0 throughout", transform=axes.transAxes, ha="center", color=GREY)
        return False
    low, high = np.log10(found.min()), np.log10(found.max())
    margin = max(0.05 * (high - low), 0.2)
    axes.set_yscale("log")
    axes.set_ylim(10 ** (low - margin), 10 ** (high + margin))
    return True


def whole_ticks(axes: "Axes") -> None:
    """Ticks at whole numbers on the x axis (epochs, steps)."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def numbered(names: Sequence[str]) -> Mapping[str, int]:
    """A number for every name: equal names share it."""
    return {name: number for number, name in enumerate(dict.fromkeys(names))}
