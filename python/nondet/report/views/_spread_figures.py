"""Figures of spreads: every training's results, standard deviations, and what compares pairs."""

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nondet.report.colors import GREY
from nondet.report.document import Figure
from nondet.report.plots import SMALL, label, legend, panels, series
from nondet.report.summary import ModelSummary, RowSummary, Statistics
from nondet.stats import Interval, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Shown = list[tuple[ModelSummary, RowSummary]]

VIOLIN_FROM = 30
"""Runs from which on a density is more than a guess."""
LOG_FROM = 30
"""Spreads further apart than this factor are shown on a logarithmic axis."""
NAME_WIDTH = 22
BAND = "#F3F3F3"
"""Behind every second row."""
_WIDTH = 7.5


def figures(shown: Shown, order: Sequence[str]) -> tuple[Figure, ...]:
    """Of all rows with statistics: a figure of the results for every model, then one of standard
    deviations and one of pairs with all models side by side. order: of the rows, by name.
    """
    known = [(model, row) for model, row in shown if row.statistics is not None]
    if not known:
        return ()
    models = list({id(model): model for model, _ in known}.values())
    several = len(models) > 1
    made = []
    for model in models:
        rows = [row for one, row in known if one is model]
        name = model.config.model
        made.append(
            Figure(
                f"results-{name}" if several else "results",
                f"Test results of every training of {name}",
                "Each point is one training; the line across a row is its mean, the shape behind "
                f"it (from {VIOLIN_FROM} trainings on) an estimate of the density.",
                lambda canvas, rows=rows: _draw_results(canvas, rows),  # type: ignore[misc]
                (_WIDTH, 1.1 + 0.42 * len(rows)),
            )
        )
    present = {row.row.name for _, row in known}
    names = [name for name in order if name in present]
    height = 1.3 + len(names) * max(0.38, 0.16 * len(models))
    made.append(
        Figure(
            "standard-deviations",
            "How far results spread, row by row",
            "Standard deviation over the trainings of a row (divisor n) with its bootstrap error "
            "bar. Rows without any spread stand at the left edge with a 0.",
            lambda canvas: _draw_deviations(canvas, models, known, names),
            (_WIDTH, height),
        )
    )
    made.append(
        Figure(
            "pairs",
            "How different two trainings of a row are",
            "Means over all pairs of trainings with their 95% intervals: test images on which two "
            "disagree, 1 minus Spearman's correlation of their logits, and by how much averaging "
            "the logits of two raises accuracy and lowers cross-entropy.",
            lambda canvas: _draw_pairs(canvas, models, known, names),
            (_WIDTH, 2 * height),
        )
    )
    return tuple(made)


# -- every training ----------------------------------------------------------------------------


def _draw_results(canvas: "Canvas", rows: list[RowSummary]) -> None:
    left, right = panels(canvas, 1, 2)[0]
    statistics = [row.statistics for row in rows if row.statistics is not None]
    _strips(left, [found.accuracies for found in statistics], 0)
    _strips(right, [found.cross_entropies for found in statistics], 1)
    label(left, "test accuracy (%)", "")
    label(right, "test cross-entropy (nats)", "")
    _name_rows(left, [row.row.name for row in rows])
    _name_rows(right, [""] * len(rows))


def _strips(axes: "Axes", samples: Sequence[np.ndarray], color: int) -> None:
    """One strip of points a row, spread in height by their rank so that equal ones stay apart."""
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
    """Where points stand above or below the middle of their row: a fixed pattern by rank, no two
    neighbours alike.
    """
    golden = (np.sqrt(5) - 1) / 2
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    heights: np.ndarray = 0.5 * ((ranks * golden) % 1 - 0.5)
    return heights


# -- standard deviations -----------------------------------------------------------------------


def _draw_deviations(
    canvas: "Canvas", models: list[ModelSummary], known: Shown, names: list[str]
) -> None:
    left, right = panels(canvas, 1, 2)[0]
    _deviations(left, models, known, names, lambda found: found.accuracy)
    _deviations(right, models, known, names, lambda found: found.cross_entropy)
    label(left, "accuracy SD (points)", "")
    label(right, "cross-entropy SD (nats)", "")
    _name_rows(left, names)
    _name_rows(right, [""] * len(names))
    if len(models) > 1:
        legend(canvas, [left, right])


def _deviations(
    axes: "Axes",
    models: list[ModelSummary],
    known: Shown,
    names: list[str],
    of: Callable[[Statistics], Spread],
) -> None:
    spreads = [of(row.statistics) for _, row in known if row.statistics is not None]
    positive = [spread.sd for spread in spreads if spread.sd > 0]
    logarithmic = bool(positive) and max(positive) > LOG_FROM * min(positive)
    zero = 10 ** (np.log10(min(positive)) - 0.7) if logarithmic else 0.0
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(zero / 1.5, 2.5 * max(positive))
    for number, model in enumerate(models):
        look = series(number)
        places, sds, errors, zeros = [], [], [], []
        for one, row in known:
            if one is not model or row.statistics is None:
                continue
            place = names.index(row.row.name) + _dodge(number, len(models))
            spread = of(row.statistics)
            if spread.sd == 0:
                zeros.append(place)
                continue
            places.append(place)
            sds.append(spread.sd)
            # Below zero there is no spread, and a logarithmic axis has no end.
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
                "0", (zero, place), color=look["color"], fontsize=SMALL, ha="center", va="center"
            )
    if not logarithmic:
        axes.set_xlim(left=-0.04 * max(positive, default=1.0))


def _dodge(number: int, models: int) -> float:
    """Models stand beside each other in a row, the first at the top."""
    reach = min(0.7, 0.2 * (models - 1))
    return 0.0 if models == 1 else reach * (number / (models - 1) - 0.5)


# -- pairs -------------------------------------------------------------------------------------


def _draw_pairs(
    canvas: "Canvas", models: list[ModelSummary], known: Shown, names: list[str]
) -> None:
    from matplotlib.ticker import MaxNLocator

    (first, second), (third, fourth) = panels(canvas, 2, 2)
    kinds: list[tuple[Axes, str, Callable[[Statistics], Interval]]] = [
        (first, "disagreement (% of images)", lambda found: found.disagreement),
        (second, "1 - Spearman correlation", lambda found: _flipped(1, found.correlation)),
        (third, "ensemble: accuracy gained (points)", lambda found: found.ensemble_accuracy),
        (
            fourth,
            "ensemble: cross-entropy lost (nats)",
            lambda found: _flipped(0, found.ensemble_cross_entropy),
        ),
    ]
    for axes, heading, of in kinds:
        _bars(axes, models, known, names, of)
        label(axes, heading, "")
        _name_rows(axes, names if axes in (first, third) else [""] * len(names))
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    if len(models) > 1:
        legend(canvas, [first])


def _bars(
    axes: "Axes",
    models: list[ModelSummary],
    known: Shown,
    names: list[str],
    of: Callable[[Statistics], Interval],
) -> None:
    height = 0.72 / len(models)
    for number, model in enumerate(models):
        found = [
            (
                names.index(row.row.name) + height * (number - (len(models) - 1) / 2),
                of(row.statistics),
            )
            for one, row in known
            if one is model and row.statistics is not None
        ]
        values = np.array([interval.value for _, interval in found])
        ends = np.array([[interval.low, interval.high] for _, interval in found]).T
        axes.barh(
            [place for place, _ in found],
            values,
            height=0.92 * height,
            color=series(number)["color"],
            alpha=0.85,
            label=model.config.model,
            xerr=np.maximum(np.nan_to_num(np.abs(ends - values)), 0),
            error_kw={"elinewidth": 0.9, "capsize": 1.5},
        )


def _flipped(start: float, value: Interval) -> Interval:
    """The distance below `start`."""
    return Interval(start - value.value, start - value.high, start - value.low)


# -- both --------------------------------------------------------------------------------------


def _name_rows(axes: "Axes", names: Sequence[str]) -> None:
    """The rows' names, long ones on several lines, the first row at the top."""
    wrapped = [textwrap.fill(name, NAME_WIDTH, break_long_words=False) for name in names]
    axes.set_yticks(range(len(names)), wrapped, fontsize=SMALL)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    for place in range(1, len(names), 2):
        axes.axhspan(place - 0.5, place + 0.5, color=BAND, linewidth=0, zorder=0)
