"""Hand-made summaries of runs with histories and records."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas

from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.document import Figure, Table
from nondet.report.render.drawing import render
from nondet.store import Failure, StoredRun
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import Row
from nondet.studies.study import Plan

Records = Mapping[str, Mapping[str, np.ndarray]]


def config_of(model: str = "hidden", epochs: int = 20) -> RunConfig:
    return RunConfig("digits", model, epochs=epochs, batch_size=64, lr=0.1)


def run_of(
    job: Job,
    accuracies: Sequence[float | None],
    cross_entropies: Sequence[float | None],
    records: Records | None = None,
) -> StoredRun:
    """Return a run with these results (accuracies as fractions) after epochs 1, 2, ..."""
    history = [
        {"epoch": epoch, "test_accuracy": one, "test_cross_entropy": other, "weights_sha256": "ab"}
        for epoch, (one, other) in enumerate(zip(accuracies, cross_entropies, strict=True), 1)
    ]
    return StoredRun(job, history, None, {"hashes": {}, "seconds": 1.0}, records=records or {})


def failed_run_of(job: Job) -> StoredRun:
    return StoredRun(job, [], None, {"hashes": {}}, Failure("the training loss is nan", 1, 1))


def summary_of(
    configs: Sequence[RunConfig],
    rows: Sequence[Row],
    make: Callable[[RunConfig, Row, Job, int], StoredRun | None],
    runs: int = 4,
) -> Summary:
    """Return a summary in which `make` returns every run of every row; None for a missing one."""
    plan = Plan("study", "A study", tuple(rows), tuple(configs), runs)
    models = []
    for config in plan.configs:
        summaries = []
        for row in plan.rows_of(config):
            jobs = plan.jobs(config, row)
            found = [make(config, row, job, number) for number, job in enumerate(jobs)]
            present = [run for run in found if run is not None]
            whole = [run for run in present if run.failure is None]
            failed = [run for run in present if run.failure is not None]
            summaries.append(RowSummary(row, whole, row.count(runs), None, failed))
        models.append(ModelSummary(config, summaries))
    return Summary(plan, models)


def cells_of(table: Table, *columns: str) -> list[tuple[object, ...]]:
    """Return the values of these columns, line by line; the text of a cell without a value."""
    names = [column.name for column in table.columns]
    return [
        tuple(
            cell.text if cell.value is None else cell.value
            for cell in (line.cells[names.index(column)] for column in columns)
        )
        for line in table.lines
    ]


def draw(figure: Figure) -> Canvas:
    """Draw the figure and return its canvas; fail if an axis has no label."""
    canvas = Canvas(figsize=figure.size, layout="constrained")
    figure.draw(canvas)
    assert canvas.axes
    for axes in canvas.axes:
        assert axes.get_xlabel()
        # An axis of bars has tick labels instead.
        assert axes.get_ylabel() or any(text.get_text() for text in axes.get_yticklabels())
    return canvas


def check_fonts(figure: Figure) -> None:
    """Fail if the rendered figure has text smaller than 9 points."""
    sizes = re.findall(r'<text style="font-size: ([\d.]+)px', render(figure).svg)
    assert sizes
    assert min(map(float, sizes)) >= 9


def lines_of(canvas: Canvas, panel: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the named series in a panel: of a line, or of points with error bars."""
    axes = canvas.axes[panel]
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        if label == name:
            line = handle if hasattr(handle, "get_xdata") else handle.lines[0]
            return np.array(line.get_xdata()), np.array(line.get_ydata())
    raise AssertionError(f"no series {name!r}")
