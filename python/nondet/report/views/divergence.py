"""A run with one changed bit against its twin, epoch by epoch, and the condition number of training
(paper, Sec. 4.1).

The condition number |delta f| / |delta x| treats training as a function from the initial weights x
to a metric f of the final model. Any pair of runs gives a lower bound: the paper's
(`published_numbers`) are the differences of one pair, 0.0086 nats and 0.12 percentage points, over
the change of one weight, 4.7e-10.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nondet.analysis.summary import Summary
from nondet.report import plots
from nondet.report.columns import PP_NOTE
from nondet.report.document import Cell, Column, Figure, Line, Section, Table
from nondet.report.published_numbers import CONDITION_ACCURACY, CONDITION_CROSS_ENTROPY
from nondet.report.text import change, describe_seeds, fixed, number, percent, plural
from nondet.report.views._common import recorded, select_epochs
from nondet.store import StoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_CHANGES = ("accuracy (percentage points)", "cross-entropy (nats)", "weights (L2)")


class Condition(NamedTuple):
    """The differences between a run and its twin: of the initial weights (L2 norm), of the final
    accuracy (percentage points) and of the final cross-entropy (nats).
    """

    changed: float
    accuracy: float
    cross_entropy: float

    @property
    def of_accuracy(self) -> float:
        """Return the condition number for accuracy, in percentage points per unit of a weight."""
        return self.accuracy / self.changed

    @property
    def of_cross_entropy(self) -> float:
        """Return the condition number for cross-entropy, in nats per unit of a weight."""
        return self.cross_entropy / self.changed


@dataclass(frozen=True, eq=False)
class _Pair:
    """A run and its twin. epochs: (E,). accuracies, cross_entropies: (2, E), in percent and nats,
    the run's first. disagreement: (E,), in percent. weights: (E,), the L2 distance of the
    parameters.
    """

    run: StoredRun
    epochs: np.ndarray
    accuracies: np.ndarray
    cross_entropies: np.ndarray
    disagreement: np.ndarray
    weights: np.ndarray
    condition: Condition


def view(summary: Summary) -> Section | None:
    """Return a section on the runs whose initial weights were changed; None without such runs."""
    left_out: list[str] = []
    found: list[tuple[str, list[_Pair]]] = []
    for model in summary.models:
        pairs = [
            _pair(run)
            for row in model.rows
            if row.row.varies == ("bit",) and row.row.onset.bit == 0
            for run in recorded(summary, row, "twin", left_out)
            if run.records["twin"]["initial_change"][0] > 0 and len(run.records["twin"]["epoch"])
        ]
        if pairs:
            found.append((model.config.model, pairs))
    if not found:
        return None
    figure = Figure(
        "divergence",
        "A run with one changed bit against its twin",
        "Test accuracy (left) and cross-entropy (middle) of the first run of each model and of "
        "its twin, which has every bit of its initial weights but one; right: the absolute "
        "differences of accuracy and cross-entropy and the L2 distance of their weights, on a "
        "logarithmic axis on which equal values do not appear.",
        partial(_draw, [(name, pairs[0]) for name, pairs in found]),
        size=(9.0, 2.7 * len(found) + 0.6),
    )
    return Section(
        "One changed bit against its twin",
        findings=tuple(sentence for name, pairs in found for sentence in _findings(name, pairs)),
        tables=(_epochs_table(found), _condition_table(found)),
        figures=(figure,),
        text=tuple(left_out),
    )


def _pair(run: StoredRun) -> _Pair:
    """Return a run and its twin at the ends of the evaluated epochs."""
    twin = run.records["twin"]
    epochs = twin["epoch"]
    steps_per_epoch = int(twin["step"][-1]) // run.job.config.epochs
    places = np.searchsorted(twin["step"], epochs * steps_per_epoch)
    accuracies = 100 * np.stack([twin["epoch_accuracy"], twin["epoch_accuracy_twin"]])
    entropies = np.stack([twin["epoch_cross_entropy"], twin["epoch_cross_entropy_twin"]])
    return _Pair(
        run,
        epochs,
        accuracies,
        entropies,
        100 * twin["epoch_disagreement"],
        twin["weights_l2"][np.minimum(places, len(twin["step"]) - 1)],
        Condition(
            float(twin["initial_change"][0]),
            abs(float(accuracies[0, -1] - accuracies[1, -1])),
            abs(float(entropies[0, -1] - entropies[1, -1])),
        ),
    )


def _findings(name: str, pairs: Sequence[_Pair]) -> list[str]:
    """Return findings on the first pair's course and on the condition numbers of all pairs."""
    first = pairs[0]
    apart = np.abs(first.accuracies[0] - first.accuracies[1])
    widest = int(apart.argmax())
    changed = number(first.condition.changed)
    if apart[widest] == 0:
        course = "no evaluated epoch tells their accuracies apart"
    else:
        course = (
            f"their accuracies differ by {percent(apart[0])} percentage points after epoch "
            f"{first.epochs[0]}, by {percent(apart[widest])} at most (epoch "
            f"{first.epochs[widest]}) and by {percent(apart[-1])} at the end"
        )
    disagree = (
        f"{percent(first.disagreement[-1])}% of the test images are"
        if first.disagreement[-1] > 0
        else "no test image is"
    )
    sentences = [
        f"{name}: one weight moved by {changed}, and {course}; the final cross-entropies differ by "
        f"{number(first.condition.cross_entropy)} nats, and {disagree} classified differently."
    ]
    conditions = [pair.condition for pair in pairs]
    bounds = []
    for values, metric in (
        (np.array([each.of_cross_entropy for each in conditions]), "cross-entropy"),
        (np.array([each.of_accuracy for each in conditions]), "accuracy in percentage points"),
    ):
        median = f" (median {number(float(np.median(values)))})" if len(pairs) > 1 else ""
        bounds.append(f"{number(values.max())} for {metric}{median}")
    sentences.append(
        f"{name}: the condition number of training is at least {bounds[0]} and {bounds[1]}, by "
        f"{plural(len(pairs), 'pair')} of runs."
    )
    return sentences


def _epochs_table(found: Sequence[tuple[str, Sequence[_Pair]]]) -> Table:
    lines = []
    for name, (pair, *_) in found:
        seeds = f"{describe_seeds([pair.run.job])}; twin: all {pair.run.job.config.held_seed}"
        for epoch in select_epochs(pair.epochs):
            at = int(np.searchsorted(pair.epochs, epoch))
            accuracy, twin_accuracy = pair.accuracies[:, at].tolist()
            entropy, twin_entropy = pair.cross_entropies[:, at].tolist()
            cells = (
                Cell(str(epoch), epoch),
                Cell(fixed(twin_accuracy, 2), twin_accuracy),
                Cell(change(accuracy - twin_accuracy, 2), accuracy - twin_accuracy),
                Cell(fixed(twin_entropy, 4), twin_entropy),
                Cell(change(entropy - twin_entropy, 4), entropy - twin_entropy),
                Cell(percent(pair.disagreement[at]), float(pair.disagreement[at])),
                Cell(number(pair.weights[at]), float(pair.weights[at])),
            )
            lines.append(Line(cells, name, seeds=seeds))
    columns = (
        Column("epoch", "epoch"),
        Column("accuracy_twin", "accuracy", "%"),
        Column("accuracy_difference", "change", "pp"),
        Column("cross_entropy_twin", "cross-entropy", "nats"),
        Column("cross_entropy_difference", "change", "nats"),
        Column("disagreement", "disagree", "%"),
        Column("weights_l2", "weights", "L2"),
    )
    return Table(
        "divergence",
        "The first run with a changed bit, against its twin",
        columns,
        tuple(lines),
        note="Accuracy and cross-entropy on the test images of the unchanged twin, and what the "
        "changed bit adds to them; test images on which the two disagree; L2 distance of their "
        f"weights. {PP_NOTE}",
    )


def _condition_table(found: Sequence[tuple[str, Sequence[_Pair]]]) -> Table:
    lines = []
    for name, pairs in found:
        rows = []
        for pair in pairs:
            condition = pair.condition
            rows.append((*condition, condition.of_cross_entropy, condition.of_accuracy))
            seeds = describe_seeds([pair.run.job])
            lines.append(_condition_line(f"bit {pair.run.job.seeds.bit}", rows[-1], name, seeds))
        if len(pairs) > 1:
            seeds = describe_seeds(pair.run.job for pair in pairs)
            values = np.array(rows)
            for label, summary in (
                ("median", np.median(values, axis=0)),
                ("maximum", values.max(axis=0)),
            ):
                lines.append(_condition_line(label, summary.tolist(), name, seeds, strong=True))
    columns = (
        Column("run", "seed", align="left"),
        Column("initial_change", "|dx|", "L2"),
        Column("accuracy_difference", "|df| acc.", "pp"),
        Column("cross_entropy_difference", "|df| c.-e.", "nats"),
        Column("condition_cross_entropy", "|df|/|dx|, c.-e."),
        Column("condition_accuracy", "|df|/|dx|, acc."),
    )
    return Table(
        "condition",
        "Condition number of training",
        columns,
        tuple(lines),
        note="|dx|: the change of the initial weights. |df|: what it changes in a metric of the "
        "final model (acc.: accuracy, c.-e.: cross-entropy). Their quotient bounds the condition "
        "number of training from below; the paper's, of one pair of ResNet-14s on CIFAR-10, are "
        f"{number(CONDITION_CROSS_ENTROPY)} for cross-entropy and {number(CONDITION_ACCURACY)} for "
        f"accuracy in percentage points (Sec. 4.1). {PP_NOTE}",
    )


def _condition_line(
    run: str, values: Sequence[float], group: str, seeds: str, strong: bool = False
) -> Line:
    changed, accuracy, entropy, of_entropy, of_accuracy = values
    cells = (
        Cell(run),
        Cell(number(changed), changed),
        Cell(percent(accuracy), accuracy),
        Cell(number(entropy), entropy),
        Cell(number(of_entropy), of_entropy),
        Cell(number(of_accuracy), of_accuracy),
    )
    return Line(cells, group, strong=strong, seeds=seeds)


def _draw(found: Sequence[tuple[str, _Pair]], canvas: "Canvas") -> None:
    grid = plots.panels(canvas, len(found), 3)
    for (name, pair), line in zip(found, grid, strict=True):
        several = {"marker": "", "linewidth": 1.4}
        for axes, values in zip(line, (pair.accuracies, pair.cross_entropies), strict=False):
            axes.plot(pair.epochs, values[1], label="twin", **plots.series(0) | several)
            changed = plots.series(1) | several | {"linestyle": "--"}
            axes.plot(pair.epochs, values[0], label="one bit changed", **changed)
        differences = (
            np.abs(pair.accuracies[0] - pair.accuracies[1]),
            np.abs(pair.cross_entropies[0] - pair.cross_entropies[1]),
            pair.weights,
        )
        for number_, (label, values) in enumerate(zip(_CHANGES, differences, strict=True), 2):
            shown = np.where(values > 0, values, np.nan)
            style = plots.series(number_) | {"markersize": 3, "linewidth": 1.1}
            line[2].plot(pair.epochs, shown, label=label, **style)
        plots.log_axis(line[2], *differences)
        plots.label(line[0], "epoch", "accuracy (%)", name)
        plots.label(line[1], "epoch", "cross-entropy (nats)")
        plots.label(line[2], "epoch", "absolute difference")
        for axes in line:
            plots.whole_ticks(axes)
    plots.legend(canvas, [axes for line in grid for axes in line], columns=5)
