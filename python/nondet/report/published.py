"""Published numbers, and a table that compares a study's results with them.

ResNet-14 on CIFAR-10, 500 epochs, 100 models a row. The paper's values are those reprinted by the
report of the ML Reproducibility Challenge 2021 (ReScience C), which adds the values of its own
replication.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nondet.analysis.reduction import reduction_percent
from nondet.analysis.stats import Spread
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.columns import PP_NOTE, REDUCTION, SPREAD, reduction_cell, spread_cells
from nondet.report.document import Cell, Column, Line, Table
from nondet.report.text import NOTHING, change, fixed, percent, spread
from nondet.studies.config import RunConfig
from nondet.studies.row import Row
from nondet.studies.seeds import Source

PAPER = "the paper"
REPLICATION = "replication (MLRC 2021)"

ALL: tuple[Source, ...] = ("init", "shuffle", "augment", "lowlevel")

SETTING: Mapping[str, Any] = {
    "dataset": "cifar10",
    "model": "resnet14",
    "epochs": 500,
    "batch_size": 512,
    "lr": 0.4,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "bias_lr_scale": 0.1,
    "warmup_epochs": 3,
    "label_smoothing": 0.0,
    "averaging": "none",
    "weight_offset": 0.0,
    "dropout": 0.0,
    "crop_padding": 4,
    "flip": True,
}
"""The settings of the published runs; the schedule is "cosine", or "snapshots" with 5 cycles."""


@dataclass(frozen=True)
class Published:
    """A published row: SDs in percentage points and nats with their error bars, disagreement in
    percent, Spearman's correlation, the gain of an ensemble of two in percentage points, and the
    reduction in percent, if published. output: as `Row.output`.
    """

    source: str
    varies: tuple[Source, ...]
    output: str
    accuracy: Spread
    cross_entropy: Spread
    disagreement: float
    correlation: float
    ensemble: float
    reduction: float | None = None


def _row(
    source: str,
    varies: tuple[Source, ...],
    output: str,
    accuracy: tuple[float, float],
    cross_entropy: tuple[float, float],
    disagreement: float,
    correlation: float,
    ensemble: float,
    reduction: float | None = None,
) -> Published:
    return Published(
        source,
        varies,
        output,
        Spread(*accuracy),
        Spread(*cross_entropy),
        disagreement,
        correlation,
        ensemble,
        reduction,
    )


# fmt: off
PUBLISHED: tuple[Published, ...] = (
    _row(PAPER, ALL, "final", (0.26, 0.02), (0.0072, 0.0005), 10.7, 0.871, 1.82),
    _row(PAPER, ALL, "snapshots", (0.19, 0.02), (0.0044, 0.0003), 6.1, 0.957, 0.63, 48),
    _row(PAPER, ALL, "final/flip", (0.24, 0.02), (0.0061, 0.0005), 8.2, 0.905, 1.20, 21),
    _row(PAPER, ALL, "final/crops25", (0.23, 0.02), (0.0059, 0.0004), 9.2, 0.893, 1.49, 16),
    _row(PAPER, ALL, "final/crops81", (0.21, 0.01), (0.0055, 0.0004), 8.8, 0.898, 1.39, 21),
    _row(PAPER, ALL, "final/flip+crops25", (0.21, 0.02), (0.0051, 0.0004), 7.2, 0.920, 0.99, 33),
    _row(PAPER, ALL, "final/flip+crops81", (0.19, 0.01), (0.0049, 0.0004), 6.9, 0.922, 0.92, 37),
    _row(PAPER, ALL, "snapshots/flip", (0.15, 0.01), (0.0039, 0.0003), 5, 0.967, 0.45, 58),
    _row(PAPER, ALL, "snapshots/flip+crops81",
         (0.16, 0.01), (0.0033, 0.0002), 4.6, 0.972, 0.38, 61),
    _row(REPLICATION, (), "final", (0, 0), (0, 0), 0, 1, 0),
    _row(REPLICATION, ("init",), "final", (0.22, 0.02), (0.0073, 0.0005), 10.7, 0.873, 1.86),
    _row(REPLICATION, ("shuffle",), "final", (0.25, 0.02), (0.0083, 0.0005), 10.7, 0.871, 1.86),
    _row(REPLICATION, ("augment",), "final", (0.22, 0.02), (0.0069, 0.0005), 10.7, 0.872, 1.87),
    _row(REPLICATION, ("lowlevel",), "final", (0.21, 0.01), (0.0067, 0.0004), 10.6, 0.873, 1.83),
    _row(REPLICATION, ("shuffle", "lowlevel"), "final",
         (0.25, 0.02), (0.0071, 0.0005), 10.7, 0.871, 1.85),
    _row(REPLICATION, ("shuffle", "augment", "lowlevel"), "final",
         (0.24, 0.02), (0.0068, 0.0004), 10.7, 0.871, 1.87),
    _row(REPLICATION, ALL, "final", (0.26, 0.02), (0.0080, 0.0005), 10.7, 0.871, 1.84),
    _row(REPLICATION, ("bit",), "final", (0.21, 0.014), (0.0067, 0.0004), 10.6, 0.874, 1.82),
)
# fmt: on


def published(summary: Summary) -> tuple[Table, ...]:
    """Return a table of the study's rows beside published ones with equal settings; none without
    such rows.
    """
    lines: list[Line] = []
    for model, row in summary.rows:
        matching = find(row.row, model.config)
        if matching and row.statistics is not None:
            lines.append(_own_line(summary, model, row))
            lines += [_published_line(row.row.name, other) for other in matching]
    if not lines:
        return ()
    columns = (
        Column("whose", "whose", align="left"),
        *SPREAD[:-1],
        REDUCTION,
    )
    note = (
        "Published values: 100 models a row. Their low-level source is cuDNN's choice of kernels; "
        f"here it is the order of sums in gradients. {PP_NOTE}"
    )
    return (Table("published", "Beside published numbers", columns, tuple(lines), note, "row"),)


def find(row: Row, config: RunConfig) -> list[Published]:
    """Return the published rows with the same settings, sources and output."""
    used = row.config(config)
    cosine = used.schedule == "cosine"
    snapshots = used.schedule == "snapshots" and used.cycles == 5
    alike = all(getattr(used, name) == value for name, value in SETTING.items())
    plain = row.design == "tandem" and not any(vars(row.onset).values())
    if not (alike and plain and (snapshots if row.output.startswith("snapshots") else cosine)):
        return []
    # These models have no dropout, so that "stochastic" varies nothing.
    varies = set(row.varies) - {"stochastic"}
    return [
        other for other in PUBLISHED if (set(other.varies), other.output) == (varies, row.output)
    ]


def _own_line(summary: Summary, model: ModelSummary, row: RowSummary) -> Line:
    reduced = reduction_cell(reduction_percent(model, row, summary.plan.baseline))
    cells = spread_cells(row.statistics)[:-1]
    own = Cell(f"here, {len(row.runs)} models", "here")
    return Line((own, *cells, reduced), row.row.name, strong=True)


def _published_line(name: str, row: Published) -> Line:
    reduced = Cell(NOTHING) if row.reduction is None else Cell(f"{row.reduction:g}", row.reduction)
    cells = (
        Cell(row.source),
        Cell(spread(row.accuracy, 2), *row.accuracy),
        Cell(spread(row.cross_entropy, 4), *row.cross_entropy),
        Cell(percent(row.disagreement), row.disagreement),
        Cell("1" if row.correlation == 1 else fixed(row.correlation, 3), row.correlation),
        Cell(change(row.ensemble, 2), row.ensemble),
        reduced,
    )
    return Line(cells, name)
