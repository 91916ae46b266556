"""How far the results of each row spread: Tables 1, 3, 6, 7 and 8 of the paper, and the table of
its test-time augmentation.
"""

from nondet.report.columns import (
    INTERVALS,
    MEANS,
    SPREAD,
    SPREAD_NOTE,
    interval_cells,
    mean_cells,
    row_cell,
    row_column,
    spread_cells,
)
from nondet.report.document import Cell, Line, Section, Table
from nondet.report.reduction import COLUMN, reduction_cell, reduction_percent
from nondet.report.summary import ModelSummary, RowSummary, Summary
from nondet.report.text import describe_seeds
from nondet.report.views._spread_figures import figures
from nondet.report.views._spread_findings import findings


def view(summary: Summary) -> Section | None:
    """Both tables, the figures, and what they say; None without a row of independent runs."""
    shown = rows_of_independent_runs(summary)
    if not shown:
        return None
    return Section(
        title="How far results spread",
        findings=findings(summary),
        tables=(_spread(summary, shown), _intervals(shown)),
        figures=figures(shown, [row.name for row in summary.plan.rows]),
    )


def rows_of_independent_runs(summary: Summary) -> list[tuple[ModelSummary, RowSummary]]:
    """All but the crossed rows, whose runs share seeds with each other."""
    return [(model, row) for model, row in summary.rows if row.row.design == "tandem"]


def _spread(summary: Summary, shown: list[tuple[ModelSummary, RowSummary]]) -> Table:
    baseline = summary.plan.baseline
    columns = [row_column([row for _, row in shown]), *SPREAD]
    note = SPREAD_NOTE
    if baseline is not None:
        columns.append(COLUMN)
        note += (
            f" Reduction: by how much less than {baseline!r} a row varies, averaged over accuracy "
            "SD, cross-entropy SD, disagreement, 1 - correlation and the ensemble's points."
        )
    lines = []
    for model, row in shown:
        cells = (row_cell(row), *spread_cells(row.statistics))
        if baseline is not None:
            cells += (reduction_cell(reduction_percent(model, row, baseline)),)
        lines.append(_line(model, row, cells))
    return Table("spread", "Spread of test results", tuple(columns), tuple(lines), note)


def _intervals(shown: list[tuple[ModelSummary, RowSummary]]) -> Table:
    columns = (row_column([row for _, row in shown]), *MEANS, *INTERVALS)
    lines = tuple(
        _line(
            model,
            row,
            (row_cell(row), *mean_cells(row.statistics), *interval_cells(row.statistics)),
        )
        for model, row in shown
    )
    note = (
        "SD: standard deviation without the bias of small samples (divisor n - 1, over c4), with "
        "its BCa bootstrap interval; the other intervals come from a bootstrap over trainings, "
        "since pairs share them. They are meant to cover 95%; of few trainings those of SDs cover "
        "less (docs/statistics.md: 84% for 10)."
    )
    return Table(
        "spread-intervals", "Means, and spreads with intervals", columns, lines, note, detail=True
    )


def _line(model: ModelSummary, row: RowSummary, cells: tuple[Cell, ...]) -> Line:
    return Line(
        cells,
        group=model.config.model,
        strong=row.row.varies == ("bit",),
        seeds=describe_seeds(run.job for run in (*row.runs, *row.failed)),
    )
