"""Run a study.

Stored runs are kept, equal runs of other studies are reused, and missing runs are trained, after
the control has been verified.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from nondet.data import Dataset, load_dataset
from nondet.execute.control import Trajectory, check_against, prove_control
from nondet.execute.executors import Executor, JobFailedError, Serial
from nondet.execute.jobs import Outcome, environment_of, run_job, train_prefix
from nondet.execute.prefixes import shared_prefixes
from nondet.files import unfinished
from nondet.models import describe_upscaling
from nondet.store import DamagedRunError, Failure, Store, StoreError
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import Keep
from nondet.studies.study import Plan

TRIES = 2
"""Number of attempts at a run that crashes: that raises, or whose process is killed."""

ABORT_AFTER = 3
"""A study stops if its first runs, this many, all crash with the same exception."""

_MAX_CRASH_MESSAGES = 5

Tasks = dict[Job, frozenset[Keep]]
"""Runs, and the names of their records."""


class Progress(Protocol):
    """Receives messages and events of a running study."""

    def message(self, text: str) -> None:
        """Show a message to the user."""

    def proving(self) -> None:
        """Show that the control is being verified."""

    def start(self, plan: Plan, done: Mapping[Job, Outcome], workers: int) -> None:
        """Show that the runs start, `workers` at a time; `done` are stored already."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Show that a run ended."""


class LoggedProgress:
    """Logs messages as warnings of the logger "nondet" and ignores all other events."""

    def message(self, text: str) -> None:
        """Log a warning."""
        logging.getLogger("nondet").warning("%s", text)

    def proving(self) -> None:
        """Do nothing."""

    def start(self, plan: Plan, done: Mapping[Job, Outcome], workers: int) -> None:
        """Do nothing."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Do nothing."""


def scan(
    plan: Plan, store: Store, message: Callable[[str], None]
) -> tuple[dict[Job, Outcome], Tasks]:
    """Return the plan's runs that are stored, with their outcomes, and those that are missing.

    Crashed runs count as missing. So do damaged ones, which are set aside with a message.
    """
    done: dict[Job, Outcome] = {}
    missing: Tasks = {}
    for job, keeps in plan.tasks().items():
        try:
            run = store.load(job, keeps)
        except DamagedRunError as error:
            message(f"{error}; set aside in {store.set_aside(job)} and trained again")
            run = None
        if run is None or (run.failure is not None and run.failure.crashed):
            missing[job] = keeps
        else:
            done[job] = Outcome(run.seconds, run.failure is not None)
    return done, missing


def run_study(
    plan: Plan,
    store: Store,
    make_executor: Callable[[], AbstractContextManager[Executor]] = Serial,
    progress: Progress | None = None,
) -> int:
    """Train the missing runs of a study in an opened store, and return the number of crashed runs.

    make_executor: creates the executor; it is called only if runs are missing. progress: by default
    messages go to the logger "nondet".

    A run that crashes `TRIES` times is stored as crashed, and is missing the next time. Raises
    ControlError if the control fails; StoreError if the store cannot be read or written;
    JobFailedError if a training of the control crashes, the first `ABORT_AFTER` runs all crash with
    the same exception, or all runs crash. Runs that finished before an error stay stored.
    """
    progress = LoggedProgress() if progress is None else progress
    _save_labels(plan, store)
    done, missing = scan(plan, store, progress.message)
    if not missing:
        return 0
    with make_executor() as executor:
        settings = {(job.config.device, job.config.threads) for job in missing}
        environments = dict(executor.map(environment_of, sorted(settings)))
        _reuse_runs(store, done, missing, environments, progress)
        progress.proving()
        with _temporary_folder(store) as folder:
            proved = prove_control(_control_configs(plan), executor, folder)
        controls = _control_jobs(plan)
        for job in done:
            if job in controls:  # stored and reused ones alike
                _check_control(job, proved[job.config], store)
        progress.start(plan, done, executor.workers)
        _train_prefixes(store, missing, executor, progress)
        return _train(plan, store, done, missing, environments, proved, executor, progress)


def _train(
    plan: Plan,
    store: Store,
    done: Mapping[Job, Outcome],
    missing: Tasks,
    environments: Mapping[tuple[str, int], dict[str, Any]],
    proved: Mapping[RunConfig, Trajectory],
    executor: Executor,
    progress: Progress,
) -> int:
    """Train the missing runs; return the number of crashed runs."""
    controls = _control_jobs(plan)
    crashes: list[JobFailedError] = []
    work = executor.attempt(partial(run_job, store), missing.items(), TRIES)
    for number, ((job, _), outcome) in enumerate(work, 1):
        if not isinstance(outcome, JobFailedError):
            if job in controls:
                _check_control(job, proved[job.config], store)
            progress.finished(job, outcome)
            continue
        if outcome.kind == StoreError.__name__:  # the fault of the folder, not of the run
            raise StoreError(str(outcome).partition(": ")[2])
        crashes.append(outcome)
        failure = Failure(str(outcome), epoch=0, step=0, crashed=True)
        environment = environments[job.config.device, job.config.threads]
        store.save_failure(job, failure, [], environment)
        if len(crashes) == number and _is_hopeless(crashes, len(missing), done):
            raise outcome
        if len(crashes) <= _MAX_CRASH_MESSAGES:
            progress.message(
                f"a run of {job.config.model!r} crashed {TRIES} times and is recorded as failed: "
                f"{outcome} (runs/{job.address})"
            )
        progress.finished(job, Outcome(0.0, failed=True))
    if crashes:
        runs = "1 run" if len(crashes) == 1 else f"{len(crashes)} runs"
        progress.message(f"{runs} crashed; the same command tries again")
    return len(crashes)


def _is_hopeless(crashes: list[JobFailedError], missing: int, done: Mapping[Job, Outcome]) -> bool:
    """Return True if the study should stop, given that all of its runs so far crashed."""
    same_kind = len({crash.kind for crash in crashes}) == 1
    if len(crashes) >= ABORT_AFTER and same_kind:
        return True
    return len(crashes) == missing and all(outcome.failed for outcome in done.values())


def _reuse_runs(
    store: Store,
    done: dict[Job, Outcome],
    missing: Tasks,
    environments: Mapping[tuple[str, int], dict[str, Any]],
    progress: Progress,
) -> None:
    """Reuse finished runs of other studies that were computed in the same environment, and move
    them from `missing` to `done`.
    """
    before = len(missing)
    for job, keeps in list(missing.items()):
        environment = environments[job.config.device, job.config.threads]
        if store.reuse(job, keeps, environment):
            header = store.header(job, keeps)
            assert header is not None
            done[job] = Outcome(float(header.record["seconds"]), failed=False)
            del missing[job]
    if len(missing) < before:
        progress.message(
            f"{before - len(missing)} equal runs were reused from other studies in "
            f"{store.root.absolute().parent}"
        )


def _train_prefixes(store: Store, missing: Tasks, executor: Executor, progress: Progress) -> None:
    """Train the prefixes that missing runs share. A run whose prefix fails starts from epoch 0."""
    prefixes = shared_prefixes(missing)
    for _, value in executor.attempt(partial(train_prefix, store), prefixes, TRIES):
        if isinstance(value, JobFailedError):
            progress.message(f"a prefix that runs share could not be trained: {value}")


def _save_labels(plan: Plan, store: Store) -> None:
    """Store the test labels of the data sets, and notes on the images, for the report."""
    for name in sorted({config.dataset for config in plan.configs}):
        dataset = load_dataset(name)
        models = [config.model for config in plan.configs if config.dataset == name]
        notes: list[str | None] = []
        if isinstance(dataset, Dataset):
            notes = [describe_upscaling(model, dataset.image_shape) for model in models]
        store.save_labels(name, dataset.test_labels.numpy(), [note for note in notes if note])


@contextmanager
def _temporary_folder(store: Store) -> Iterator[Path]:
    """Create a folder that all workers can access; remove it afterwards."""
    folder = unfinished(store.root / "control")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _control_jobs(plan: Plan) -> set[Job]:
    return {
        job
        for config in plan.configs
        for row in plan.rows_of(config)
        if not row.varies
        for job in plan.jobs(config, row)
    }


def _control_configs(plan: Plan) -> tuple[RunConfig, ...]:
    """Return the configurations of each model's control rows, or the model's own if it has none."""
    configs = []
    for config in plan.configs:
        rows = [row for row in plan.rows_of(config) if not row.varies]
        configs += [row.config(config) for row in rows] or [config]
    return tuple(dict.fromkeys(configs))


def _check_control(job: Job, proved: Trajectory, store: Store) -> None:
    run = store.load(job)
    assert run is not None
    predictions = None if run.failure is not None else run.record["hashes"]["predictions"]
    check_against(proved, job, run.weight_hashes, predictions, store.root)
