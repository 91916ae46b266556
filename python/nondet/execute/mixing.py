"""Refuse to mix runs of different environments, or on different data, in one study."""

import socket
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from nondet.environment import differences, mixture
from nondet.execute.executors import JobFailedError
from nondet.execute.prefixes import prefix_of
from nondet.store import DamagedRunError, MixedStudyError, Store, StoredRun, StoreError
from nondet.store.errors import writing
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.training import checkpoint

Environments = dict[tuple[str, int], dict[str, Any]]
"""The environment of trainings by device and number of threads."""

FATAL: dict[str, type[StoreError]] = {
    "StoreError": StoreError,
    "MixedStudyError": MixedStudyError,
    "OtherEnvironmentError": MixedStudyError,
    "CheckpointError": StoreError,
    "OtherFormatError": StoreError,
}
"""Errors of a worker that concern the whole study, by the name of their class."""

_REMEDY = (
    "Continue where they were computed, choose another folder with --out, or add --allow-mixed to "
    "mix them (from Python: allow_mixed=True); the report will say so first."
)


def check_runs(
    store: Store, stored: Mapping[Job, StoredRun], here: Environments | None = None
) -> None:
    """Raise MixedStudyError unless all stored runs are on the data of the plan and were computed in
    one environment: in the present one, if it is given.

    stored: runs by the job of the plan.
    """
    on_other_data = [run for job, run in stored.items() if run.job.data != job.data]
    if on_other_data:
        run = on_other_data[0]
        job = next(job for job, other in stored.items() if other is run)
        raise MixedStudyError(
            f"{store.root}: {_runs(on_other_data)} on other data of {job.config.dataset!r}, with "
            f"the SHA-256 {run.job.data[:16]}... there, {job.data[:16]}... here. {_REMEDY}"
        )
    if here is None:
        lines = mixture([run.record["environment"] for run in stored.values()])
        if lines:
            raise MixedStudyError(
                f"{store.root}: the stored runs come from several environments: "
                f"{'; '.join(lines)}. {_REMEDY}"
            )
        return
    other = [run for job, run in stored.items() if not is_comparable(run, job, here)]
    if other:
        run = other[0]
        config = run.job.config
        lines = differences(run.record["environment"], here[config.device, config.threads])
        raise MixedStudyError(
            f"{store.root}: {_runs(other)} in another environment: {'; '.join(lines)}. {_REMEDY}"
        )


def read_elsewhere(store: Store, others: Iterable[Job], here: Environments) -> dict[Job, StoredRun]:
    """Return the stored runs of other shards, without their predictions, on devices and with
    numbers of threads that this shard has too; no damaged ones, which their shards set aside.
    """
    found = {}
    for job in others:
        if (job.config.device, job.config.threads) not in here:
            continue
        try:
            header = store.header(job)
        except DamagedRunError:
            continue
        if header is not None and not (header.failure is not None and header.failure.crashed):
            whose = Job.from_identity(header.record["job"])
            found[job] = StoredRun(whose, header.history, None, header.record, header.failure)
    return found


def is_comparable(run: StoredRun, job: Job, here: Environments) -> bool:
    """Return True if a run is of the data of a job, and was computed in the present environment."""
    environment = here[job.config.device, job.config.threads]
    return run.job.data == job.data and not differences(run.record["environment"], environment)


def check_states(
    store: Store, missing: Iterable[Job], here: Environments, *, discard: bool
) -> None:
    """Raise MixedStudyError if a state that a missing run would start from belongs to another
    environment or other data, StoreError if to another training; discard such states instead if
    `discard`.
    """
    for job in missing:
        environment = here[job.config.device, job.config.threads]
        states = [(store.checkpoints / job.address, replace(job, repeat=0))]
        prefix = prefix_of(job)
        if prefix is not None:
            folders = (prefix.folder(store.prefixes, epoch) for epoch in prefix.epochs)
            states += [(folder, prefix.job) for folder in folders]
        for folder, owner in states:
            refusal = checkpoint.refusal(folder, owner.identity(), environment)
            if refusal is not None and discard:
                with writing("the states of unfinished runs", folder):
                    checkpoint.discard(folder)
            elif refusal is not None:
                raise FATAL.get(type(refusal).__name__, StoreError)(str(refusal))


def check_here(
    config: RunConfig, environment: Mapping[str, Any], expected: Environments | None
) -> None:
    """Raise MixedStudyError unless a training in this process, which may be on another machine than
    the one that runs the study, would be in the study's environment. expected: None for any.
    """
    if expected is None:
        return
    lines = differences(expected[config.device, config.threads], environment)
    if lines:
        raise MixedStudyError(
            f"the environment on {socket.gethostname()} (here) is not that in which the study "
            f"began (there): {'; '.join(lines)}. Let only equal machines work on one study."
        )


def raise_if_fatal(error: JobFailedError) -> None:
    """Raise the StoreError that a worker raised, if it is the fault of the folder or of the
    environment, not of one run.
    """
    if error.kind in FATAL:
        raise FATAL[error.kind](str(error).partition(": ")[2])


def _runs(runs: list[StoredRun]) -> str:
    return "1 run was computed" if len(runs) == 1 else f"{len(runs)} runs were computed"
