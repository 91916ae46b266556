"""The table of spreads relative to a reference: all sources, or the baseline of a study."""

import math
from collections.abc import Sequence

from nondet.analysis.relative import HALF, references, relative
from nondet.analysis.stats import Interval
from nondet.analysis.summary import ModelSummary, RowSummary
from nondet.report.columns import row_column
from nondet.report.document import Cell, Column, Table
from nondet.report.text import factor, fixed, interval, number
from nondet.report.views._common import number_cell, row_line
from nondet.report.views._verdicts import QUANTITIES, verdict

POWER = 0.8
_HEADINGS = {**QUANTITIES, "rank_distance": "1 - Spearman"}


def relative_table(
    name: str, shown: Sequence[tuple[ModelSummary, RowSummary]], baseline: str | None
) -> tuple[Table, ...]:
    """Return the table called `name` on the rows that have a reference; none without such rows."""
    models = {id(model): model for model, _ in shown}.values()
    found = [
        (model, row, reference, relative(row, reference))
        for model in models
        for row, reference in references(model, baseline)
    ]
    if not found:
        return ()
    columns = [row_column([row for _, row, _, _ in found])]
    columns.append(Column("relative_to", "relative to", align="left"))
    for quantity in (*found[0][3].sds, *found[0][3].pairs):
        columns.append(Column(f"{quantity}_percent", _HEADINGS[quantity], "%"))
        columns.append(Column(f"{quantity}_verdict", "which is", align="left"))
    columns.append(Column("detectable_sd_ratio", "SDs shown apart", "times"))
    columns.append(Column("detectable_sd_ratio_at_power_80", "at 80% power", "times"))
    lines = []
    for model, row, reference, one in found:
        cells = [Cell(row.row.name, row.row.name), Cell(reference.row.name)]
        for ratio in (*one.sds.values(), *one.pairs.values()):
            cells += _cells(ratio)
        cells += [_times(one.detectable(HALF)), _times(one.detectable(POWER))]
        lines.append(row_line(model, row, tuple(cells)))
    return (
        Table(name, "Spreads beside a reference", tuple(columns), tuple(lines), NOTE, detail=True),
    )


NOTE = (
    "The spread of a row in percent of that of the reference, with 95% intervals from a jackknife "
    "over trainings (docs/statistics.md has their coverage): unbiased SDs, the mean disagreement "
    "of two trainings, and the mean of 1 - Spearman's correlation of their logits. Less, more: the "
    "interval excludes 100%. Alike: it lies between 50 and 200%. (-): no interval, since two "
    "trainings, fewer than three different values or a single training that differs give none. SDs "
    "shown apart: the quotient of two SDs that so many trainings tell from 1 half of the time, and "
    "in 80% of studies; pairs tell smaller differences."
)


def _cells(ratio: Interval) -> tuple[Cell, Cell]:
    share = Interval(*(100 * part for part in ratio))
    text = interval(share, lambda part: number(part) if 0 < part < 1 else fixed(part, 0))
    known = not math.isnan(ratio.low)
    return number_cell(text, share.value, ends=share), Cell(verdict(ratio) if known else "-")


def _times(ratio: float) -> Cell:
    return Cell(factor(ratio), ratio) if math.isfinite(ratio) else Cell("-")
