"""Figures of predictions: accuracy SDs by class and row, and the churn of sorted test images."""

import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.predictions import PredictionStatistics
from nondet.report.document import Figure
from nondet.report.plots import SMALL, dashes, label, legend, panels, series

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

Shown = Sequence[tuple[str, PredictionStatistics]]
"""The rows of a model in which anything varies: names and statistics."""


def figures(rows: Shown, places: np.ndarray, model: str) -> Iterator[Figure]:
    """Yield the figures of one model. places: of the classes to show. model: its name where several
    are shown, else "".
    """
    changing = [(name, found) for name, found in rows if found.churn.value > 0]
    if not changing:
        return
    end, of = (f"-{model}", f" of {model}") if model else ("", "")
    yield Figure(
        f"classes{end}",
        f"How far the accuracy of each class spreads, by row{of}",
        "Standard deviation over the trainings of a row (unbiased) of the accuracy on the test "
        "images of one class, in percentage points: darker is more.",
        partial(_draw_classes, changing, places),
        (7.5, 1.6 + 0.42 * len(changing)),
    )
    yield Figure(
        f"churn{end}",
        f"How often single test images change their predicted class{of}",
        "Test images sorted by churn, the pairs of trainings of a row that predict different "
        "classes: all others, to the right, never change.",
        partial(_draw_churn, changing),
        (7.5, 4.2),
    )


def _draw_classes(rows: Shown, places: np.ndarray, canvas: "Canvas") -> None:
    axes = panels(canvas, 1, 1)[0][0]
    sds = np.array([[found.class_sds[place].value for place in places] for _, found in rows])
    image = axes.imshow(sds, aspect="auto", cmap="Blues", vmin=0)
    for (line, column), sd in np.ndenumerate(sds):
        dark = sd > 0.6 * sds.max()
        axes.text(
            column,
            line,
            "0" if sd == 0 else f"{sd:.1f}",
            ha="center",
            va="center",
            fontsize=SMALL,
            color="white" if dark else "black",
        )
    names = [textwrap.fill(name, 24, break_long_words=False) for name, _ in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=SMALL)
    axes.set_xticks(range(len(places)), [str(rows[0][1].classes[place]) for place in places])
    axes.grid(False)
    label(axes, "class", "")
    canvas.colorbar(image, ax=axes, label="accuracy SD (pp)")


def _draw_churn(rows: Shown, canvas: "Canvas") -> None:
    axes = panels(canvas, 1, 1)[0][0]
    reach = 0.0
    for number, (name, found) in enumerate(rows):
        churn = np.sort(found.example_churn)[::-1]
        share = 100 * np.arange(len(churn) + 1) / len(churn)
        look = {"color": series(number)["color"], "linestyle": dashes(number // 7)}
        axes.step(share, [churn[0], *churn], where="pre", label=name, linewidth=1.4, **look)
        reach = max(reach, 100 * float((churn > 0).mean()))
    axes.set_xlim(0, min(100.0, 1.1 * reach))
    axes.set_ylim(bottom=0)
    label(axes, "test images (%)", "churn (% of pairs)")
    legend(canvas, [axes])
