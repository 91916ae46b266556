"""Running a study: what is stored is read, what is missing is trained, the control is proved before
anything else.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

from nondet.config import Job
from nondet.control import Trajectory, check_against, prove_control
from nondet.execute import Executor
from nondet.store import DamagedRunError, Store
from nondet.study import Plan


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
    """Trains one run and puts it into the store. Runs in a worker."""
    from nondet.data import load_dataset
    from nondet.environment import describe_environment
    from nondet.train import deterministic, train

    dataset = load_dataset(job.config.dataset).to(job.config.device)
    result = train(job.config, job.seeds, dataset)
    with deterministic():  # the settings under which `train` computed
        environment = describe_environment(job.config.device)
    store.save(job, result, environment)


def missing_jobs(plan: Plan, store: Store, message: Callable[[str], None]) -> list[Job]:
    """The runs of the plan that the store does not hold. Damaged ones are set aside, with a
    message, and count.
    """
    missing = []
    for job in plan.all_jobs():
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
    missing = missing_jobs(plan, store, progress.message)
    if not missing:
        return
    waiting = set(missing)
    stored = [job for job in plan.all_jobs() if job not in waiting]
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
        for job, _ in executor.map(partial(perform, store), missing):
            if job in controls:
                _check_control(job, proved[job.config], store)
            progress.finished(job)


def _check_control(job: Job, proved: Trajectory, store: Store) -> None:
    run = store.load(job)
    assert run is not None
    check_against(proved, job, run.weight_hashes, run.record["hashes"]["predictions"], store.root)
