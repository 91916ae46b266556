"""What workers do for a study: train a run, or the beginning that several runs share."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nondet.data import Dataset, TextDataset, load_dataset
from nondet.environment import describe_environment
from nondet.execute.prefixes import Prefix, prefix_of
from nondet.store import Failure, Store
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import Keep
from nondet.training import checkpoint, loop
from nondet.training.checkpoint import Checkpoint, Checkpoints
from nondet.training.determinism import deterministic
from nondet.training.recorders import make_recorders
from nondet.training.result import DivergedError

END = "end_of_sentence"
"""The fact that is the number of the type before a text's first token."""


@dataclass(frozen=True)
class Finish:
    """How a run ended: after so many seconds of wall time, and whether it came to nothing."""

    seconds: float
    failed: bool


def perform(store: Store, task: tuple[Job, frozenset[Keep]]) -> Finish:
    """Trains one run, with what is to be recorded beside its predictions, and puts it into the
    store, as a failed one where it diverges.
    """
    job, keeps = task
    config = job.config
    environment = environment_of((config.device, config.threads))
    checkpoints = Checkpoints(store.checkpoints / job.address)
    dataset = _dataset(config)
    start = _beginning(store, job)
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
        store.save(job, result, environment, seconds, facts_of(dataset))
    checkpoints.clear()
    return Finish(seconds, failed)


def facts_of(dataset: "Dataset | TextDataset") -> Mapping[str, str]:
    """What is recorded of a data set in every run: nothing of images."""
    if not isinstance(dataset, TextDataset):
        return {}
    return {**dataset.facts, END: str(dataset.end_of_sentence)}


def environment_of(settings: tuple[str, int]) -> dict[str, Any]:
    """The environment of trainings on a device with a number of threads, as they see it."""
    device, threads = settings
    with deterministic(threads):  # the settings under which `train` computes
        return describe_environment(device)


def perform_prefix(store: Store, prefix: Prefix) -> None:
    """Trains a shared beginning and leaves its state after every epoch that is wanted."""
    config = prefix.job.config
    folders = {epoch: prefix.folder(store.prefixes, epoch) for epoch in prefix.epochs}
    there = {epoch: _prefix_state(store, prefix, epoch) for epoch in prefix.epochs}
    with deterministic(config.threads):
        training = loop.make_training(config, prefix.job.seeds, _dataset(config))
        for epoch, folder in folders.items():
            state = there[epoch]
            if state is not None:
                training.restore(state)
                continue
            while training.epochs_done < epoch:
                training.advance()
            checkpoint.save(folder, training.state())


def _beginning(store: Store, job: Job) -> "Checkpoint | None":
    """The state with which a job begins where it shares its beginning with others."""
    prefix = prefix_of(job)
    if prefix is None:
        return None
    [epoch] = prefix.epochs
    return _prefix_state(store, prefix, epoch)


def _prefix_state(store: Store, prefix: Prefix, epoch: int) -> "Checkpoint | None":
    identity = prefix.job.identity()
    return checkpoint.latest(prefix.folder(store.prefixes, epoch), identity, warnings.warn)


def _dataset(config: RunConfig) -> "Dataset | TextDataset":
    return load_dataset(config.dataset).to(config.device)
