"""Compute the numbers of a report from stored runs."""

import math
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
from nondet.store.commands import Command, read_commands
from nondet.store.listing import jobs_by_address
from nondet.store.repetitions import Repetitions, read_repetitions
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import Row
from nondet.studies.study import Plan


@dataclass(frozen=True, eq=False)
class Statistics:
    """The spread of one row of image models.

    Accuracies and disagreement are in percent (differences in percentage points), cross-entropy in
    nats. Measures of two runs are averaged over all pairs. Intervals are nominal 95%, from a
    jackknife over runs.

    Attributes:
        accuracies, cross_entropies: (runs,) float64, of the row's output.
        accuracy, cross_entropy: SD with divisor n and its bootstrap standard error.
        accuracy_unbiased, cross_entropy_unbiased: unbiased ones, with their intervals.
        disagreement, correlation: of two runs; Spearman's, of the flattened test logits.
        ensemble_accuracy, ensemble_cross_entropy: change by averaging the logits of two runs.
        pairs: the matrices (runs, runs) behind these four, by name.
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
        """Return the mean accuracy, in percent."""
        return float(self.accuracies.mean())

    @property
    def cross_entropy_mean(self) -> float:
        """Return the mean cross-entropy, in nats."""
        return float(self.cross_entropies.mean())


@dataclass(frozen=True, eq=False)
class RowSummary:
    """One row of one model: its runs in the order of the plan and, from two runs on, their
    statistics (`language` for language models). Failed runs are listed separately.
    """

    row: Row
    runs: list[StoredRun]
    planned: int
    statistics: Statistics | None
    failed: list[StoredRun] = field(default_factory=list)
    language: LanguageStatistics | None = None

    @property
    def logits(self) -> np.ndarray | None:
        """Return the row's output, (runs, examples, classes) float32, a new array at every use;
        None below two runs, and for language models, whose logits are not stored.
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
        """Return the first plain row in which exactly these sources vary, in any order: from the
        first epoch, together, without settings of its own, comparing final models.
        """
        wanted = set(varies)
        return next((row for row in self.rows if _plain(row.row, wanted)), None)

    def named(self, name: str) -> RowSummary | None:
        """Return the row of this name; None if it does not apply to the model."""
        return next((row for row in self.rows if row.row.name == name), None)


@dataclass(frozen=True, eq=False)
class Summary:
    """The numbers of a study.

    Attributes:
        labels: by data set, of the test images or the tokens of a test text, (examples,) int64.
        damaged: messages, one for each run that is left out because it is damaged.
        remarks: what else a reader should know of the data.
        commands: the commands that trained the runs, as far as they are recorded.
        repetitions: of passes, made before runs in which the vendor's kernels may race.
    """

    plan: Plan
    models: list[ModelSummary]
    damaged: list[str] = field(default_factory=list)
    remarks: tuple[str, ...] = ()
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    commands: tuple[Command, ...] = ()
    repetitions: tuple[Repetitions, ...] = ()

    @property
    def rows(self) -> list[tuple[ModelSummary, RowSummary]]:
        """Yield every row of every model, in order."""
        return [(model, row) for model in self.models for row in model.rows]

    @property
    def found(self) -> int:
        """Return the number of stored runs, failed ones included."""
        return sum(len(row.runs) + len(row.failed) for _, row in self.rows)

    @property
    def planned(self) -> int:
        """Return the number of planned runs."""
        return sum(row.planned for _, row in self.rows)


PAIR_RANGES: Mapping[str, tuple[float, float]] = {
    "disagreement": (0, 100),
    "correlation": (-1, 1),
    "ensemble_accuracy": (-100, 100),
    "ensemble_cross_entropy": (-math.inf, 0),
}
"""The ranges of `Statistics.pairs`. Cross-entropy is convex in the logits, so that averaging them
never raises it.
"""


def summarize(plan: Plan, store: Store) -> Summary:
    """Read and check every run of the plan, once where rows share it.

    Missing runs are left out, as are those without what their row needs; damaged runs are left out
    and named. Raises StoreError if the labels of a data set are missing or damaged.
    """
    kept = {name: store.load_labels(name) for name in {c.dataset: None for c in plan.configs}}
    labels = {name: found.labels for name, found in kept.items() if found is not None}
    remarks = [note for found in kept.values() if found is not None for note in found.notes]
    commands: list[Command] = []
    repetitions: list[Repetitions] = []
    try:
        commands = read_commands(store.root)
    except StoreError as error:
        remarks.append(str(error))
    try:
        repetitions = read_repetitions(store.root)
    except StoreError as error:
        remarks.append(str(error))
    reader = _Reader(plan, store, labels)
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
                    language, notes = _language(store, runs, labels[config.dataset])
                    remarks += [note.rstrip(".") for note in notes]
            rows.append(RowSummary(row, runs, row.count(plan.runs), statistics, failed, language))
        models.append(ModelSummary(config, rows))
    notes_of_data = tuple(dict.fromkeys(remarks))
    return Summary(
        *(plan, models, reader.damaged, notes_of_data, labels),
        commands=tuple(commands),
        repetitions=tuple(repetitions),
    )


def compute_statistics(
    runs: Sequence[StoredRun],
    labels: np.ndarray,
    output: str = "final",
    resamples: int = RESAMPLES,
) -> Statistics:
    """Compute the statistics of one output of at least two runs, none of them failed.

    labels: (examples,) of the test set. Resampling uses generators with fixed seeds.
    """
    logits = np.stack([output_logits(run, output) for run in runs])
    return statistics_of_logits(logits, labels, resamples)


def statistics_of_logits(
    logits: np.ndarray, labels: np.ndarray, resamples: int = RESAMPLES
) -> Statistics:
    """Compute the statistics of predictions (runs, examples, classes); see `compute_statistics`."""
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
        accuracy_unbiased=unbiased_sd(accuracies),
        cross_entropy=bootstrap_spread(cross_entropies, bootstrap("cross-entropy"), resamples),
        cross_entropy_unbiased=unbiased_sd(cross_entropies),
        **{name: pair_mean(matrix, 0.95, *PAIR_RANGES[name]) for name, matrix in pairs.items()},
        pairs=pairs,
    )


def output_logits(run: StoredRun, output: str) -> np.ndarray:
    """Return the predictions of a run, (examples, classes) float32.

    output: "final" for its final logits, "snapshots" for the mean logits of its snapshots, or a
    test-time augmentation such as "final/flip" for the mean logits under it.

    Raises ValueError for a run that failed and for a language model, KeyError if the run has no
    such record, StoreError if its record is older than the test-time augmentation.
    """
    if run.tokens is not None:
        raise ValueError(f"run {run.job.address} is a language model, whose logits are not kept")
    if run.failure is not None or run.logits is None:
        raise ValueError(f"run {run.job.address} failed and predicts nothing")
    if output == "final":
        return run.logits
    if output != "snapshots":
        augmented = run.records["tta"]
        if output not in augmented:
            raise StoreError(
                f"run {run.job.address} has no predictions of {output!r}: it was stored by a "
                "version of nondet without that test-time augmentation. Choose another folder "
                "with --out to train it again"
            )
        return augmented[output]
    if run.snapshots is None:
        raise KeyError(f"run {run.job.address} has no snapshots")
    mean: np.ndarray = run.snapshots.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def predicted(run: StoredRun) -> np.ndarray:
    """Return the most likely class (of a text: the most likely word) of the final model,
    (examples,) integers. Raises ValueError for a run that failed.
    """
    if run.tokens is not None:
        return run.tokens.predicted
    classes: np.ndarray = output_logits(run, "final").argmax(axis=1)
    return classes


def _language(
    store: Store, runs: Sequence[StoredRun], tokens: np.ndarray
) -> tuple[LanguageStatistics, tuple[str, ...]]:
    """Return the statistics of a row, and sentences on their measures."""
    with warnings.catch_warnings():
        # Constant logits give NaN, which reports write as a dash; the warning would repeat it.
        warnings.simplefilter("ignore", nondet_ext.DegenerateInputWarning)
        measures = stored_measures(store, runs, tokens)
    return language_statistics(measures), measures.notes


class _Reader:
    """Reads runs of a plan, each once.

    damaged: messages, one for each damaged run.
    """

    def __init__(self, plan: Plan, store: Store, labels: Mapping[str, np.ndarray]) -> None:
        self.store = store
        self._labels = labels
        self._classes: dict[str, int] = {}
        self.damaged: list[str] = []
        self._runs: dict[str, StoredRun | None] = {}
        self._jobs = jobs_by_address(plan)

    def read(self, jobs: Sequence[Job]) -> list[StoredRun]:
        """Return those of these runs that are stored."""
        runs = (self._read(job) for job in jobs)
        return [run for run in runs if run is not None]

    def _read(self, job: Job) -> StoredRun | None:
        address = job.address
        if address not in self._runs:
            try:
                self._runs[address] = run = self.store.load(job, self._jobs[address][1])
                labels = self._labels.get(job.config.dataset)
                if run is not None and labels is not None:
                    self._check(run, labels)
            except DamagedRunError as error:
                self.damaged.append(str(error))
                self._runs[address] = None
        return self._runs[address]

    def _check(self, run: StoredRun, labels: np.ndarray) -> None:
        """Raise DamagedRunError if a run does not fit the labels, or the runs read before it."""
        run.check_labels(labels)
        if run.logits is not None:
            classes = self._classes.setdefault(run.job.config.dataset, run.logits.shape[1])
            if classes != run.logits.shape[1]:
                raise DamagedRunError(
                    f"run {run.job.address} is damaged: it predicts {run.logits.shape[1]} classes, "
                    f"other runs {classes}"
                )


def _plain(row: Row, varies: set[str]) -> bool:
    return (
        set(row.varies) == varies
        and row.design == "tandem"
        and row.output == "final"
        and not row.settings
        and not any(vars(row.onset).values())
    )
