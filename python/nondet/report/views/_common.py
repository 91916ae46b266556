"""Helpers that several views share: rows by what they record, names of sources, histories."""

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
    """Return the rows of language models, or of all other models, except crossed rows, whose runs
    share seeds.
    """
    return [
        (model, row)
        for model, row in summary.rows
        if row.row.design == "tandem" and (model.config.language is not None) == language
    ]


def row_line(model: ModelSummary, row: RowSummary, cells: tuple[Cell, ...]) -> Line:
    """Return a row's line, grouped by model; the row that varies one bit is strong."""
    return Line(
        cells,
        group=model.config.model,
        strong=row.row.varies == ("bit",),
        seeds=describe_seeds(run.job for run in (*row.runs, *row.failed)),
    )


def source_name(varies: Sequence[Source]) -> str:
    """Return the names of sources: "shuffling + one bit", or "control" for none."""
    return " + ".join(SOURCE_NAMES[source] for source in varies) if varies else "control"


def family(row: Row) -> str:
    """Return a row's sources and settings in words; rows that differ only in onset share them."""
    settings = ", ".join(f"{name} {value}" for name, value in sorted(row.settings.items()))
    source = source_name(row.varies)
    return f"{source} ({settings})" if settings else source


def recorded(summary: Summary, row: RowSummary, name: Keep, left_out: list[str]) -> list[StoredRun]:
    """Return the runs of a row that hold the record `name`; none if the study does not keep it.

    Leaves out runs whose record is damaged, and appends a sentence on each to `left_out`.
    """
    if name not in row.row.keeps | set(summary.plan.keep):
        return []
    runs: list[StoredRun] = []
    for run in row.runs:
        if name not in run.records:
            continue
        try:
            record = run.records[name]
            # Twins are recorded from the first step on at which they can differ.
            if runs and name != "twin" and _form(record) != _form(runs[0].records[name]):
                raise DamagedRunError(
                    f"run {run.job.address} is damaged: its record {name} is not of the form of "
                    "that of other runs"
                )
        except DamagedRunError as error:
            sentence = f"Left out: {error}."
            if sentence not in left_out:
                left_out.append(sentence)
            continue
        runs.append(run)
    return runs


def _form(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def onset_epoch(row: Row) -> int | None:
    """Return the number of epochs trained before the row's sources vary; None if sources differ in
    it, or if the initial weights vary, which have no onset.
    """
    if not row.varies or "init" in row.varies:
        return None
    epochs = {getattr(row.onset, source) for source in row.varies}
    return int(epochs.pop()) if len(epochs) == 1 else None


def evaluated(runs: Sequence[StoredRun], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the epochs (from 1) in which every run has a value of the key in its history, (E,)
    int64, and the values, (runs, E) float64.
    """
    by_run = [
        {entry["epoch"]: entry[key] for entry in run.history if entry[key] is not None}
        for run in runs
    ]
    common = sorted(set.intersection(*(set(numbers) for numbers in by_run))) if by_run else []
    values = np.array([[numbers[epoch] for epoch in common] for numbers in by_run], np.float64)
    return np.array(common, np.int64), values.reshape(len(runs), len(common))


def select_epochs(epochs: Sequence[int] | np.ndarray) -> list[int]:
    """Return a few epochs for a table: the first three, then about doubling ones, and the last."""
    present = sorted(int(epoch) for epoch in epochs)
    if len(present) <= 10:
        return present
    wanted = {present[0], present[1], present[2], present[-1]}
    step = 5
    while step < present[-1]:
        wanted.add(min((epoch for epoch in present if epoch >= step), default=present[-1]))
        step *= 2
    return sorted(wanted)


def number_cell(
    text: str, value: float, *, error: float | None = None, ends: Interval | None = None
) -> Cell:
    """Return a cell with a number and the ends of its interval, if known; a dash for NaN."""
    if math.isnan(value):
        return Cell(NOTHING)
    known = ends is not None and not (math.isnan(ends.low) or math.isnan(ends.high))
    return Cell(text, value, error, (ends.low, ends.high) if ends and known else None)
