"""Running a study: what is stored is read, what another study did already is taken over, what is
missing is trained, the control is proved before anything else.
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
from nondet.execute.perform import Finish, environment_of, perform, perform_prefix
from nondet.execute.prefixes import shared_prefixes
from nondet.files import unfinished
from nondet.models import describe_upscaling
from nondet.store import DamagedRunError, Failure, Store, StoreError
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import Keep
from nondet.studies.study import Plan

TRIES = 2
"""How often a run is tried that crashes: raises, or is killed."""

BUG_AFTER = 3
"""So many runs that crash in the same way before any comes to its end are no bad luck."""

_SAID = 5


class Progress(Protocol):
    """Where a running study reports to."""

    def message(self, text: str) -> None:
        """Something the reader should know."""
        ...

    def proving(self) -> None:
        """The control is being proved."""
        ...

    def start(self, plan: Plan, done: Mapping[Job, Finish], workers: int) -> None:
        """The runs begin, `workers` at a time; `done` are there already."""
        ...

    def finished(self, job: Job, finish: Finish) -> None:
        """One more run came to its end."""
        ...


class Logged:
    """Sends messages to the logger "nondet" and shows no progress."""

    def message(self, text: str) -> None:
        logging.getLogger("nondet").warning(text)

    def proving(self) -> None:
        pass

    def start(self, plan: Plan, done: Mapping[Job, Finish], workers: int) -> None:
        pass

    def finished(self, job: Job, finish: Finish) -> None:
        pass


Tasks = dict[Job, frozenset[Keep]]


def take_stock(
    plan: Plan, store: Store, message: Callable[[str], None]
) -> tuple[dict[Job, Finish], Tasks]:
    """The runs of the plan that the store holds, and those that it does not. Damaged ones are set
    aside, with a message, and are missing; so are those that crashed.
    """
    done: dict[Job, Finish] = {}
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
            done[job] = Finish(run.seconds, run.failure is not None)
    return done, missing


def run_study(
    plan: Plan,
    store: Store,
    make_executor: Callable[[], AbstractContextManager[Executor]] = Serial,
    progress: Progress | None = None,
) -> int:
    """Complete the study in an opened store; compute nothing when nothing is missing.

    progress: None for messages to the logger "nondet" alone. Returns how many runs crashed, each
    after `TRIES` tries: they are on record, and missing the next time.

    Raises ControlError; StoreError; JobFailedError where a run of the control's proof fails, or the
    first `BUG_AFTER` runs all crash in the same way, or all runs do. The runs finished until then
    stay in the store.
    """
    progress = Logged() if progress is None else progress
    _keep_labels(plan, store)
    done, missing = take_stock(plan, store, progress.message)
    if not missing:
        return 0
    with make_executor() as executor:
        settings = {(job.config.device, job.config.threads) for job in missing}
        environments = dict(executor.map(environment_of, sorted(settings)))
        _borrow(store, done, missing, environments, progress)
        progress.proving()
        with _scratch(store) as folder:
            proved = prove_control(_configs_to_prove(plan), executor, folder)
        controls = _controls(plan)
        for job in done:
            if job in controls:
                _check_control(job, proved[job.config], store)
        progress.start(plan, done, executor.workers)
        _share_beginnings(store, missing, executor, progress)
        return _train(plan, store, done, missing, environments, proved, executor, progress)


def _train(
    plan: Plan,
    store: Store,
    done: Mapping[Job, Finish],
    missing: Tasks,
    environments: Mapping[tuple[str, int], dict[str, Any]],
    proved: Mapping[RunConfig, Trajectory],
    executor: Executor,
    progress: Progress,
) -> int:
    """Trains what is missing; returns how many runs crashed."""
    controls = _controls(plan)
    crashes: list[JobFailedError] = []
    work = executor.attempt(partial(perform, store), missing.items(), TRIES)
    for number, ((job, _), end) in enumerate(work, 1):
        if not isinstance(end, JobFailedError):
            if job in controls:
                _check_control(job, proved[job.config], store)
            progress.finished(job, end)
            continue
        if end.kind == StoreError.__name__:  # it is the folder that is at fault
            raise StoreError(str(end).partition(": ")[2])
        crashes.append(end)
        failure = Failure(str(end), epoch=0, step=0, crashed=True)
        environment = environments[job.config.device, job.config.threads]
        store.save_failure(job, failure, [], environment)
        if len(crashes) == number and _is_bug(crashes, len(missing), done):
            raise end
        if len(crashes) <= _SAID:
            progress.message(
                f"a run of {job.config.model!r} crashed {TRIES} times and is recorded as failed: "
                f"{end} (runs/{job.address})"
            )
        progress.finished(job, Finish(0.0, failed=True))
    if crashes:
        runs = "1 run" if len(crashes) == 1 else f"{len(crashes)} runs"
        progress.message(f"{runs} crashed; the same command tries again")
    return len(crashes)


def _is_bug(crashes: list[JobFailedError], missing: int, done: Mapping[Job, Finish]) -> bool:
    """Whether crashes, before which no run came to its end, say that none will."""
    alike = len({crash.kind for crash in crashes}) == 1
    if len(crashes) >= BUG_AFTER and alike:
        return True
    return len(crashes) == missing and not any(not finish.failed for finish in done.values())


def _borrow(
    store: Store,
    done: dict[Job, Finish],
    missing: Tasks,
    environments: Mapping[tuple[str, int], dict[str, Any]],
    progress: Progress,
) -> None:
    """Takes over what studies beside this one did already in the same environment. Runs of the
    control are no exception: every one is held against the control that is proved now.
    """
    before = len(missing)
    for job, keeps in list(missing.items()):
        environment = environments[job.config.device, job.config.threads]
        if store.borrow(job, keeps, environment):
            outline = store.outline(job, keeps)
            assert outline is not None
            done[job] = Finish(float(outline.record["seconds"]), failed=False)
            del missing[job]
    if len(missing) < before:
        progress.message(
            f"{before - len(missing)} equal runs were taken over from other studies in "
            f"{store.root.absolute().parent}"
        )


def _share_beginnings(store: Store, missing: Tasks, executor: Executor, progress: Progress) -> None:
    """Trains the beginnings that missing runs share; without its own a run begins by itself."""
    prefixes = shared_prefixes(missing)
    for _, value in executor.attempt(partial(perform_prefix, store), prefixes, TRIES):
        if isinstance(value, JobFailedError):
            progress.message(f"a beginning that runs share could not be trained: {value}")


def _keep_labels(plan: Plan, store: Store) -> None:
    """Puts what the report needs of the data sets into the store."""
    for name in sorted({config.dataset for config in plan.configs}):
        dataset = load_dataset(name)
        models = [config.model for config in plan.configs if config.dataset == name]
        notes: list[str | None] = []
        if isinstance(dataset, Dataset):
            notes = [describe_upscaling(model, dataset.image_shape) for model in models]
        store.save_labels(name, dataset.test_labels.numpy(), [note for note in notes if note])


@contextmanager
def _scratch(store: Store) -> Iterator[Path]:
    """A folder that all workers see, for as long as it is needed."""
    folder = unfinished(store.root / "control")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _controls(plan: Plan) -> set[Job]:
    return {
        job
        for config in plan.configs
        for row in plan.rows_of(config)
        if not row.varies
        for job in plan.jobs(config, row)
    }


def _configs_to_prove(plan: Plan) -> tuple[RunConfig, ...]:
    """The configurations of the control's rows, and the model's own where it has no such row."""
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
