"""Snapshot ensembles beside ensembles of N = 1, 2, 3, ... independent models (Table 5)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nondet import metrics
from nondet.analysis.resampling import bootstrap
from nondet.analysis.stats import (
    Spread,
    bootstrap_spread,
    group_means,
    mean_over_pairs,
    partitions,
    unbiased_sd,
)
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.colors import BLUE, CYCLE
from nondet.report.columns import PP_NOTE
from nondet.report.document import Cell, Column, Figure, Line, Section, Table
from nondet.report.plots import label, legend, panels, whole_ticks
from nondet.report.text import (
    change,
    correlation,
    describe_seeds,
    fixed,
    number,
    percent,
    plural,
    spread,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PARTITIONS = 10
"""The number of random divisions into ensembles over which statistics are averaged."""
GROUPS = 3
"""The fewest ensembles whose spread is estimated."""
LARGEST = 10
"""The most models in an ensemble."""
_RESAMPLES = 1000


@dataclass(frozen=True)
class Ensemble:
    """The mean results of ensembles of one kind and their spread. Accuracies and disagreement are
    in percent, SDs and changes of accuracy in percentage points, cross-entropies in nats. size: the
    number of models in each, None for snapshots of one training; groups: the number of ensembles.
    """

    name: str
    size: int | None
    groups: int
    accuracy: float
    cross_entropy: float
    accuracy_sd: Spread
    cross_entropy_sd: Spread
    disagreement: float
    correlation: float
    ensemble_accuracy: float
    ensemble_cross_entropy: float


_METRICS: tuple[tuple[str, str, Callable[[Ensemble], float], bool], ...] = (
    ("accuracy", "accuracy (%)", lambda ensemble: ensemble.accuracy, True),
    ("accuracy SD", "accuracy SD (pp)", lambda ensemble: ensemble.accuracy_sd.sd, False),
    ("disagreement", "disagreement (%)", lambda ensemble: ensemble.disagreement, False),
    ("cross-entropy", "cross-entropy (nats)", lambda ensemble: ensemble.cross_entropy, False),
    (
        "cross-entropy SD",
        "cross-entropy SD (nats)",
        lambda ensemble: ensemble.cross_entropy_sd.sd,
        False,
    ),
    ("1 - correlation", "1 - Spearman corr.", lambda ensemble: 1 - ensemble.correlation, False),
)
"""Name, axis label, value, and True if larger is better."""


def view(summary: Summary) -> Section | None:
    """Return a section on the models with snapshot ensembles and single models; None without such
    models.
    """
    lines: list[Line] = []
    findings: list[str] = []
    figures: list[Figure] = []
    compared = [(model, kinds) for model in summary.models if (kinds := _kinds(model))]
    for model, (pool, rows) in compared:
        labels = summary.labels[model.config.dataset]
        ordinary = ordinary_ensembles(_logits(pool), labels)
        snapshots = [_measure(row.row.name, None, [_logits(row)], labels) for row in rows]
        name = model.config.model
        seeds = describe_seeds(run.job for run in pool.runs)
        lines += [Line(_cells(ensemble), name, seeds=seeds) for ensemble in ordinary]
        lines += [
            Line(_cells(snapshot), name, True, describe_seeds(run.job for run in row.runs))
            for snapshot, row in zip(snapshots, rows, strict=True)
        ]
        findings += [_finding(name, snapshot, ordinary) for snapshot in snapshots]
        figures.append(_figure(name, ordinary, snapshots, several=len(compared) > 1))
    if not lines:
        return None
    return Section(
        "Snapshot ensembles against independent models",
        findings=tuple(findings),
        tables=(_table(lines),),
        figures=tuple(figures),
    )


def ordinary_ensembles(logits: np.ndarray, labels: np.ndarray) -> list[Ensemble]:
    """Return ensembles of 1, 2, ... models, as long as there are `GROUPS` of them (2 of one model).

    logits: (runs, examples, classes). Ensembles that are compared share no model, which would make
    their spread too small.
    """
    ensembles = []
    for size in range(1, LARGEST + 1):
        groups = len(logits) // size
        if groups < GROUPS and (size > 1 or groups < 2):
            break
        generator = bootstrap(f"partitions into ensembles of {size}")
        count = PARTITIONS if size > 1 else 1
        divisions = partitions(len(logits), size, generator, count)
        means = (group_means(logits, groups).astype(np.float32) for groups in divisions)
        ensembles.append(_measure(plural(size, "independent model"), size, means, labels))
    return ensembles


def _kinds(model: ModelSummary) -> tuple[RowSummary, list[RowSummary]] | None:
    """Return the row of single models with the most sources, from which ensembles are drawn, and
    the rows of snapshot ensembles; None if either is missing.
    """
    known = [row for row in model.rows if row.statistics is not None and row.row.design == "tandem"]
    pools = [row for row in known if row.row.output == "final" and row.row.varies]
    snapshots = [row for row in known if row.row.output.startswith("snapshots")]
    if not pools or not snapshots:
        return None
    return max(pools, key=lambda row: len(row.row.varies)), snapshots


def _logits(row: RowSummary) -> np.ndarray:
    logits = row.logits
    assert logits is not None
    return logits


def _measure(
    name: str,
    size: int | None,
    predictions: Iterable[np.ndarray],
    labels: np.ndarray,
) -> Ensemble:
    """Return the mean statistics of several sets of ensembles, (groups, examples, classes) each."""
    rows = []
    groups = 0
    for logits in predictions:
        groups = len(logits)
        accuracy = 100 * metrics.accuracy(logits, labels)
        cross_entropy = metrics.cross_entropy(logits, labels)
        rows.append(
            (
                accuracy.mean(),
                cross_entropy.mean(),
                *_spread(accuracy),
                *_spread(cross_entropy),
                100 * mean_over_pairs(metrics.disagreement_matrix(logits)),
                mean_over_pairs(metrics.correlation_matrix(logits)),
                100 * mean_over_pairs(metrics.ensemble_delta_matrix(logits, labels, "accuracy")),
                mean_over_pairs(metrics.ensemble_delta_matrix(logits, labels, "cross_entropy")),
            )
        )
    mean = [float(value) for value in np.mean(rows, axis=0)]
    return Ensemble(
        name, size, groups, mean[0], mean[1], Spread(*mean[2:4]), Spread(*mean[4:6]), *mean[6:]
    )


def _spread(values: np.ndarray) -> Spread:
    """Return the SD without the bias of small samples: larger ensembles are fewer, and the bias
    would make them look more stable than they are.
    """
    sd = unbiased_sd(values).value
    return Spread(sd, bootstrap_spread(values, bootstrap("ensembles"), _RESAMPLES).error)


# -- sentences ---------------------------------------------------------------------------------


def _finding(model: str, snapshot: Ensemble, ordinary: list[Ensemble]) -> str:
    """Return a finding on the sizes of ensembles between which a snapshot ensemble lies."""
    places = []
    for name, _, value_of, more in _METRICS:
        if name in ("accuracy", "cross-entropy SD", "disagreement"):
            value = (
                percent(value_of(snapshot)) + "%"
                if name != "cross-entropy SD"
                else number(value_of(snapshot))
            )
            sign = -1 if more else 1
            values = [sign * value_of(ensemble) for ensemble in ordinary]
            place = place_among(values, sign * value_of(snapshot))
            places.append(f"its {name} ({value}) is {place}")
    return f"{model}, {snapshot.name}: {'; '.join(places)}."


def place_among(by_size: list[float], value: float) -> str:
    """Return in words where a value lies among those of ensembles of 1, 2, ... models; smaller is
    better.
    """
    sizes = [size for size, other in enumerate(by_size, 1) if other <= value]
    if by_size[0] < value:
        return "worse than that of a single model"
    if by_size[0] == value:
        return "that of a single model"
    if not sizes:
        largest = len(by_size)
        if largest == 1:
            return "better than that of a single model"
        return f"better than that of {largest} independent models, the most compared"
    size = sizes[0]
    if by_size[size - 1] == value:
        return f"that of {size} independent models"
    return f"between those of {size - 1} and {size} independent models"


# -- table and figure --------------------------------------------------------------------------


def _table(lines: list[Line]) -> Table:
    columns = (
        Column("ensemble", "ensemble", align="left"),
        Column("groups", "groups"),
        Column("accuracy_mean_percent", "accuracy", "%"),
        Column("cross_entropy_mean_nats", "cross-ent.", "nats"),
        Column("accuracy_sd_unbiased_points", "accuracy SD", "pp"),
        Column("cross_entropy_sd_unbiased_nats", "cross-entropy SD", "nats", bar=True),
        Column("disagreement_percent", "disagree", "%"),
        Column("spearman_correlation", "Spearman corr."),
        Column("ensemble_accuracy_change_points", "ensemble", "pp"),
        Column("ensemble_cross_entropy_change_nats", "ensemble", "nats"),
    )
    note = (
        f"Ensembles average logits. Models are divided into ensembles that share none; statistics "
        f"are averaged over {PARTITIONS} ways to divide them. Groups: ensembles in each of them. "
        "SD: standard deviation over ensembles without the bias of small samples (divisor n - 1, "
        "over c4); after ± the bootstrap error bar of one way to divide. The other columns are "
        f"those of the table of spreads. {PP_NOTE}"
    )
    return Table("ensembles", "Snapshots against independent models", columns, tuple(lines), note)


def _cells(ensemble: Ensemble) -> tuple[Cell, ...]:
    return (
        Cell(ensemble.name),
        Cell(f"{ensemble.groups:,}", ensemble.groups),
        Cell(fixed(ensemble.accuracy, 2), ensemble.accuracy),
        Cell(fixed(ensemble.cross_entropy, 4), ensemble.cross_entropy),
        Cell(spread(ensemble.accuracy_sd, 2), *ensemble.accuracy_sd),
        Cell(spread(ensemble.cross_entropy_sd, 4), *ensemble.cross_entropy_sd),
        Cell(percent(ensemble.disagreement), ensemble.disagreement),
        Cell(correlation(ensemble.correlation), ensemble.correlation),
        Cell(change(ensemble.ensemble_accuracy, 2), ensemble.ensemble_accuracy),
        Cell(change(ensemble.ensemble_cross_entropy, 4), ensemble.ensemble_cross_entropy),
    )


def _figure(
    model: str, ordinary: list[Ensemble], snapshots: list[Ensemble], several: bool
) -> Figure:
    return Figure(
        f"ensembles-{model}" if several else "ensembles",
        f"Snapshot ensembles of {model} against N independent models",
        "Points: ensembles of N independent models; dashed lines: snapshot ensembles of single "
        f"trainings. Accuracy is better higher up, everything else lower down. {PP_NOTE}",
        lambda canvas: _draw(canvas, ordinary, snapshots),
        (9.0, 5.2),
    )


def _draw(canvas: "Canvas", ordinary: list[Ensemble], snapshots: list[Ensemble]) -> None:
    grid = [axes for line in panels(canvas, 2, 3) for axes in line]
    sizes = list(range(1, len(ordinary) + 1))
    for axes, (_, heading, value_of, _) in zip(grid, _METRICS, strict=True):
        values = [value_of(ensemble) for ensemble in ordinary]
        axes.plot(sizes, values, "o-", color=BLUE, label="independent models")
        for place, snapshot in enumerate(snapshots, 1):
            color = CYCLE[place % len(CYCLE)]
            axes.axhline(value_of(snapshot), color=color, linestyle="--", label=snapshot.name)
        label(axes, "N, models in an ensemble", heading)
        whole_ticks(axes)
    legend(canvas, grid)
