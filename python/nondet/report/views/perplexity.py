"""The spread of language models' results: Tables 2 and 4 of the paper, with the correlations and
the CKA of representations that it could not compute (Sec. 3.3).
"""

import math

from nondet.analysis.stats import Interval
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.columns import (
    INTERVALS_NOTE,
    PERPLEXITY,
    PERPLEXITY_INTERVALS,
    PERPLEXITY_MEANS,
    PERPLEXITY_NOTE,
    perplexity_cells,
    perplexity_interval_cells,
    perplexity_mean_cells,
    row_cell,
    row_column,
)
from nondet.report.document import Section, Table
from nondet.report.views import _layers
from nondet.report.views._common import independent_rows, row_line
from nondet.report.views._layers import Compared
from nondet.report.views._perplexity_figures import figures
from nondet.report.views._perplexity_findings import findings
from nondet.report.views._relative_table import relative_table

CKA_NOTE = (
    "Linear CKA between the hidden states that two trainings have of the test tokens, without bias "
    "(from minibatches), averaged over all pairs of trainings, from the first layer to the last; 1 "
    "for equal ones. Their 95% intervals, in the figure, come from a jackknife over trainings."
)
UNKNOWN = Interval(math.nan, math.nan, math.nan)

Shown = list[tuple[ModelSummary, RowSummary]]


def view(summary: Summary) -> Section | None:
    """Return a section on the rows of independent runs of language models; None without such
    rows.
    """
    shown = independent_rows(summary, language=True)
    if not shown:
        return None
    layers = _by_model(shown)
    several = len(layers) > 1
    return Section(
        title="How far perplexity spreads",
        findings=(
            *findings(summary, shown),
            *(finding for model, rows in layers for finding in _layers.findings(model, rows)),
        ),
        tables=(
            _spread(shown),
            _intervals(shown),
            *relative_table("perplexity-relative", shown, summary.plan.baseline),
            *(
                _layers.table(_layers_name(model, several), model, rows, CKA_NOTE)
                for model, rows in layers
            ),
        ),
        figures=(
            *figures(shown, [row.name for row in summary.plan.rows]),
            *(
                _layers.figure(_layers_name(model, several), model, varied)
                for model, rows in layers
                if (varied := [compared for compared in rows if compared.row.row.varies])
            ),
        ),
    )


def _spread(shown: Shown) -> Table:
    columns = (row_column([row for _, row in shown]), *PERPLEXITY)
    lines = tuple(
        row_line(model, row, (row_cell(row), *perplexity_cells(row.language)))
        for model, row in shown
    )
    return Table("perplexity", "Spread of perplexity", columns, lines, PERPLEXITY_NOTE)


def _intervals(shown: Shown) -> Table:
    columns = (row_column([row for _, row in shown]), *PERPLEXITY_MEANS, *PERPLEXITY_INTERVALS)
    lines = tuple(
        row_line(
            model,
            row,
            (
                row_cell(row),
                *perplexity_mean_cells(row.language),
                *perplexity_interval_cells(row.language),
            ),
        )
        for model, row in shown
    )
    return Table(
        "perplexity-intervals",
        "Means, and spreads with intervals",
        columns,
        lines,
        INTERVALS_NOTE,
        detail=True,
    )


def _by_model(shown: Shown) -> list[tuple[ModelSummary, list[Compared]]]:
    """Return, for each model, the rows whose hidden states were compared, with a value for every
    layer that any of them has: a row's own settings may add layers.
    """
    by_model = []
    for model in {id(model): model for model, _ in shown}.values():
        found = [
            (row, row.language.cka)
            for owner, row in shown
            if owner is model and row.language is not None and row.language.cka
        ]
        layers = list(dict.fromkeys(layer for _, cka in found for layer in cka))
        rows = [
            Compared(row, row.runs, {layer: cka.get(layer, UNKNOWN) for layer in layers})
            for row, cka in found
        ]
        if rows:
            by_model.append((model, rows))
    return by_model


def _layers_name(model: ModelSummary, several: bool) -> str:
    return f"perplexity-cka-{model.config.model}" if several else "perplexity-cka"
