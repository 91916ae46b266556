"""From stored runs to the numbers of a report."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

import nondet_ext
from nondet import metrics
from nondet.analysis.language_statistics import LanguageStatistics, language_statistics
from nondet.analysis.resampling import RESAMPLES, bootstrap
from nondet.analysis.stats import Interval, Spread, bootstrap_spread, pair_mean, unbiased_sd
from nondet.analysis.streaming.stored import stored_measures
from nondet.store import DamagedRunError, Store, StoredRun, StoreError
from nondet.studies.config import Job, RunConfig
from nondet.studies.row import Keep, Row
from nondet.studies.study import Plan


@dataclass(frozen=True, eq=False)
class Statistics:
    """The spread of one row on images. Accuracies and disagreement in percent (points),
    cross-entropy in nats; what compares two runs is averaged over all pairs.

    accuracies, cross_entropies: (runs,) float64, of the row's output. accuracy, cross_entropy: the
    standard deviation with divisor n and its bootstrap error bar; the unbiased ones beside them
    have a BCa interval. correlation: Spearman's, between the flattened test logits of two runs.
    ensemble_accuracy, ensemble_cross_entropy: what averaging the logits of two runs changes.
    Intervals of pairs come from a bootstrap over runs. All of them are nominal 95%. pairs: the
    matrices (runs, runs) behind these four, by name.
    """

    accuracies: np.ndarray
    cross_entropies: np.ndarray
    accuracy: Spread
    accuracy_unbiased: Interval
    cross_entropy: Spread
    cross_entropy_unbiased: Interval
    disagreement: Interval
    correlation: Interval
    ensemble_accuracy: Interval
    ensemble_cross_entropy: Interval
    pairs: Mapping[str, np.ndarray]

    @property
    def accuracy_mean(self) -> float:
        """In percent."""
        return float(self.accuracies.mean())

    @property
    def cross_entropy_mean(self) -> float:
        """In nats."""
        return float(self.cross_entropies.mean())


@dataclass(frozen=True, eq=False)
class RowSummary:
    """One row of one model: its runs in the order of the plan and, from two runs on, their
    statistics, of language models under `language`; runs that failed are kept apart.
    """

    row: Row
    runs: list[StoredRun]
    planned: int
    statistics: Statistics | None
    failed: list[StoredRun] = field(default_factory=list)
    language: LanguageStatistics | None = None

    @property
    def distinct_weights(self) -> int:
        """How many different final weights, bit for bit, the runs ended in."""
        return len({run.weight_hashes[-1] for run in self.runs})

    @property
    def logits(self) -> np.ndarray | None:
        """The row's output, (runs, examples, classes) float32, a new array at every use; None below
        two runs, and of language models, whose logits are not kept.
        """
        if len(self.runs) < 2 or self.runs[0].tokens is not None:
            return None
        return np.stack([output_logits(run, self.row.output) for run in self.runs])


@dataclass(frozen=True, eq=False)
class ModelSummary:
    """All rows that apply to one model."""

    config: RunConfig
    rows: list[RowSummary]

    def row(self, *varies: str) -> RowSummary | None:
        """The first plain row in which exactly these sources vary, in any order: from the first
        epoch, in tandem, without settings of its own, its final models compared.
        """
        wanted = set(varies)
        return next((row for row in self.rows if _plain(row.row, wanted)), None)

    def named(self, name: str) -> RowSummary | None:
        """The row of this name, if it applies to the model."""
        return next((row for row in self.rows if row.row.name == name), None)


@dataclass(frozen=True, eq=False)
class Summary:
    """A study in numbers. labels: of the test images, or the tokens of a test text, (examples,)
    int64, by data set. `damaged` says in words which runs were left out because they are damaged,
    `remarks` what else a reader should know of the data.
    """

    plan: Plan
    models: list[ModelSummary]
    damaged: list[str] = field(default_factory=list)
    remarks: tuple[str, ...] = ()
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def rows(self) -> list[tuple[ModelSummary, RowSummary]]:
        """Every row of every model, in order."""
        return [(model, row) for model in self.models for row in model.rows]

    @property
    def found(self) -> int:
        """Number of runs the store holds, failed ones among them."""
        return sum(len(row.runs) + len(row.failed) for _, row in self.rows)

    @property
    def planned(self) -> int:
        """Number of runs the plan asks for."""
        return sum(row.planned for _, row in self.rows)


def summarize(plan: Plan, store: Store) -> Summary:
    """Reads and checks every run of the plan, once where rows share it. Missing runs are left out,
    among them those without what their row looks at; damaged ones too, and named.

    Raises StoreError where the labels of a data set are missing or damaged.
    """
    reader = _Reader(plan, store)
    kept = {name: store.load_labels(name) for name in {c.dataset: None for c in plan.configs}}
    labels = {name: found.labels for name, found in kept.items() if found is not None}
    models = []
    for config in plan.configs:
        rows = []
        for row in plan.rows_of(config):
            found = reader.read(plan.jobs(config, row))
            runs = [run for run in found if run.failure is None]
            failed = [run for run in found if run.failure is not None]
            statistics = language = None
            if len(runs) >= 2:
                if config.dataset not in labels:
                    raise StoreError(
                        f"{store.root} holds no test labels of {config.dataset!r}. "
                        "The command that began the study writes them."
                    )
                if config.language is None:
                    statistics = compute_statistics(runs, labels[config.dataset], row.output)
                else:
                    language = _language(store, runs, labels[config.dataset])
            rows.append(RowSummary(row, runs, row.count(plan.runs), statistics, failed, language))
        models.append(ModelSummary(config, rows))
    remarks = tuple(note for found in kept.values() if found is not None for note in found.notes)
    return Summary(plan, models, reader.damaged, remarks, labels)


def compute_statistics(
    runs: Sequence[StoredRun],
    labels: np.ndarray,
    output: str = "final",
    resamples: int = RESAMPLES,
) -> Statistics:
    """The statistics of an output of at least two runs, none of them failed, on the test examples
    with these labels. What is drawn comes from generators with fixed seeds.
    """
    logits = np.stack([output_logits(run, output) for run in runs])
    return statistics_of_logits(logits, labels, resamples)


def statistics_of_logits(
    logits: np.ndarray, labels: np.ndarray, resamples: int = RESAMPLES
) -> Statistics:
    """The statistics of predictions (runs, examples, classes); see `compute_statistics`."""
    accuracies = 100 * metrics.accuracy(logits, labels)
    cross_entropies = metrics.cross_entropy(logits, labels)
    with warnings.catch_warnings():
        # Without ranks there is no correlation: NaN, which reports write as a dash.
        warnings.simplefilter("ignore", nondet_ext.DegenerateInputWarning)
        correlations = metrics.correlation_matrix(logits)
    pairs = {
        "disagreement": 100 * metrics.disagreement_matrix(logits),
        "correlation": correlations,
        "ensemble_accuracy": 100 * metrics.ensemble_delta_matrix(logits, labels, "accuracy"),
        "ensemble_cross_entropy": metrics.ensemble_delta_matrix(logits, labels, "cross_entropy"),
    }
    return Statistics(
        accuracies=accuracies,
        cross_entropies=cross_entropies,
        accuracy=bootstrap_spread(accuracies, bootstrap("accuracy"), resamples),
        accuracy_unbiased=unbiased_sd(accuracies, bootstrap("accuracy, unbiased"), resamples),
        cross_entropy=bootstrap_spread(cross_entropies, bootstrap("cross-entropy"), resamples),
        cross_entropy_unbiased=unbiased_sd(
            cross_entropies, bootstrap("cross-entropy, unbiased"), resamples
        ),
        **{name: pair_mean(matrix, bootstrap(name), resamples) for name, matrix in pairs.items()},
        pairs=pairs,
    )


def output_logits(run: StoredRun, output: str) -> np.ndarray:
    """What a run predicts, (examples, classes) float32: its final logits ("final"), the mean of its
    snapshots' ("snapshots"), or its mean logits under a test-time augmentation ("final/flip").

    Raises ValueError for a run that failed and for a language model, KeyError where the run has no
    such record.
    """
    if run.tokens is not None:
        raise ValueError(f"run {run.job.address} is a language model, whose logits are not kept")
    if run.failure is not None or run.logits is None:
        raise ValueError(f"run {run.job.address} failed and predicts nothing")
    if output == "final":
        return run.logits
    if output != "snapshots":
        return run.records["tta"][output]
    if run.snapshots is None:
        raise KeyError(f"run {run.job.address} has no snapshots")
    mean: np.ndarray = run.snapshots.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def predicted(run: StoredRun) -> np.ndarray:
    """The class, of a text the type of the token, that the final model finds likeliest, (examples,)
    of integers. Raises ValueError for a run that failed.
    """
    if run.tokens is not None:
        return run.tokens.predicted
    classes: np.ndarray = output_logits(run, "final").argmax(axis=1)
    return classes


def _language(store: Store, runs: Sequence[StoredRun], tokens: np.ndarray) -> LanguageStatistics:
    with warnings.catch_warnings():
        # As of images.
        warnings.simplefilter("ignore", nondet_ext.DegenerateInputWarning)
        measures = stored_measures(store, runs, tokens)
    return language_statistics(measures)


class _Reader:
    """Reads runs of a plan, each once. damaged: in words, those that are."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.store = store
        self.damaged: list[str] = []
        self._runs: dict[str, StoredRun | None] = {}
        self._keeps: dict[str, frozenset[Keep]] = {}
        for job, keeps in plan.tasks().items():
            self._keeps[job.address] = self._keeps.get(job.address, frozenset()) | keeps

    def read(self, jobs: Sequence[Job]) -> list[StoredRun]:
        """The stored ones of these runs."""
        runs = (self._read(job) for job in jobs)
        return [run for run in runs if run is not None]

    def _read(self, job: Job) -> StoredRun | None:
        address = job.address
        if address not in self._runs:
            try:
                self._runs[address] = self.store.load(job, self._keeps[address])
            except DamagedRunError as error:
                self.damaged.append(str(error))
                self._runs[address] = None
        return self._runs[address]


def _plain(row: Row, varies: set[str]) -> bool:
    return (
        set(row.varies) == varies
        and row.design == "tandem"
        and row.output == "final"
        and not row.settings
        and not any(vars(row.onset).values())
    )
