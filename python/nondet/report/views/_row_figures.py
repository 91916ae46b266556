"""Figures with a line per row: results of every training, standard deviations, means of pairs.

A view chooses which of a row's statistics they show.
"""

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from nondet.analysis.stats import Interval, Spread
from nondet.analysis.summary import ModelSummary, RowSummary
from nondet.report.colors import GREY
from nondet.report.document import Figure
from nondet.report.plots import SMALL, label, legend, panels, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

VIOLIN_FROM = 30
"""The fewest runs for which a density is drawn."""
LOG_FROM = 30
"""The largest ratio of standard deviations on a linear axis."""
NAME_WIDTH = 22
BAND = "#F3F3F3"
"""The background of every second row."""
_WIDTH = 7.5

Kind = TypeVar("Kind")
"""The kind of statistics: of images or of language models."""


class Shown(NamedTuple, Generic[Kind]):
    """A row with its statistics."""

    model: ModelSummary
    row: RowSummary
    statistics: Kind


Panel = tuple[str, Callable[[Kind], np.ndarray]]
"""The label of an axis, and a function that returns every training's result, (runs,)."""
SpreadPanel = tuple[str, Callable[[Kind], Spread]]
PairPanel = tuple[str, Callable[[Kind], Interval]]


class RowFigures(Generic[Kind]):
    """Makes figures of some rows. order: row names from the top. prefix: of the figures' names."""

    def __init__(
        self, shown: Sequence[Shown[Kind]], order: Sequence[str], prefix: str = ""
    ) -> None:
        self._shown = shown
        self._prefix = prefix
        self._models = list({id(line.model): line.model for line in shown}.values())
        present = {line.row.row.name for line in shown}
        self._names = [name for name in order if name in present]
        self._height = 1.3 + len(self._names) * max(0.38, 0.16 * len(self._models))

    def results(self, *shown: Panel[Kind]) -> tuple[Figure, ...]:
        """Return a figure for every model: two results of every training, side by side."""
        figures = []
        for model in self._models:
            rows = [line for line in self._shown if line.model is model]
            name = model.config.model
            figures.append(
                Figure(
                    f"{self._prefix}results" + (f"-{name}" if len(self._models) > 1 else ""),
                    f"Test results of every training of {name}",
                    "Each point is one training; the line across a row is its mean, the shape "
                    f"behind it (from {VIOLIN_FROM} trainings on) an estimate of the density.",
                    lambda canvas, rows=rows: _draw_results(canvas, rows, shown),  # type: ignore[misc]
                    (_WIDTH, 1.1 + 0.42 * len(rows)),
                )
            )
        return tuple(figures)

    def deviations(self, *shown: SpreadPanel[Kind]) -> Figure:
        """Return a figure of two standard deviations of every row, all models together."""
        return Figure(
            f"{self._prefix}standard-deviations",
            "How far results spread, row by row",
            "Standard deviation over the trainings of a row (divisor n) with its bootstrap error "
            "bar. Rows without any spread stand at the left edge with a 0.",
            lambda canvas: self._draw_deviations(canvas, shown),
            (_WIDTH, self._height),
        )

    def pairs(self, described: str, *shown: PairPanel[Kind]) -> Figure:
        """Return a figure of four means over pairs of every row, all models together. described:
        the four in words.
        """
        return Figure(
            f"{self._prefix}pairs",
            "How different two trainings of a row are",
            f"Means over all pairs of trainings with their 95% intervals: {described}.",
            lambda canvas: self._draw_pairs(canvas, shown),
            (_WIDTH, 2 * self._height),
        )

    def _draw_deviations(self, canvas: "Canvas", shown: Sequence[SpreadPanel[Kind]]) -> None:
        line = panels(canvas, 1, len(shown))[0]
        for axes, (heading, spread_of) in zip(line, shown, strict=True):
            self._deviations(axes, spread_of)
            label(axes, heading, "")
            _name_rows(axes, self._names if axes is line[0] else [""] * len(self._names))
        if len(self._models) > 1:
            legend(canvas, line)

    def _deviations(self, axes: "Axes", spread_of: Callable[[Kind], Spread]) -> None:
        """Draw standard deviations with error bars, on a logarithmic axis if they differ much."""
        spreads = [spread_of(line.statistics) for line in self._shown]
        positive = [spread.sd for spread in spreads if spread.sd > 0]
        logarithmic = bool(positive) and max(positive) > LOG_FROM * min(positive)
        zero = 10 ** (np.log10(min(positive)) - 0.7) if logarithmic else 0.0
        if logarithmic:
            axes.set_xscale("log")
            axes.set_xlim(zero / 1.5, 2.5 * max(positive))
        for number, model in enumerate(self._models):
            look = series(number)
            places, sds, errors, zeros = [], [], [], []
            for line, spread in zip(self._shown, spreads, strict=True):
                if line.model is not model:
                    continue
                place = self._names.index(line.row.row.name) + _dodge(number, len(self._models))
                if spread.sd == 0:
                    zeros.append(place)
                    continue
                places.append(place)
                sds.append(spread.sd)
                # An SD is not negative, and a logarithmic axis cannot show 0.
                errors.append((min(spread.error, 0.95 * spread.sd), spread.error))
            drawn = axes.errorbar(
                sds,
                places,
                xerr=np.array(errors).T if errors else None,
                linestyle="none",
                capsize=2,
                label=model.config.model,
                **look,
            )
            drawn.lines[0].set_gid("deviations")
            for place in zeros:
                axes.annotate(
                    "0",
                    (zero, place),
                    color=look["color"],
                    fontsize=SMALL,
                    ha="center",
                    va="center",
                )
        if not logarithmic:
            axes.set_xlim(left=-0.04 * max(positive, default=1.0))
            _few_ticks(axes)

    def _draw_pairs(self, canvas: "Canvas", shown: Sequence[PairPanel[Kind]]) -> None:
        grid = panels(canvas, 2, 2)
        left = [line[0] for line in grid]
        panels_of_grid = (axes for line in grid for axes in line)
        for axes, (heading, mean_of) in zip(panels_of_grid, shown, strict=True):
            self._bars(axes, mean_of)
            label(axes, heading, "")
            _name_rows(axes, self._names if axes in left else [""] * len(self._names))
            axes.axvline(0, color=GREY, linewidth=0.8)
            _few_ticks(axes)
        if len(self._models) > 1:
            legend(canvas, [grid[0][0]])

    def _bars(self, axes: "Axes", mean_of: Callable[[Kind], Interval]) -> None:
        """Draw bars with intervals, those of a row's models below each other."""
        height = 0.72 / len(self._models)
        for number, model in enumerate(self._models):
            means = [
                (
                    self._names.index(line.row.row.name)
                    + height * (number - (len(self._models) - 1) / 2),
                    mean_of(line.statistics),
                )
                for line in self._shown
                if line.model is model
            ]
            values = np.array([interval.value for _, interval in means])
            ends = np.array([[interval.low, interval.high] for _, interval in means]).T
            axes.barh(
                [place for place, _ in means],
                values,
                height=0.92 * height,
                color=series(number)["color"],
                alpha=0.85,
                label=model.config.model,
                # Without an interval its ends are NaN, and none is drawn.
                xerr=np.abs(ends - values),
                error_kw={"elinewidth": 0.9, "capsize": 1.5},
            )


def below(start: float, value: Interval) -> Interval:
    """Return `start` minus a value with its interval."""
    return Interval(start - value.value, start - value.high, start - value.low)


def _draw_results(
    canvas: "Canvas", rows: Sequence[Shown[Kind]], shown: Sequence[Panel[Kind]]
) -> None:
    line = panels(canvas, 1, len(shown))[0]
    for number, (axes, (heading, values_of)) in enumerate(zip(line, shown, strict=True)):
        _strips(axes, [values_of(row.statistics) for row in rows], number)
        label(axes, heading, "")
        _name_rows(axes, [row.row.row.name if number == 0 else "" for row in rows])


def _strips(axes: "Axes", samples: Sequence[np.ndarray], color: int) -> None:
    """Draw a strip of points for every row, shifted in height by rank so that equal values differ,
    with their mean and, for many values, their density.
    """
    look = series(color)
    for place, values in enumerate(samples):
        if len(values) >= VIOLIN_FROM and np.ptp(values) > 1e-6 * np.abs(values).max():
            parts = axes.violinplot(
                values, [place], orientation="horizontal", widths=0.85, showextrema=False
            )
            for body in parts["bodies"]:  # type: ignore[attr-defined]
                body.set_facecolor(look["color"])
                body.set_alpha(0.2)
        axes.plot(
            values,
            place + _heights(values),
            linestyle="none",
            marker="o",
            markersize=4 if len(values) < VIOLIN_FROM else 2.5,
            color=look["color"],
            alpha=0.6,
            markeredgewidth=0,
        )
        axes.vlines(values.mean(), place - 0.38, place + 0.38, colors="black", linewidth=1.4)


def _heights(values: np.ndarray) -> np.ndarray:
    """Return by how much to shift each point from the middle of its row: a fixed pattern by rank in
    which neighbours differ.
    """
    golden = (np.sqrt(5) - 1) / 2
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    heights: np.ndarray = 0.5 * ((ranks * golden) % 1 - 0.5)
    return heights


def _dodge(number: int, models: int) -> float:
    """Return the shift of a model's marker in its row, the first model at the top."""
    reach = min(0.7, 0.2 * (models - 1))
    return 0.0 if models == 1 else reach * (number / (models - 1) - 0.5)


def _few_ticks(axes: "Axes") -> None:
    """Limit the ticks of the x axis, so that long numbers do not touch."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))


def _name_rows(axes: "Axes", names: Sequence[str]) -> None:
    """Label the y axis with wrapped row names, the first at the top, and shade every second row."""
    wrapped = [textwrap.fill(name, NAME_WIDTH, break_long_words=False) for name in names]
    axes.set_yticks(range(len(names)), wrapped, fontsize=SMALL)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    for place in range(1, len(names), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=BAND, linewidth=0, zorder=0)
