"""The spread of each row's results on images: Tables 1, 3, 6, 7 and 8 of the paper, and its table
of test-time augmentation.
"""

from nondet.analysis.reduction import reduction_percent
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.columns import (
    INTERVALS,
    INTERVALS_NOTE,
    MEANS,
    PP_NOTE,
    REDUCTION,
    SPREAD,
    SPREAD_NOTE,
    interval_cells,
    mean_cells,
    reduction_cell,
    row_cell,
    row_column,
    spread_cells,
)
from nondet.report.document import Section, Table
from nondet.report.views._common import independent_rows, row_line
from nondet.report.views._relative_table import relative_table
from nondet.report.views._spread_figures import figures
from nondet.report.views._spread_findings import findings


def view(summary: Summary) -> Section | None:
    """Return a section on the rows of independent runs on images; None without such rows."""
    shown = independent_rows(summary, language=False)
    if not shown:
        return None
    return Section(
        title="How far results spread",
        findings=findings(summary),
        tables=(
            _spread(summary, shown),
            _intervals(shown),
            *relative_table("spread-relative", shown, summary.plan.baseline),
        ),
        figures=figures(shown, [row.name for row in summary.plan.rows]),
    )


def _spread(summary: Summary, shown: list[tuple[ModelSummary, RowSummary]]) -> Table:
    baseline = summary.plan.baseline
    columns = [row_column([row for _, row in shown]), *SPREAD]
    note = SPREAD_NOTE
    if baseline is not None:
        columns.append(REDUCTION)
        note += (
            f" Reduction: by how much less than {baseline!r} a row varies, averaged over accuracy "
            "SD, cross-entropy SD, disagreement, 1 - correlation and the ensemble's percentage "
            "points."
        )
    lines = []
    for model, row in shown:
        cells = (row_cell(row), *spread_cells(row.statistics))
        if baseline is not None:
            cells += (reduction_cell(reduction_percent(model, row, baseline)),)
        lines.append(row_line(model, row, cells))
    return Table("spread", "Spread of test results", tuple(columns), tuple(lines), note)


def _intervals(shown: list[tuple[ModelSummary, RowSummary]]) -> Table:
    columns = (row_column([row for _, row in shown]), *MEANS, *INTERVALS)
    lines = tuple(
        row_line(
            model,
            row,
            (row_cell(row), *mean_cells(row.statistics), *interval_cells(row.statistics)),
        )
        for model, row in shown
    )
    return Table(
        "spread-intervals",
        "Means, and spreads with intervals",
        columns,
        lines,
        f"{INTERVALS_NOTE} {PP_NOTE}",
        detail=True,
    )
