"""Verify that a training that is stopped, saved to disk and resumed by another process ends with
the same bits as one that was never stopped.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nondet.data import load_dataset
from nondet.environment import decisive
from nondet.execute.control import differing_element
from nondet.execute.executors import Executor
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.seeds import HELD, SOURCES, Onset, Seeds, own_seed
from nondet.training import checkpoint
from nondet.training.checkpoint import Checkpoint
from nondet.training.determinism import deterministic
from nondet.training.loop import make_training
from nondet.training.result import DivergedError
from nondet.training.training import Training


@dataclass(frozen=True)
class Stop:
    """A stop after `step` steps, the reason for that step, and a description of the first
    difference between the resumed and the uninterrupted training; None if they are equal bit for
    bit.
    """

    step: int
    reason: str
    difference: str | None


@dataclass(frozen=True)
class ResumeReport:
    """The result of stopping a job at several steps.

    saving: the first difference between a training that saves its states and one that does not;
    None if they are equal bit for bit.
    """

    job: Job
    total_steps: int
    saving: str | None
    stops: tuple[Stop, ...]

    @property
    def holds(self) -> bool:
        """Return True if all trainings ended with the same bits."""
        return self.saving is None and all(stop.difference is None for stop in self.stops)

    def lines(self) -> list[str]:
        """Return the report as text, a line per stop."""
        lines = [] if self.saving is None else [f"saving states changed {self.saving}"]
        for stop in self.stops:
            verdict = "bitwise equal"
            if stop.difference is not None:
                verdict = f"differs: {stop.difference}"
            lines.append(
                f"stopped at step {stop.step} of {self.total_steps}, {stop.reason}: {verdict}"
            )
        return lines


def demanding_job(config: RunConfig) -> Job:
    """Return a run that is hard to resume: every source gets a seed of its own from the middle
    epoch on, so that all of them have a state to save. A low-level source without a seed, such as a
    race, is held.
    """
    seeds = Seeds(**dict.fromkeys(SOURCES, own_seed(0, config.held_seed)))
    if config.lowlevel in ("atomic", "vendor"):
        seeds = replace(seeds, lowlevel=HELD)
    middle = config.epochs // 2
    return Job(config, seeds, onset=Onset(**dict.fromkeys(vars(Onset()), middle)))


def verify_resume(
    job: Job,
    make_executor: Callable[[], AbstractContextManager[Executor]],
    stops: tuple[int, ...] | None = None,
) -> ResumeReport:
    """Train a job without interruption and, for every stop, resume it from disk in a process of the
    executor; compare all tensors, the history, perturbations and predictions.

    stops: numbers of steps in [0, total steps]; by default after the first step, before the last
    one, at the end of an epoch, within an epoch, and after the perturbation. Raises ValueError for
    a stop outside this range, before anything is trained.
    """
    plan = _stops(_make_training(job), stops)
    with tempfile.TemporaryDirectory(prefix="nondet-resume-") as name:
        folder = Path(name)
        with deterministic(job.config.threads):
            expected = _train_to_end(_make_training(job))
            saved = _save_states(_make_training(job), tuple(plan), folder)
        with make_executor() as executor:
            ends = dict(executor.map(partial(resume_from, job, folder), list(plan)))
        return ResumeReport(
            job,
            expected.record["total_steps"],
            difference_of(expected, saved),
            tuple(
                Stop(step, reason, _difference_at(expected, ends[step]))
                for step, reason in plan.items()
            ),
        )


def _difference_at(expected: Checkpoint, end: Path | str) -> str | None:
    return end if isinstance(end, str) else difference_of(expected, _load(end))


def resume_from(job: Job, folder: Path, step: int) -> Path | str:
    """Resume a job from its state after a step, save its final state, and return the folder of that
    state, or the reason why the job cannot be resumed. Runs in a worker.
    """
    training = _make_training(job)
    with deterministic(job.config.threads):
        try:
            training.restore(_load(folder / f"at-{step}"))
        except ValueError as error:
            return str(error)
        end = folder / f"from-{step}"
        checkpoint.save(end, _train_to_end(training))
    return end


def difference_of(expected: Checkpoint, other: Checkpoint) -> str | None:
    """Describe the first difference of two states of a training, or return None if they are equal
    bit for bit. Of their environments, only what decides bits is compared.
    """
    for key in sorted(expected.record.keys() | other.record.keys()):
        mine, theirs = expected.record.get(key), other.record.get(key)
        if key == "environment":
            mine, theirs = (decisive(environment or {}) for environment in (mine, theirs))
        if _text(mine) != _text(theirs):
            return _differing_record(key, mine, theirs)
    if expected.tensors.keys() != other.tensors.keys():
        names = sorted(expected.tensors.keys() ^ other.tensors.keys())
        return f"only one of the two has {', '.join(names)}"
    for name, tensor in expected.tensors.items():
        difference = differing_element(name, tensor.numpy(), other.tensors[name].numpy())
        if difference is not None:
            return difference
    return None


def _make_training(job: Job) -> Training:
    dataset = load_dataset(job.config.dataset).to(job.config.device)
    return make_training(job.config, job.seeds, dataset, job.onset)


def _stops(training: Training, given: tuple[int, ...] | None) -> dict[int, str]:
    """Return the numbers of steps to stop after, each with the reason."""
    total = training.total_steps
    if given is not None:
        for step in given:
            if not 0 <= step <= total:
                raise ValueError(f"a stop is at step {step}; the training has {total} steps")
        return dict.fromkeys(given, "as requested")
    epoch = training.config.epochs // 2
    middle, end = training.epoch_begin(epoch), training.epoch_begin(epoch + 1)
    stops = {
        1: "after the first step",
        middle: "at the end of an epoch",
        (middle + end) // 2: "within an epoch",
        total - 1: "before the last step",
    }
    if training.perturbation_step is not None:
        stops[training.perturbation_step + 1] = "after the perturbation"
    return {step: stops[step] for step in sorted(stops) if 0 < step < total}


def _save_states(training: Training, stops: tuple[int, ...], folder: Path) -> Checkpoint:
    """Train to the end and save the state at every stop; return the final state."""
    for step in sorted(stops):
        while training.step < step:
            training.advance()
        checkpoint.save(folder / f"at-{step}", training.state())
    return _train_to_end(training)


def _train_to_end(training: Training) -> Checkpoint:
    """Train to the end, or until the training diverges; return its state, with predictions."""
    predictions: Mapping[str, torch.Tensor] = {}
    failure = digest = None
    try:
        while training.step < training.total_steps:
            training.advance()
        result = training.result()
        digest = result.tokens and result.tokens.logits_sha256
        predictions = {
            f"the {name.replace('_', ' ')}": torch.from_numpy(array)
            for name, array in result.predictions.items()
        }
    except DivergedError as error:
        failure = f"{error}, step {error.step}"
    end = training.state()
    record = {**end.record, "failure": failure, "total_steps": training.total_steps}
    if digest is not None:
        record["logits_sha256"] = digest
    return replace(end, tensors={**end.tensors, **predictions}, record=record)


def _load(folder: Path) -> Checkpoint:
    [path] = folder.glob("*.json")
    return checkpoint.load(path)


def _text(value: Any) -> str:
    """Return JSON types as text, which tells -0.0 from 0.0 and makes NaN equal to itself."""
    return json.dumps(value, sort_keys=True)


def _differing_record(where: str, mine: Any, theirs: Any) -> str:
    """Describe the first difference of two unequal JSON values, and its place."""
    if isinstance(mine, dict) and isinstance(theirs, dict) and mine.keys() == theirs.keys():
        key = next(key for key in mine if _text(mine[key]) != _text(theirs[key]))
        return _differing_record(f"{where}, {key}", mine[key], theirs[key])
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True), 1)
        number, pair = next((n, pair) for n, pair in pairs if _text(pair[0]) != _text(pair[1]))
        return _differing_record(f"{where}, entry {number}", *pair)
    return f"{where}: {mine!r} vs {theirs!r}"
