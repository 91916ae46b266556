"""The columns that tables of spreads share, and the cells of a row's statistics."""

import math
from collections.abc import Callable, Sequence

from nondet.analysis.language_statistics import LanguageStatistics
from nondet.analysis.stats import Interval
from nondet.analysis.summary import RowSummary, Statistics
from nondet.report.document import Cell, Column
from nondet.report.text import (
    NOTHING,
    change,
    correlation,
    fixed,
    interval,
    percent,
    plain,
    spread,
)

REDUCTION = Column("variability_reduction_percent", "reduction", "%")
CKA_DECIMALS = 3
PP_NOTE = "pp: percentage points."
"""Ends the note of every table with a column in this unit."""
_SD_NOTE = (
    "SD: standard deviation over the trainings of a row (divisor n); after ± its error bar, the "
    "standard deviation of 10,000 bootstrap SDs."
)
INTERVALS_NOTE = (
    "SD: standard deviation without the bias of small samples (divisor n - 1, over c4). Intervals: "
    "95%, from a jackknife over trainings, since pairs share them; docs/statistics.md has their "
    "coverage: of normal results about 95% from 3 trainings on, of skewed ones less (SDs of "
    "exponential results: 84% for 10). (-): no interval, since two trainings, fewer than three "
    "different values or a single training that differs give none."
)

SPREAD = (
    Column("accuracy_sd_points", "accuracy SD", "pp"),
    Column("cross_entropy_sd_nats", "cross-entropy SD", "nats", bar=True),
    Column("disagreement_percent", "disagree", "%"),
    Column("spearman_correlation", "Spearman corr."),
    Column("ensemble_accuracy_change_points", "ensemble", "pp"),
    Column("ensemble_cross_entropy_change_nats", "ensemble", "nats"),
)
SPREAD_NOTE = (
    f"{_SD_NOTE} Averaged over all pairs of trainings: disagree, the test images on which two "
    "predict different classes; Spearman's correlation between their logits on the test set; "
    "ensemble, the metric of the averaged logits of two minus the mean of their two metrics. "
    f"{PP_NOTE}"
)
MEANS = (
    Column("accuracy_mean_percent", "accuracy", "%"),
    Column("cross_entropy_mean_nats", "cross-entropy", "nats"),
)
INTERVALS = (
    Column("accuracy_sd_unbiased_points", "accuracy SD", "pp"),
    Column("cross_entropy_sd_unbiased_nats", "cross-entropy SD", "nats"),
    Column("disagreement_percent", "disagree", "%"),
    Column("spearman_correlation", "Spearman corr."),
    Column("ensemble_accuracy_change_points", "ensemble", "pp"),
    Column("ensemble_cross_entropy_change_nats", "ensemble", "nats"),
)

PERPLEXITY = (
    Column("perplexity_sd", "perplexity SD"),
    Column("cross_entropy_sd_nats", "cross-entropy SD", "nats", bar=True),
    Column("disagreement_percent", "disagree", "%"),
    Column("spearman_correlation", "Spearman corr."),
    Column("ensemble_perplexity_change", "ensemble", "perplexity"),
    Column("cka_last_layer", "CKA, last layer"),
)
PERPLEXITY_NOTE = (
    f"{_SD_NOTE} Averaged over all pairs of trainings: disagree, the test tokens in whose place "
    "two predict different types; Spearman's correlation between their logits on the test text; "
    "ensemble, the perplexity of the averaged probabilities of two minus the mean of their two "
    "perplexities; linear CKA between their hidden states in the last layer."
)
PERPLEXITY_MEANS = (
    Column("perplexity_mean", "perplexity"),
    Column("cross_entropy_mean_nats", "cross-entropy", "nats"),
)
PERPLEXITY_INTERVALS = (
    Column("perplexity_sd_unbiased", "perplexity SD"),
    Column("cross_entropy_sd_unbiased_nats", "cross-entropy SD", "nats"),
    Column("disagreement_percent", "disagree", "%"),
    Column("spearman_correlation", "Spearman corr."),
    Column("ensemble_perplexity_change", "ensemble", "perplexity"),
    Column("ensemble_cross_entropy_change_nats", "ensemble", "nats"),
)


def spread_cells(statistics: Statistics | None) -> tuple[Cell, ...]:
    """Return the cells of the columns `SPREAD`; dashes without statistics."""
    if statistics is None:
        return (Cell(NOTHING),) * len(SPREAD)
    return (
        Cell(spread(statistics.accuracy, 2), *statistics.accuracy),
        Cell(spread(statistics.cross_entropy, 4), *statistics.cross_entropy),
        Cell(percent(statistics.disagreement.value), statistics.disagreement.value),
        Cell(correlation(statistics.correlation.value), statistics.correlation.value),
        Cell(change(statistics.ensemble_accuracy.value, 2), statistics.ensemble_accuracy.value),
        Cell(
            change(statistics.ensemble_cross_entropy.value, 4),
            statistics.ensemble_cross_entropy.value,
        ),
    )


def mean_cells(statistics: Statistics | None) -> tuple[Cell, ...]:
    """Return the cells of the columns `MEANS`; dashes without statistics."""
    if statistics is None:
        return (Cell(NOTHING),) * len(MEANS)
    return (
        Cell(fixed(statistics.accuracy_mean, 2), statistics.accuracy_mean),
        Cell(fixed(statistics.cross_entropy_mean, 4), statistics.cross_entropy_mean),
    )


def interval_cells(statistics: Statistics | None) -> tuple[Cell, ...]:
    """Return the cells of the columns `INTERVALS`; dashes without statistics."""
    if statistics is None:
        return (Cell(NOTHING),) * len(INTERVALS)
    return (
        interval_cell(statistics.accuracy_unbiased, lambda value: plain(value, 2)),
        interval_cell(statistics.cross_entropy_unbiased, lambda value: plain(value, 4)),
        interval_cell(statistics.disagreement, percent),
        interval_cell(statistics.correlation, correlation),
        interval_cell(statistics.ensemble_accuracy, lambda value: change(value, 2)),
        interval_cell(statistics.ensemble_cross_entropy, lambda value: change(value, 4)),
    )


def perplexity_cells(statistics: LanguageStatistics | None) -> tuple[Cell, ...]:
    """Return the cells of the columns `PERPLEXITY`; dashes without statistics."""
    if statistics is None:
        return (Cell(NOTHING),) * len(PERPLEXITY)
    ensemble, cka = statistics.ensemble_perplexity.value, statistics.last_cka.value
    return (
        Cell(spread(statistics.perplexity, 3), *statistics.perplexity),
        Cell(spread(statistics.cross_entropy, 4), *statistics.cross_entropy),
        Cell(percent(statistics.disagreement.value), statistics.disagreement.value),
        Cell(correlation(statistics.correlation.value), statistics.correlation.value),
        Cell(change(ensemble, 2), ensemble),
        Cell(NOTHING) if math.isnan(cka) else Cell(fixed(cka, CKA_DECIMALS), cka),
    )


def perplexity_mean_cells(statistics: LanguageStatistics | None) -> tuple[Cell, ...]:
    """Return the cells of the columns `PERPLEXITY_MEANS`; dashes without statistics."""
    if statistics is None:
        return (Cell(NOTHING),) * len(PERPLEXITY_MEANS)
    return (
        Cell(fixed(statistics.perplexity_mean, 2), statistics.perplexity_mean),
        Cell(fixed(statistics.cross_entropy_mean, 4), statistics.cross_entropy_mean),
    )


def perplexity_interval_cells(statistics: LanguageStatistics | None) -> tuple[Cell, ...]:
    """Return the cells of the columns `PERPLEXITY_INTERVALS`; dashes without statistics."""
    if statistics is None:
        return (Cell(NOTHING),) * len(PERPLEXITY_INTERVALS)
    return (
        interval_cell(statistics.perplexity_unbiased, lambda value: plain(value, 3)),
        interval_cell(statistics.cross_entropy_unbiased, lambda value: plain(value, 4)),
        interval_cell(statistics.disagreement, percent),
        interval_cell(statistics.correlation, correlation),
        interval_cell(statistics.ensemble_perplexity, lambda value: change(value, 2)),
        interval_cell(statistics.ensemble_cross_entropy, lambda value: change(value, 4)),
    )


def interval_cell(value: Interval, write: Callable[[float], str]) -> Cell:
    """Return a cell with a number and its interval, written by `write`."""
    ends = None if math.isnan(value.low) or math.isnan(value.high) else (value.low, value.high)
    return Cell(interval(value, write), value.value, interval=ends)


def row_cell(row: RowSummary) -> Cell:
    """Return a row's name, with the numbers of finished and failed runs if any are missing."""
    text = row.row.name
    if len(row.runs) < row.planned:
        text += f" {len(row.runs)}/{row.planned}"
    if row.failed:
        text += f", {len(row.failed)} failed"
    return Cell(text, row.row.name)


def row_column(rows: Sequence[RowSummary]) -> Column:
    """Return the column of row names, headed "source varied" if rows differ in nothing else."""
    plain_rows = all(
        row.row.output == "final" and set(row.row.settings) <= {"lowlevel", "perturbation"}
        for row in rows
    )
    return Column("row", "source varied" if plain_rows else "row", align="left")


def reduction_cell(value: Interval | None) -> Cell:
    """Return a cell with a reduction in whole percent; files also have its interval."""
    if value is None:
        return Cell(NOTHING)
    ends = None if math.isnan(value.low) else (value.low, value.high)
    return Cell(f"{value.value:z.0f}", value.value, interval=ends)
