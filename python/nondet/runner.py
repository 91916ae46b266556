"""Running a study: what is stored is read, what is missing is trained, the control is proved before
anything else.
"""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from nondet.config import Job, RunConfig
from nondet.control import Trajectory, check_against, prove_control
from nondet.execute import Executor
from nondet.prefixes import Prefix, prefix_of, shared_prefixes
from nondet.store import DamagedRunError, Failure, Store
from nondet.study import Plan

if TYPE_CHECKING:
    from nondet.checkpoint import Checkpoint
    from nondet.data import Dataset


class Progress(Protocol):
    """Where a running study reports to."""

    def message(self, text: str) -> None:
        """Something the reader should know."""
        ...

    def proving(self) -> None:
        """The control is being proved."""
        ...

    def start(self, plan: Plan, done: list[Job]) -> None:
        """The runs begin; `done` were found in the store."""
        ...

    def finished(self, job: Job) -> None:
        """One more run is in the store."""
        ...


def perform(store: Store, job: Job) -> None:
    """Trains one run and puts it into the store, as a failed one where it diverges. Runs in a
    worker.
    """
    from nondet.checkpoint import Checkpoints
    from nondet.environment import describe_environment
    from nondet.train import DivergedError, deterministic, train

    config = job.config
    checkpoints = Checkpoints(store.checkpoints / job.address)
    dataset = _dataset(config)
    with deterministic(config.threads):  # the settings under which `train` computes
        environment = describe_environment(config.device)
    try:
        result = train(
            config,
            job.seeds,
            dataset,
            onset=job.onset,
            start=_beginning(store, job),
            checkpoints=checkpoints,
        )
    except DivergedError as error:
        failure = Failure(error.reason, error.epoch, error.step)
        store.save_failure(job, failure, error.history, environment, error.perturbations)
    else:
        store.save(job, result, environment)
    checkpoints.clear()


def perform_prefix(store: Store, prefix: Prefix) -> None:
    """Trains a shared beginning and leaves its state after every epoch that is wanted. Runs in a
    worker.
    """
    from nondet import checkpoint
    from nondet.train import Training, deterministic

    config = prefix.job.config
    folders = {epoch: prefix.folder(store.prefixes, epoch) for epoch in prefix.epochs}
    there = {epoch: _prefix_state(store, prefix, epoch) for epoch in prefix.epochs}
    with deterministic(config.threads):
        training = Training(config, prefix.job.seeds, _dataset(config))
        for epoch, folder in folders.items():
            state = there[epoch]
            if state is not None:
                training.restore(state)
                continue
            while training.step < epoch * training.steps_per_epoch:
                training.advance()
            checkpoint.save(folder, training.state())


def _keep_labels(plan: Plan, store: Store) -> None:
    """Puts what the report needs of the data sets into the store."""
    from nondet.data import load_dataset
    from nondet.models import describe_upscaling

    for name in sorted({config.dataset for config in plan.configs}):
        dataset = load_dataset(name)
        models = [config.model for config in plan.configs if config.dataset == name]
        notes = [describe_upscaling(model, dataset.image_shape) for model in models]
        store.save_labels(name, dataset.test_labels.numpy(), [note for note in notes if note])


def _beginning(store: Store, job: Job) -> "Checkpoint | None":
    """The state with which a job begins where it shares its beginning with others."""
    prefix = prefix_of(job)
    if prefix is None:
        return None
    [epoch] = prefix.epochs
    return _prefix_state(store, prefix, epoch)


def _prefix_state(store: Store, prefix: Prefix, epoch: int) -> "Checkpoint | None":
    from nondet import checkpoint

    identity = prefix.job.identity()
    return checkpoint.latest(prefix.folder(store.prefixes, epoch), identity, warnings.warn)


def _dataset(config: RunConfig) -> "Dataset":
    from nondet.data import load_dataset

    return load_dataset(config.dataset).to(config.device)


def missing_jobs(plan: Plan, store: Store, message: Callable[[str], None]) -> list[Job]:
    """The runs of the plan that the store does not hold. Damaged ones are set aside, with a
    message, and count.
    """
    missing = []
    for job in plan.tasks():
        try:
            if store.load(job) is None:
                missing.append(job)
        except DamagedRunError as error:
            message(f"{error}; set aside in {store.set_aside(job)} and trained again")
            missing.append(job)
    return missing


def run_study(
    plan: Plan,
    store: Store,
    make_executor: Callable[[], AbstractContextManager[Executor]],
    progress: Progress,
) -> None:
    """Completes the study in an opened store. Nothing is trained when nothing is missing.

    Raises ControlError, JobFailedError; the runs finished until then stay in the store.
    """
    _keep_labels(plan, store)
    missing = missing_jobs(plan, store, progress.message)
    if not missing:
        return
    waiting = set(missing)
    stored = [job for job in plan.tasks() if job not in waiting]
    controls = {
        job
        for row in plan.rows
        if not row.varies
        for config in plan.configs
        for job in plan.jobs(config, row)
    }
    with make_executor() as executor:
        progress.proving()
        proved = prove_control(plan.configs, executor)
        for job in stored:
            if job in controls:
                _check_control(job, proved[job.config], store)
        progress.start(plan, stored)
        for _ in executor.map(partial(perform_prefix, store), shared_prefixes(missing)):
            pass
        for job, _ in executor.map(partial(perform, store), missing):
            if job in controls:
                _check_control(job, proved[job.config], store)
            progress.finished(job)


def _check_control(job: Job, proved: Trajectory, store: Store) -> None:
    run = store.load(job)
    assert run is not None
    predictions = None if run.failure is not None else run.record["hashes"]["predictions"]
    check_against(proved, job, run.weight_hashes, predictions, store.root)
