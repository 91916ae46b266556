"""The work of one process: train a run, or the prefix that several runs share."""

import socket
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nondet.data import Dataset, TextDataset, load_dataset
from nondet.environment import describe_environment
from nondet.execute.mixing import Environments, check_here
from nondet.execute.prefixes import Prefix, prefix_of
from nondet.store import Failure, MixedStudyError, Store
from nondet.store.lock import locked
from nondet.store.schemas import END_OF_SENTENCE
from nondet.studies.job import Job
from nondet.studies.row import Keep
from nondet.training import checkpoint, loop
from nondet.training.checkpoint import Checkpoint, CheckpointError, Checkpoints
from nondet.training.determinism import deterministic
from nondet.training.recorders import make_recorders
from nondet.training.result import DivergedError


@dataclass(frozen=True)
class Outcome:
    """The wall time of a run in seconds, and True if it failed."""

    seconds: float
    failed: bool


def run_job(
    store: Store, expected: Environments | None, task: tuple[Job, frozenset[Keep]]
) -> Outcome:
    """Train a run with the given records and store it; a run that diverges is stored as failed.

    An unfinished run resumes from its last checkpoint. expected: the environments of the study;
    None if they may differ. Raises MixedStudyError if this process has another environment, or
    other data.
    """
    job, keeps = task
    config = job.config
    dataset = load_data(job)
    environment = environment_of((config.device, config.threads))
    check_here(config, environment, expected)
    checkpoints = Checkpoints(store.checkpoints / job.address)
    start = _load_prefix(store, job, dataset, environment)
    failed = False
    began = time.monotonic()
    try:
        result = loop.train(
            config,
            job.seeds,
            dataset,
            onset=job.onset,
            start=start,
            checkpoints=checkpoints,
            recorders=make_recorders(keeps, config, job.seeds, job.onset, dataset),
        )
    except DivergedError as error:
        failed, seconds = True, time.monotonic() - began
        failure = Failure(error.reason, error.epoch, error.step)
        store.save_failure(job, failure, error.history, environment, error.perturbations, seconds)
    else:
        seconds = time.monotonic() - began
        store.save(job, result, environment, seconds, dataset_facts(dataset))
    checkpoints.clear()
    return Outcome(seconds, failed)


def dataset_facts(dataset: Dataset | TextDataset) -> Mapping[str, str]:
    """Return the facts about a data set that are recorded with every run; none for images."""
    if not isinstance(dataset, TextDataset):
        return {}
    return {**dataset.facts, END_OF_SENTENCE: str(dataset.end_of_sentence)}


def environment_of(settings: tuple[str, int]) -> dict[str, Any]:
    """Return the environment of trainings on a device with a number of threads."""
    device, threads = settings
    with deterministic(threads):  # the settings under which `train` computes
        return describe_environment(device)


def train_prefix(store: Store, expected: Environments | None, prefix: Prefix) -> None:
    """Train a shared prefix and save the training's state after each of its epochs.

    States that are saved already are not computed again, and no two processes compute them at the
    same time: one waits for the other. expected: see `run_job`. Raises MixedStudyError as
    `run_job`, CheckpointError for a state that belongs to another training, epoch or environment.
    """
    config = prefix.job.config
    dataset = load_data(prefix.job)
    with locked(prefix.place(store.prefixes), wait=True), deterministic(config.threads):
        training = loop.make_training(config, prefix.job.seeds, dataset)
        check_here(config, training.environment, expected)
        saved = {
            epoch: _load_state(store, prefix, epoch, dataset, training.environment)
            for epoch in prefix.epochs
        }
        for epoch, state in saved.items():
            if state is not None:
                if state.step != training.epoch_begin(epoch):
                    raise _misplaced(state)
                try:
                    training.restore(state)
                except ValueError as error:
                    raise state.unusable(error) from error
                continue
            while training.epochs_done < epoch:
                training.advance()
            checkpoint.save(prefix.folder(store.prefixes, epoch), training.state())


def _load_prefix(
    store: Store, job: Job, dataset: Dataset | TextDataset, environment: Mapping[str, Any]
) -> Checkpoint | None:
    """Return the state at the end of the prefix that the job shares, if any is saved."""
    prefix = prefix_of(job)
    if prefix is None:
        return None
    [epoch] = prefix.epochs
    return _load_state(store, prefix, epoch, dataset, environment)


def _load_state(
    store: Store,
    prefix: Prefix,
    epoch: int,
    dataset: Dataset | TextDataset,
    environment: Mapping[str, Any],
) -> Checkpoint | None:
    """Return the state of a prefix after an epoch, None if none is saved. Raises CheckpointError if
    it belongs to another training, epoch or environment.
    """
    folder = prefix.folder(store.prefixes, epoch)
    identity = replace(prefix.job, data=dataset.sha256).identity()
    state = checkpoint.latest(folder, identity, environment, warnings.warn)
    if state is not None and len(state.record["history"]) != epoch:
        raise _misplaced(state)
    return state


def _misplaced(state: Checkpoint) -> CheckpointError:
    """Return the error for a state in the folder of a prefix at another epoch."""
    done = len(state.record["history"])
    return state.unusable(f"is of step {state.step}, after {done} whole epochs, not of that folder")


def load_data(job: Job) -> Dataset | TextDataset:
    """Load the data set of a job on its device. Raises MixedStudyError if it is not that with which
    the job was planned: it has changed since, or is another one on this machine.
    """
    dataset = load_dataset(job.config.dataset).to(job.config.device)
    if job.data not in ("", dataset.sha256):
        raise MixedStudyError(
            f"the data set {job.config.dataset!r} is not that of the study on "
            f"{socket.gethostname()}: SHA-256 {job.data[:16]}... when the run was planned, "
            f"{dataset.sha256[:16]}... here. Restore it, or choose another folder with --out."
        )
    return dataset
