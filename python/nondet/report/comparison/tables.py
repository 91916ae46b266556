"""The tables of a comparison of two methods."""

import math
from collections.abc import Sequence

import numpy as np

from nondet.analysis.comparison.result import Comparison, SideSummary, TaskComparison
from nondet.analysis.stats import MEANINGFUL, Interval, noether_pairs
from nondet.report.comparison.units import Units, count, interval_cell, probability
from nondet.report.document import Cell, Column, Line, Table
from nondet.report.text import NOTHING, fixed, percentage_interval

_WIDEST = 32
"""Characters of the longest header of a column of differences."""


def differences_table(found: Comparison, shown: Units) -> Table:
    """Return a table of the difference on each task, with its tests."""
    several = len(found.tasks) > 1
    percent = f"{100 * found.confidence:g}%"
    columns = [
        Column("task", "task", align="left"),
        Column("difference", _difference_header(found), shown.difference),
        Column("p", "p"),
        Column("p_smallest", "smallest p"),
        Column("probability_better", "P(better)"),
        Column("dominance_epsilon", "epsilon"),
    ]
    if several:
        columns[2:2] = [Column("difference_simultaneous", "all tasks at once", shown.difference)]
        columns[4:4] = [Column("p_adjusted", "p, corrected")]
    lines = tuple(Line(_difference_cells(task, shown, several)) for task in found.tasks)
    first = found.tasks[0]
    note = (
        f"Intervals: {percent}, {first.difference.method} ({first.difference.reason}). "
        f"p: {first.test.name}; none below the smallest can come out of this many runs. "
        "P(better): the probability that a run of "
        f"{found.b} beats one of {found.a}; Bouthillier et al. (2021) call a method meaningfully "
        f"better if the interval lies above 0.5 and reaches above {MEANINGFUL:g}, which "
        f"{noether_pairs()} pairs find with 5% errors of both kinds. Epsilon: almost stochastic "
        "order, below 0.2 for a claim. P(better) and epsilon decide nothing here."
    )
    if several:
        note += (
            " All tasks at once: Bonferroni's interval; corrected: Holm's p. The verdict rests on "
            "these."
        )
    return Table("differences", "Difference", tuple(columns), lines, note)


def _difference_header(found: Comparison) -> str:
    """Return what is subtracted from what, if that is short enough for a column."""
    names = f"{found.b} - {found.a}"
    return names if len(names) <= _WIDEST else "difference"


def _difference_cells(task: TaskComparison, shown: Units, several: bool) -> tuple[Cell, ...]:
    cells = [
        Cell(task.task or "all"),
        shown.change_cell(task.difference.interval),
        _p(task.test.p),
        _p(task.test.smallest),
        interval_cell(task.outperforming.probability, lambda value: fixed(value, 2)),
        Cell(fixed(task.dominance, 2), task.dominance),
    ]
    if several:
        cells[2:2] = [shown.change_cell(task.simultaneous)]
        cells[4:4] = [_p(task.adjusted)]
    return tuple(cells)


def runs_table(found: Comparison, shown: Units) -> Table:
    """Return a table of the runs of both methods."""
    columns = (
        Column("method", "method", align="left"),
        Column("runs", "runs"),
        Column("mean", f"mean {found.score}", shown.score),
        Column("sd", "SD", shown.difference),
        Column("lowest", "lowest", shown.score),
        Column("highest", "highest", shown.score),
        Column("sampling", "test-set sampling", "share of variance"),
    )
    lines = []
    for task in found.tasks:
        lines += [Line(_side_cells(side, shown), group=task.task) for side in (task.a, task.b)]
        if found.pairing.paired:
            lines.append(Line(_pair_cells(task, shown), group=task.task))
    note = (
        "SD: standard deviation over runs (divisor n - 1). Test-set sampling: how much of the "
        "variance of runs is explained by the test set being a sample."
    )
    return Table("runs", "Runs", columns, tuple(lines), note, grouping="task")


def _pair_cells(task: TaskComparison, shown: Units) -> tuple[Cell, ...]:
    """Return the line of the differences of pairs, in the unit of differences."""
    d = task.b.values - task.a.values
    nothing = Cell(NOTHING)
    sd = shown.value_cell(float(np.std(d - d[0], ddof=1)))
    sampling = None if task.examples is None else task.examples.sampling
    share = _share_cell(sampling)
    return (
        Cell("difference"),
        Cell(f"{len(d):,}", len(d)),
        nothing,
        sd,
        nothing,
        nothing,
        share,
    )


def _share_cell(share: Interval | None) -> Cell:
    if share is None or math.isnan(share.value):
        return Cell(NOTHING)
    return Cell(percentage_interval(share), share.value)


def _side_cells(side: SideSummary, shown: Units) -> tuple[Cell, ...]:
    return (
        Cell(side.name),
        Cell(f"{len(side.values):,}", len(side.values)),
        shown.value_cell(side.mean),
        shown.value_cell(side.sd),
        shown.value_cell(float(side.values.min())),
        shown.value_cell(float(side.values.max())),
        _share_cell(side.sampling),
    )


def further_table(found: Comparison, shown: Units) -> Table:
    """Return a table of what this many runs find, and what more would."""
    what = "pairs" if found.pairing.paired else "runs of each"
    asked = any(task.power.detect is not None for task in found.tasks)
    columns = [
        Column("task", "task", align="left"),
        Column("detectable", "found with these runs", shown.difference),
        Column("least_runs", "fewest that can decide", what),
    ]
    if asked:
        columns += [
            Column("detect", "to be found", shown.difference),
            Column("runs_needed", "needed", what),
            Column("runs_further", "still missing", what),
        ]
    lines = []
    for task in found.tasks:
        power = task.power
        cells = [
            Cell(task.task or "all"),
            shown.value_cell(power.detectable),
            Cell(f"{power.least:,}", power.least),
        ]
        if asked and power.detect is not None and power.runs is not None:
            further = power.further
            cells += [
                shown.value_cell(power.detect),
                interval_cell(power.runs, count),
                Cell(NOTHING) if further is None else Cell(count(further), further),
            ]
        lines.append(Line(tuple(cells)))
    first = found.tasks[0].power
    note = (
        f"Found: the difference that this many runs show with probability {first.power:g}. "
        "Fewest: below, no result can reach the p of a verdict."
    )
    return Table("further-runs", "What more runs would show", tuple(columns), tuple(lines), note)


def examples_table(tasks: Sequence[TaskComparison], found: Comparison, shown: Units) -> Table:
    """Return a table of the difference for other runs on another test set."""
    columns = (
        Column("task", "task", align="left"),
        Column("examples", "examples"),
        Column("clusters", "clusters"),
        Column("difference", _difference_header(found), shown.difference),
        Column("error_runs", "error from runs", shown.difference),
        Column("error_examples", "error from examples", shown.difference),
        Column("error_these_runs", "of these runs", shown.difference),
    )
    lines = []
    for task in tasks:
        each = task.examples
        assert each is not None
        cells = (
            Cell(task.task or "all"),
            Cell(f"{each.count:,}", each.count),
            Cell(NOTHING) if each.clusters is None else Cell(f"{each.clusters:,}", each.clusters),
            shown.change_cell(each.two_way.interval),
            shown.value_cell(each.two_way.runs),
            shown.value_cell(each.two_way.examples),
            shown.value_cell(each.error),
        )
        lines.append(Line(cells))
    note = (
        "The difference that other runs would show on other examples of the same kind, both being "
        "random, and the standard errors that each adds. Of these runs: the standard error over "
        "examples alone. The verdict is about this test set."
    )
    return Table("another-test-set", "Another test set", columns, tuple(lines), note)


def classes_table(found: Comparison, shown: Units) -> Table:
    """Return a table of the difference by class."""
    columns = (
        Column("class", "class", align="left"),
        Column("examples", "examples"),
        Column("mean_a", found.a, shown.score),
        Column("mean_b", found.b, shown.score),
        Column("difference", _difference_header(found), shown.difference),
        Column("p_adjusted", "p, corrected"),
    )
    lines = tuple(
        Line(
            (
                Cell(each.label),
                Cell(f"{each.count:,}", each.count),
                shown.value_cell(each.mean_a),
                shown.value_cell(each.mean_b),
                shown.change_cell(each.difference.interval),
                _p(each.adjusted),
            ),
            group=task.task,
        )
        for task in found.tasks
        for each in task.classes
    )
    note = "Intervals are for each class by itself; p is corrected over classes (Holm)."
    return Table("classes", "By class", columns, lines, note, grouping="task", detail=True)


def _p(value: float) -> Cell:
    return Cell(probability(value), value)
