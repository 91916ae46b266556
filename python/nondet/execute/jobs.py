"""The work of one process: train a run, or the prefix that several runs share."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nondet.data import Dataset, TextDataset, load_dataset
from nondet.environment import describe_environment
from nondet.execute.prefixes import Prefix, prefix_of
from nondet.store import Failure, Store
from nondet.store.runs import END_OF_SENTENCE
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import Keep
from nondet.training import checkpoint, loop
from nondet.training.checkpoint import Checkpoint, Checkpoints
from nondet.training.determinism import deterministic
from nondet.training.recorders import make_recorders
from nondet.training.result import DivergedError


@dataclass(frozen=True)
class Outcome:
    """The wall time of a run in seconds, and True if it failed."""

    seconds: float
    failed: bool


def run_job(store: Store, task: tuple[Job, frozenset[Keep]]) -> Outcome:
    """Train a run with the given records and store it; a run that diverges is stored as failed.

    An unfinished run resumes from its last checkpoint.
    """
    job, keeps = task
    config = job.config
    environment = environment_of((config.device, config.threads))
    checkpoints = Checkpoints(store.checkpoints / job.address)
    dataset = _load_dataset(config)
    start = _load_prefix(store, job)
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


def train_prefix(store: Store, prefix: Prefix) -> None:
    """Train a shared prefix and save the training's state after each of its epochs.

    States that are saved already are not computed again.
    """
    config = prefix.job.config
    folders = {epoch: prefix.folder(store.prefixes, epoch) for epoch in prefix.epochs}
    saved = {epoch: _load_state(store, prefix, epoch) for epoch in prefix.epochs}
    with deterministic(config.threads):
        training = loop.make_training(config, prefix.job.seeds, _load_dataset(config))
        for epoch, folder in folders.items():
            state = saved[epoch]
            if state is not None:
                training.restore(state)
                continue
            while training.epochs_done < epoch:
                training.advance()
            checkpoint.save(folder, training.state())


def _load_prefix(store: Store, job: Job) -> Checkpoint | None:
    """Return the state at the end of the prefix that the job shares, if any is saved."""
    prefix = prefix_of(job)
    if prefix is None:
        return None
    [epoch] = prefix.epochs
    return _load_state(store, prefix, epoch)


def _load_state(store: Store, prefix: Prefix, epoch: int) -> Checkpoint | None:
    identity = prefix.job.identity()
    return checkpoint.latest(prefix.folder(store.prefixes, epoch), identity, warnings.warn)


def _load_dataset(config: RunConfig) -> Dataset | TextDataset:
    return load_dataset(config.dataset).to(config.device)
