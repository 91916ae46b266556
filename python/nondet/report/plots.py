"""Series, panels, axes and legends of the figures. Fonts and grids are set in
`nondet.report.render.drawing`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.report.colors import CYCLE, GREY, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SMALL = 9.0
"""The smallest font size, in points."""


def series(number: int) -> dict[str, Any]:
    """Return colour and marker of a series, counted from 0, as keyword arguments of `plot`."""
    return {
        "color": CYCLE[number % len(CYCLE)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
    }


def dashes(number: int) -> str:
    """Return the line style of a series, counted from 0, for lines without markers."""
    return ("-", "--", "-.", ":")[number % 4]


def panels(canvas: "Canvas", rows: int, columns: int) -> list[list["Axes"]]:
    """Add a grid of axes and return it row by row."""
    grid = canvas.subplots(rows, columns, squeeze=False)
    return [list(line) for line in grid]


def label(axes: "Axes", x: str, y: str, title: str = "") -> None:
    """Set the axis labels, and the title if there is one."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if title:
        axes.set_title(title)


def legend(canvas: "Canvas", axes: Sequence["Axes"], columns: int = 4) -> None:
    """Add one legend below all panels, with each name once; none if no series has a name."""
    entries: dict[str, Any] = {}
    for panel in axes:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    if entries:
        lines = -(-len(entries) // columns)
        canvas.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=-(-len(entries) // lines),  # balances the lines
            fontsize=SMALL,
            frameon=False,
        )


def log_axis(axes: "Axes", *values: np.ndarray) -> bool:
    """Make the y axis logarithmic with room for all positive values; where there are none, write
    "0 throughout" on a linear axis. Return True if the axis is logarithmic.
    """
    positive = [array[array > 0] for array in map(np.asarray, values)]
    shown = np.concatenate([array.ravel() for array in positive]) if positive else np.empty(0)
    if shown.size == 0:
        axes.set_ylim(0, 1)
        axes.text(0.5, 0.5, "0 throughout", transform=axes.transAxes, ha="center", color=GREY)
        return False
    low, high = np.log10(shown.min()), np.log10(shown.max())
    margin = max(0.05 * (high - low), 0.2)
    axes.set_yscale("log")
    axes.set_ylim(10 ** (low - margin), 10 ** (high + margin))
    return True


def whole_ticks(axes: "Axes") -> None:
    """Put the ticks of the x axis (epochs, steps) at integers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def numbered(names: Sequence[str]) -> Mapping[str, int]:
    """Number the distinct names from 0, in order of first appearance."""
    return {name: number for number, name in enumerate(dict.fromkeys(names))}
