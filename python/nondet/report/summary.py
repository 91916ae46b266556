"""From stored runs to the numbers of a table."""

from dataclasses import dataclass, field

import numpy as np

from nondet import metrics
from nondet.config import Job, RunConfig
from nondet.stats import Spread, bootstrap_spread
from nondet.store import DamagedRunError, Store, StoredRun, StoreError
from nondet.row import Row
from nondet.study import Plan

BOOTSTRAP_SEED = 1


@dataclass(frozen=True)
class Statistics:
    """The spread of one row. Accuracies and disagreement in percent (points), cross-entropy in
    nats; what compares two runs is averaged over all pairs.

    correlation: Spearman's, between the flattened test logits of two runs. ensemble_accuracy,
    ensemble_cross_entropy: what averaging the logits of two runs changes.
    """

    accuracy_mean: float
    accuracy: Spread
    cross_entropy_mean: float
    cross_entropy: Spread
    disagreement: float
    correlation: float
    ensemble_accuracy: float
    ensemble_cross_entropy: float


@dataclass(frozen=True)
class RowSummary:
    """One row of one model: its runs and, from two runs on, their statistics; runs that failed are
    kept apart.
    """

    row: Row
    runs: list[StoredRun]
    planned: int
    statistics: Statistics | None
    failed: list[StoredRun] = field(default_factory=list)

    @property
    def distinct_weights(self) -> int:
        """How many different final weights, bit for bit, the runs ended in."""
        return len({run.weight_hashes[-1] for run in self.runs})


@dataclass(frozen=True)
class ModelSummary:
    """All rows that apply to one model."""

    config: RunConfig
    rows: list[RowSummary]

    def row(self, *varies: str) -> RowSummary | None:
        """The row in which exactly these sources vary, if the study has it."""
        return next((row for row in self.rows if row.row.varies == varies), None)


@dataclass(frozen=True)
class Summary:
    """A study in numbers. `damaged` says in words which runs were left out because they are
    damaged, `remarks` what else a reader should know of the data.
    """

    plan: Plan
    models: list[ModelSummary]
    damaged: list[str]
    remarks: tuple[str, ...] = ()

    @property
    def found(self) -> int:
        """Number of runs the store holds, failed ones among them."""
        return sum(len(row.runs) + len(row.failed) for model in self.models for row in model.rows)

    @property
    def planned(self) -> int:
        """Number of runs the plan asks for."""
        return sum(row.planned for model in self.models for row in model.rows)


def summarize(plan: Plan, store: Store) -> Summary:
    """Reads and checks every run of the plan, row by row of those that apply to a model. Missing
    runs are left out, damaged ones too, and named.

    Raises StoreError where the labels of the test images are missing or damaged.
    """
    damaged: list[str] = []
    models = []
    for config in plan.configs:
        rows = []
        for row in plan.rows_of(config):
            found = _read_runs(plan.jobs(config, row), store, damaged)
            runs = [run for run in found if run.failure is None]
            failed = [run for run in found if run.failure is not None]
            statistics = None
            if len(runs) >= 2:
                statistics = compute_statistics(runs, _labels(config.dataset, store))
            rows.append(RowSummary(row, runs, row.count(plan.runs), statistics, failed))
        models.append(ModelSummary(config, rows))
    kept = [store.load_labels(name) for name in {config.dataset: None for config in plan.configs}]
    remarks = tuple(note for labels in kept if labels is not None for note in labels.notes)
    return Summary(plan, models, damaged, remarks)


def _read_runs(jobs: list[Job], store: Store, damaged: list[str]) -> list[StoredRun]:
    runs = []
    for job in jobs:
        try:
            run = store.load(job)
        except DamagedRunError as error:
            damaged.append(str(error))
            continue
        if run is not None:
            runs.append(run)
    return runs


def _labels(dataset: str, store: Store) -> np.ndarray:
    kept = store.load_labels(dataset)
    if kept is None:
        raise StoreError(
            f"{store.root} holds no test labels of {dataset!r}. "
            "The command that began the study writes them."
        )
    return kept.labels


def compute_statistics(runs: list[StoredRun], labels: np.ndarray) -> Statistics:
    """The statistics of at least two runs, none of them failed, on the test examples with these
    labels. Error bars come from a generator with a fixed seed.
    """
    accuracies = 100 * np.array([run.accuracy for run in runs])
    cross_entropies = np.array([run.cross_entropy for run in runs])
    logits = np.stack([run.logits for run in runs if run.logits is not None])
    return Statistics(
        accuracy_mean=float(accuracies.mean()),
        accuracy=bootstrap_spread(accuracies, np.random.default_rng(BOOTSTRAP_SEED)),
        cross_entropy_mean=float(cross_entropies.mean()),
        cross_entropy=bootstrap_spread(cross_entropies, np.random.default_rng(BOOTSTRAP_SEED)),
        disagreement=100 * metrics.pairwise_disagreement(logits),
        correlation=metrics.pairwise_correlation(logits),
        ensemble_accuracy=100 * metrics.pairwise_ensemble_delta(logits, labels, "accuracy"),
        ensemble_cross_entropy=metrics.pairwise_ensemble_delta(logits, labels, "cross_entropy"),
    )
