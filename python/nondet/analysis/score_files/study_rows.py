"""Read the scores of a row of a study that `nondet run` wrote."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nondet.analysis.comparison.scores import SINGLE_TASK, Examples, ScoredRun, Scores
from nondet.analysis.score_files.making import Source, choose, make_scores, run_of_examples
from nondet.analysis.score_files.options import ReadOptions
from nondet.analysis.score_files.outcomes import METRICS, example_scores
from nondet.analysis.summary import output_logits
from nondet.environment import mixture
from nondet.names import is_language_model
from nondet.store import DamagedRunError, Store, StoredRun, StoreError
from nondet.store.listing import jobs_by_address
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import Row
from nondet.studies.study import Plan


@dataclass(frozen=True)
class StudyRow:
    """A row of a model in a study."""

    store: Store
    plan: Plan
    config: RunConfig
    row: Row


def find_row(store: Store, plan: Plan, name: str | None, model: str | None = None) -> StudyRow:
    """Return the row of this name, "row" or "model/row"; without a name the only one.

    Raises ValueError, which lists the rows, if there is none or several.
    """
    rows = [
        StudyRow(store, plan, config, row)
        for config in plan.configs
        if model in (None, config.model)
        for row in plan.rows_of(config)
    ]
    if model is not None:
        known = [config.model for config in plan.configs]
        choose("model", model, known, f"the study {plan.study!r}")
    full = {f"{each.config.model}/{each.row.name}": each for each in rows}
    found = [each for each in rows if name is None or each.row.name == name]
    if not found and name in full:
        return full[name]
    if len(found) != 1:
        listed = ", ".join(repr(key) for key in full)
        what = "has several rows" if name is None else f"has no row {name!r}"
        if len(found) > 1 and name is not None:
            what = f"has a row {name!r} of {len(found)} models"
        raise ValueError(f"{store.root} {what}; name one of {listed}")
    return found[0]


def row_source(found: StudyRow, name: str, options: ReadOptions) -> Source:
    """Return the scores of a row: "accuracy", or "cross_entropy" in nats, on the test set.

    They are of what the row compares, such as averaged snapshots. Runs may be paired by "seed", or
    by the seed of one source ("init"). Failed runs are kept as failed; damaged and missing ones are
    named in the notes.

    Raises ValueError for an unknown score and without any run, StoreError for what cannot be read.
    """
    language = is_language_model(found.config.model)
    usual = "cross_entropy" if language else "accuracy"
    score = choose("score", options.score or usual, METRICS, f"{found.store.root}")
    kept = found.store.load_labels(found.config.dataset)
    if kept is None:
        raise StoreError(f"{found.store.root} holds no test labels of {found.config.dataset!r}")
    reader = _Reader(found, kept.labels, score)
    runs = [reader.read(stored) for stored in reader.stored()]
    notes = [*(f"{text}." for text in kept.notes), *reader.notes]
    if language:
        notes.append("The tokens of a text are not independent examples and are not used as such.")
    scores = make_scores(name, runs, score, options, notes=notes)
    data = [f"{found.config.dataset} {job.data[:12]}" for job in reader.jobs]
    return Source(scores, environments=reader.environments, data=data)


def averaged_rows(folder: Path, name: str | None, options: ReadOptions) -> dict[str, Scores]:
    """Return the scores of the rows of a study that vary the same sources as a row and average the
    predictions of snapshots or of augmented images, by name; none if the row does so itself.
    """
    store = Store(folder)
    pilot = find_row(store, store.plan(), name)
    if pilot.row.output != "final":
        return {}
    rows = [
        replace(pilot, row=row)
        for row in pilot.plan.rows_of(pilot.config)
        if row.output != "final" and row.varies == pilot.row.varies
    ]
    return {each.row.name: row_source(each, each.row.name, options).scores for each in rows}


def rows_to_compare(
    store: Store, plan: Plan, names: tuple[str, str], model: str | None, options: ReadOptions
) -> tuple[Scores, Scores]:
    """Return the scores of two rows of a study; the notes of the second name what of both must not
    be compared. Raises as `find_row` and `row_source`.
    """
    a, b = (row_source(find_row(store, plan, name, model), name, options) for name in names)
    notes = (*b.scores.notes, *mixing_notes([a, b]))
    return a.scores, replace(b.scores, notes=notes)


def mixing_notes(sides: Sequence[Source]) -> tuple[str, ...]:
    """Return a note if runs of some sources are of unequal environments or data, of each kind."""
    environments = [each for side in sides for each in side.environments]
    lines = mixture(environments)
    data = sorted({each for side in sides for each in side.data})
    if len(data) > 1:
        lines.append(f"data: {', '.join(data)}")
    if not lines:
        return ()
    return (f"MIXED: these runs must not be compared with one another. {'; '.join(lines)}.",)


class _Reader:
    """Reads the runs of a row. environments, jobs: of those that were read."""

    def __init__(self, found: StudyRow, labels: np.ndarray, score: str) -> None:
        self.found = found
        self.labels = labels
        self.score = score
        self.notes: list[str] = []
        self.environments: list[Mapping[str, Any]] = []
        self.jobs: list[Job] = []
        self._ids = np.arange(len(labels)).astype(str)
        self._classes = labels.astype(str)

    def stored(self) -> Iterator[StoredRun]:
        """Yield the stored runs of the row, failed ones included."""
        keeps = jobs_by_address(self.found.plan)
        planned = list(self.found.plan.jobs(self.found.config, self.found.row))
        damaged = 0
        for job in planned:
            try:
                run = self.found.store.load(job, keeps[job.address][1])
            except DamagedRunError as error:
                self.notes.append(f"Left out: {error}.")
                damaged += 1
                continue
            if run is not None:
                self.jobs.append(job)
                self.environments.append(run.record["environment"])
                yield run
        missing = len(planned) - len(self.jobs) - damaged
        if missing:
            self.notes.append(
                f"{self.found.row.name}: {missing} of {len(planned)} planned runs are missing."
            )

    def read(self, run: StoredRun) -> ScoredRun:
        """Return the scores of a run."""
        label = f"{self.found.row.name}, run {run.job.address[:12]}"
        keys = self._keys(run.job)
        if run.failure is not None:
            return ScoredRun(label, {}, keys, failure=run.failure.reason)
        if run.tokens is not None:
            value = run.accuracy if self.score == "accuracy" else run.cross_entropy
            return ScoredRun(label, {SINGLE_TASK: value}, keys)
        run.check_labels(self.labels)
        logits = output_logits(run, self.found.row.output)
        if np.isnan(logits).any():
            return ScoredRun(label, {}, keys, failure="its logits hold NaN")
        scores = example_scores(logits[None], self.labels, self.score)[0]
        examples = Examples(self._ids, scores, labels=self._classes)
        return run_of_examples(label, {SINGLE_TASK: examples}, keys)

    def _keys(self, job: Job) -> dict[str, str]:
        """Return the seeds of the sources that the row varies, by source, and all as "seed"."""
        seeds = asdict(job.seeds)
        varied: dict[str, str] = {source: str(seeds[source]) for source in self.found.row.varies}
        if not varied:
            return {}
        values = list(dict.fromkeys(varied.values()))
        return {"seed": values[0] if len(values) == 1 else "-".join(varied.values()), **varied}
