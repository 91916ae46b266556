"""What several views need: which rows recorded what, and the runs' histories as arrays."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nondet.analysis.stats import Interval
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.document import Cell, Line
from nondet.report.text import NOTHING, describe_seeds
from nondet.store import DamagedRunError, StoredRun
from nondet.studies.row import Keep, Row
from nondet.studies.seeds import Source

SOURCE_NAMES: Mapping[Source, str] = {
    "init": "initialization",
    "shuffle": "shuffling",
    "augment": "augmentation",
    "stochastic": "stochastic layers",
    "lowlevel": "low-level order",
    "bit": "one bit",
}
"""The sources in words."""


def independent_rows(summary: Summary, *, language: bool) -> list[tuple[ModelSummary, RowSummary]]:
    """The rows of language models, or of all others, but for crossed ones, whose runs share seeds
    with each other.
    """
    return [
        (model, row)
        for model, row in summary.rows
        if row.row.design == "tandem" and (model.config.language is not None) == language
    ]


def row_line(model: ModelSummary, row: RowSummary, cells: tuple[Cell, ...]) -> Line:
    """A row's line in a table of all models, the change of one bit set off."""
    return Line(
        cells,
        group=model.config.model,
        strong=row.row.varies == ("bit",),
        seeds=describe_seeds(run.job for run in (*row.runs, *row.failed)),
    )


def source_name(varies: Sequence[Source]) -> str:
    """What varies, in words: "shuffling + one bit"."""
    return " + ".join(SOURCE_NAMES[source] for source in varies) if varies else "control"


def family(row: Row) -> str:
    """What rows that differ in their onset alone have in common: sources and settings in words."""
    settings = ", ".join(f"{name} {value}" for name, value in sorted(row.settings.items()))
    source = source_name(row.varies)
    return f"{source} ({settings})" if settings else source


def recorded(summary: Summary, row: RowSummary, name: Keep, left_out: list[str]) -> list[StoredRun]:
    """The runs of a row that hold a record its study asks for; none where it does not ask. Runs
    whose record is damaged are missing, and `left_out` says so.
    """
    if name not in row.row.keeps | set(summary.plan.keep):
        return []
    runs = []
    for run in row.runs:
        if name not in run.records:
            continue
        try:
            _ = run.records[name]
        except DamagedRunError as error:
            told = f"Left out: {error}."
            if told not in left_out:
                left_out.append(told)
            continue
        runs.append(run)
    return runs


def onset_epoch(row: Row) -> int | None:
    """The epochs trained with every source held, the same for all that vary; None where they differ
    or the initial weights vary, which have no onset.
    """
    if not row.varies or "init" in row.varies:
        return None
    epochs = {getattr(row.onset, source) for source in row.varies}
    return int(epochs.pop()) if len(epochs) == 1 else None


def evaluated(runs: Sequence[StoredRun], key: str) -> tuple[np.ndarray, np.ndarray]:
    """The epochs (counted from 1) at which every run has a number of this key, (E,) int64, and the
    numbers, (runs, E) float64.
    """
    by_run = [
        {entry["epoch"]: entry[key] for entry in run.history if entry[key] is not None}
        for run in runs
    ]
    common = sorted(set.intersection(*(set(numbers) for numbers in by_run))) if by_run else []
    values = np.array([[numbers[epoch] for epoch in common] for numbers in by_run], np.float64)
    return np.array(common, np.int64), values.reshape(len(runs), len(common))


def some(epochs: Sequence[int] | np.ndarray) -> list[int]:
    """A few of many epochs for a table: the first three, then about doubling, and the last."""
    present = sorted(int(epoch) for epoch in epochs)
    if len(present) <= 10:
        return present
    wanted = {present[0], present[1], present[2], present[-1]}
    step = 5
    while step < present[-1]:
        wanted.add(min((e for e in present if e >= step), default=present[-1]))
        step *= 2
    return sorted(wanted)


def measured(
    text: str, value: float, *, error: float | None = None, ends: Interval | None = None
) -> Cell:
    """A cell with a number and the ends of its interval, if it is known; a dash for NaN."""
    if math.isnan(value):
        return Cell(NOTHING)
    known = ends is not None and not (math.isnan(ends.low) or math.isnan(ends.high))
    return Cell(text, value, error, (ends.low, ends.high) if ends and known else None)
