"""Read a study as pandas data frames and NumPy arrays: `nondet.load`."""

import os
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from nondet.environment import short_digest
from nondet.names import alternatives
from nondet.store import DamagedRunError, Header, Store, StoredRun, StoreError
from nondet.store.listing import jobs_by_address
from nondet.studies.config import RunConfig
from nondet.studies.job import Job, address_of
from nondet.studies.row import Keep, Row
from nondet.studies.seeds import Onset, Seeds
from nondet.studies.study import Plan
from nondet.training.result import EpochRecord

if TYPE_CHECKING:
    from nondet.analysis.comparison.result import Comparison
    from nondet.analysis.language_statistics import LanguageStatistics
    from nondet.analysis.summary import Statistics

Found = TypeVar("Found")
_NAMES = ("model", "row", "run")


def load(folder: str | os.PathLike[str]) -> "Results":
    """Open the folder of a study, finished or not, as `nondet run` wrote it.

    Values are read when they are first asked for, and checked against their SHA-256.

    Raises StoreError if the folder holds no study, or one of another version.
    """
    store = Store(Path(folder))
    return Results(store, store.plan())


class Results:
    """The results of a study.

    Models and rows are given by name. Arrays stack the R runs of a row in the order of `runs`;
    failed and missing runs are excluded. Damaged runs are left out, with a warning.

    Raises ValueError for unknown names, listing the known ones, and StoreError for what cannot be
    read for another reason.

    Attributes:
        plan: the plan of the study.
    """

    def __init__(self, store: Store, plan: Plan) -> None:
        self._store = store
        self.plan = plan
        self._keeps = jobs_by_address(plan)

    def __repr__(self) -> str:
        models = ", ".join(config.model for config in self.plan.configs)
        return f"<Results of {self.plan.study!r} in {self._store.root}: {models}>"

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Return a data frame with a line per stored run and row that it belongs to.

        Columns: model, row, run (its number in the row, from 0), repeat; <source>_seed and
        <source>_onset (the epoch, from 0, from which the source follows its seed), int64; accuracy
        (a fraction) and cross_entropy (nats) of the final weights on the test set, float64, NaN if
        the run failed; seconds of wall time; failure (the reason, or None); address (the name of
        its folder in runs/); environment and data (the first digits of SHA-256: runs in which they
        differ must not be compared).
        """
        lines = []
        for names, job, header in self._headers():
            failure = header.failure
            end = {} if failure is not None else header.history[-1]
            lines.append(
                names
                | {"repeat": job.repeat}
                | {f"{source}_seed": seed for source, seed in asdict(job.seeds).items()}
                | {f"{source}_onset": epoch for source, epoch in asdict(job.onset).items()}
                | {
                    "accuracy": end.get("test_accuracy", np.nan),
                    "cross_entropy": end.get("test_cross_entropy", np.nan),
                    "seconds": header.record["seconds"],
                    "failure": None if failure is None else failure.reason,
                    "address": address_of(header.record["job"]),
                    "environment": short_digest(header.record["environment"]),
                    "data": header.record["job"].get("data", "")[:12],
                }
            )
        seeds = [f"{field.name}_seed" for field in fields(Seeds)]
        onsets = [f"{field.name}_onset" for field in fields(Onset)]
        results = ["accuracy", "cross_entropy", "seconds", "failure", "address"]
        results += ["environment", "data"]
        return pd.DataFrame(lines, columns=[*_NAMES, "repeat", *seeds, *onsets, *results])

    @cached_property
    def history(self) -> pd.DataFrame:
        """Return a data frame with a line per run and epoch, failed runs included.

        Columns: model, row, run as in `runs`; epoch (from 1), learning_rate, train_loss (nats),
        test_accuracy (a fraction) and test_cross_entropy (nats), both NaN if the epoch was not
        evaluated, weights_sha256.
        """
        lines = [names | epoch for names, _, header in self._headers() for epoch in header.history]
        return pd.DataFrame(
            lines, columns=[*_NAMES, *(field.name for field in fields(EpochRecord))]
        )

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return the numbers of the report, a line per model and row.

        Columns: model, row, varies (sources, joined by +), planned, runs, failed, and the fields of
        `analysis.summary.Statistics`, or of `LanguageStatistics` for language models: the mean
        (..._mean), _sd and _error of a spread, _low and _high beside a value with an interval, CKA
        as cka_<layer>. Accuracies and disagreement are in percent, cross-entropies in nats. NaN
        below two runs. Reads every run.
        """
        from nondet.analysis.summary import summarize

        lines = []
        for model in summarize(self.plan, self._store).models:
            for row in model.rows:
                line = {
                    "model": model.config.model,
                    "row": row.row.name,
                    "varies": "+".join(row.row.varies),
                    "planned": row.planned,
                    "runs": len(row.runs),
                    "failed": len(row.failed),
                }
                lines.append(line | _numbers(row.statistics or row.language))
        return pd.DataFrame(lines)

    def labels(self, model: str) -> np.ndarray:
        """Return the labels of the test images, or the tokens of the test text, (N,) int64."""
        dataset = self._config(model).dataset
        kept = self._store.load_labels(dataset)
        if kept is None:
            raise StoreError(f"{self._store.root} holds no test labels of {dataset!r}")
        return kept.labels

    def logits(self, model: str, row: str) -> np.ndarray:
        """Return the predictions of a row's models for the test images, (R, N, C) float32.

        They are the row's output: of the final weights, of snapshots or of augmented images. Raises
        ValueError for language models, whose logits are not stored.
        """
        from nondet.analysis.summary import output_logits

        output = self._row(model, row).output
        return self._stacked(model, row, lambda run: output_logits(run, output))

    def snapshots(self, model: str, row: str) -> np.ndarray:
        """Return the predictions at the end of every cycle of the schedule "snapshots", (R, cycles,
        N, C) float32.
        """

        def of(run: StoredRun) -> np.ndarray:
            if run.snapshots is None:
                schedule = run.job.config.schedule
                raise ValueError(
                    f"the runs of row {row!r} of {model!r} took no snapshots; their schedule is "
                    f"{schedule!r}"
                )
            return run.snapshots

        return self._stacked(model, row, of)

    def records(self, name: str, key: str, model: str, row: str) -> np.ndarray:
        """Return what a recorder kept, (R, ...) of the record's own shape and dtype.

        name: "taps", "tta", "twin" or "weights"; key: one of its arrays (see
        nondet.training.recorders).
        """

        def of(run: StoredRun) -> np.ndarray:
            owner = f"row {row!r} of {model!r}"
            arrays = run.records[_known("record", name, run.records, owner)]
            return arrays[_known(f"key of {name!r}", key, arrays, owner)]

        return self._stacked(model, row, of)

    def record_keys(self, name: str, model: str, row: str) -> list[str]:
        """Return the keys that `records` takes."""
        run = next(self._whole_runs(model, row))
        return list(run.records[_known("record", name, run.records, f"row {row!r} of {model!r}")])

    def compare(
        self,
        a: str,
        b: str,
        model: str | None = None,
        *,
        score: str | None = None,
        margin: float | None = None,
        pair_by: str | None = None,
        confidence: float = 0.95,
        detect: float | None = None,
        seed: int = 1,
    ) -> "Comparison":
        """Say whether the row `b` is better than the row `a`, as `nondet.compare_scores` does.

        a, b: names of rows, or "model/row"; a is the baseline. model: of both rows; needed if
        several models have them. score: "accuracy", in percent and points, the default of images;
        or "cross_entropy" in nats, that of language models. Runs are paired by seed; pair_by may
        also be a source, such as "init". The notes name failed and missing runs, and unequal
        environments and data.

        Raises ValueError and StoreError as the class does.
        """
        from nondet.analysis.comparison.verdicts import compare_scores
        from nondet.analysis.score_files.options import ReadOptions
        from nondet.analysis.score_files.study_rows import rows_to_compare

        options = ReadOptions(score=score)
        sides = rows_to_compare(self._store, self.plan, (a, b), model, options)
        return compare_scores(
            *sides, margin=margin, pair_by=pair_by, confidence=confidence, detect=detect, seed=seed
        )

    def _stacked(self, model: str, row: str, of: Callable[[StoredRun], np.ndarray]) -> np.ndarray:
        return np.stack([of(run) for run in self._whole_runs(model, row)])

    def _whole_runs(self, model: str, row: str) -> Iterator[StoredRun]:
        """Yield the runs of a row that did not fail. Raises ValueError if there is none."""
        found = False
        for job in self.plan.jobs(self._config(model), self._row(model, row)):
            run = self._read(self._store.load, job)
            if run is not None and run.failure is None:
                found = True
                yield run
        if not found:
            raise ValueError(f"row {row!r} of {model!r} has no finished run in {self._store.root}")

    def _headers(self) -> Iterator[tuple[dict[str, Any], Job, Header]]:
        """Yield the model, the row, the number and the header of every stored run."""
        for config in self.plan.configs:
            for row in self.plan.rows_of(config):
                for number, job in enumerate(self.plan.jobs(config, row)):
                    header = self._read(self._store.header, job)
                    if header is not None:
                        names = dict(zip(_NAMES, (config.model, row.name, number), strict=True))
                        yield names, job, header

    def _read(self, read: Callable[[Job, frozenset[Keep]], Found], job: Job) -> Found | None:
        """Return a run as `read` gives it; for a damaged one warn and return None."""
        try:
            return read(job, self._keeps[job.address][1])
        except DamagedRunError as error:
            warnings.warn(f"{error}; it is left out", stacklevel=2)
            return None

    def _config(self, model: str) -> RunConfig:
        configs = {config.model: config for config in self.plan.configs}
        return configs[_known("model", model, configs, f"the study {self.plan.study!r}")]

    def _row(self, model: str, row: str) -> Row:
        rows = {one.name: one for one in self.plan.rows_of(self._config(model))}
        return rows[_known("row", row, rows, f"the model {model!r}")]


def _known(what: str, name: str, known: Collection[str], owner: str) -> str:
    if name not in known:
        raise ValueError(f"{owner} has no {what} {name!r}; {alternatives(name, known)}")
    return name


def _numbers(statistics: "Statistics | LanguageStatistics | None") -> dict[str, float]:
    """Return spreads, intervals and means under flat names."""
    from nondet.analysis.stats import Interval, Spread

    if statistics is None:
        return {}
    means = ("accuracy_mean", "perplexity_mean", "cross_entropy_mean")
    numbers = {name: getattr(statistics, name) for name in means if hasattr(statistics, name)}
    values = {field.name: getattr(statistics, field.name) for field in fields(statistics)}
    values |= {f"cka_{layer}": value for layer, value in values.pop("cka", {}).items()}
    for name, value in values.items():
        if isinstance(value, Spread | Interval):  # arrays are no numbers of a table
            for part, number in value._asdict().items():
                numbers[name if part == "value" else f"{name}_{part}"] = number
    return numbers
