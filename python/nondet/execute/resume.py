"""Proof that stopping changes nothing: a training that is stopped, left on disk and resumed by
another process ends with the bits of one that never stopped.
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
from nondet.execute.control import differing_element
from nondet.execute.executors import Executor
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.seeds import HELD, SOURCES, Onset, Seeds
from nondet.training import checkpoint
from nondet.training.checkpoint import Checkpoint
from nondet.training.determinism import deterministic
from nondet.training.loop import make_training
from nondet.training.result import DivergedError
from nondet.training.training import Training


@dataclass(frozen=True)
class Stop:
    """One stop after `step` steps, why there, and where the resumed training parts from the
    uninterrupted one, in words; None where they are equal in every bit.
    """

    step: int
    reason: str
    difference: str | None


@dataclass(frozen=True)
class ResumeReport:
    """What stopping a job at several steps led to. saving: where a training that only leaves its
    states on disk parts from one that does not; None where nowhere.
    """

    job: Job
    total_steps: int
    saving: str | None
    stops: tuple[Stop, ...]

    @property
    def holds(self) -> bool:
        """Whether every bit is equal, whatever the stop."""
        return self.saving is None and all(stop.difference is None for stop in self.stops)

    def lines(self) -> list[str]:
        """The report as text, a line per stop."""
        verdicts = [] if self.saving is None else [f"saving states changed {self.saving}"]
        for stop in self.stops:
            end = "equal in every bit" if stop.difference is None else f"differs: {stop.difference}"
            verdicts.append(
                f"stopped at step {stop.step} of {self.total_steps}, {stop.reason}: {end}"
            )
        return verdicts


def demanding_job(config: RunConfig) -> Job:
    """A run of a configuration with as much to lose at a stop as there is: every source follows a
    seed of its own from the middle epoch on. Where the low-level source would be a race it is held.
    """
    seeds = Seeds(**dict.fromkeys(SOURCES, HELD + 1))
    if config.lowlevel in ("atomic", "vendor"):
        seeds = replace(seeds, lowlevel=HELD)
    middle = config.epochs // 2
    return Job(config, seeds, onset=Onset(**dict.fromkeys(vars(Onset()), middle)))


def verify_resume(
    job: Job,
    make_executor: Callable[[], AbstractContextManager[Executor]],
    stops: tuple[int, ...] | None = None,
) -> ResumeReport:
    """Trains a job uninterrupted, and for every stop up to there and then on from disk, in a
    process of the executor; compares all tensors, the history, perturbations and predictions.

    stops: steps in [0, total steps]; by default the first step, the last but one, the end of an
    epoch, the middle of one, and that after the small change. Raises ValueError where a stop lies
    outside, before anything is trained.
    """
    plan = _stops(_training(job), stops)
    with tempfile.TemporaryDirectory(prefix="nondet-resume-") as name:
        folder = Path(name)
        with deterministic(job.config.threads):
            expected = _finish(_training(job))
            saved = _leave_states(_training(job), tuple(plan), folder)
        with make_executor() as executor:
            resumed = dict(executor.map(partial(resume_from, job, folder), list(plan)))
        return ResumeReport(
            job,
            expected.record["total_steps"],
            difference_of(expected, saved),
            tuple(
                Stop(step, reason, difference_of(expected, _load(resumed[step])))
                for step, reason in plan.items()
            ),
        )


def resume_from(job: Job, folder: Path, step: int) -> Path:
    """Resumes a job from the state of one step and leaves its end in a folder, which is returned.
    Runs in a worker.
    """
    training = _training(job)
    with deterministic(job.config.threads):
        training.restore(_load(folder / f"at-{step}"))
        end = folder / f"from-{step}"
        checkpoint.save(end, _finish(training))
    return end


def difference_of(expected: "Checkpoint", found: "Checkpoint") -> str | None:
    """In words, where two ends of a training have different bits first; None for equal ones."""
    for key in sorted(expected.record.keys() | found.record.keys()):
        mine, theirs = expected.record.get(key), found.record.get(key)
        if _text(mine) != _text(theirs):
            return _differing_record(key, mine, theirs)
    if expected.tensors.keys() != found.tensors.keys():
        odd = sorted(expected.tensors.keys() ^ found.tensors.keys())
        return f"only one of the two has {', '.join(odd)}"
    for name, tensor in expected.tensors.items():
        difference = differing_element(name, tensor.numpy(), found.tensors[name].numpy())
        if difference is not None:
            return difference
    return None


def _training(job: Job) -> "Training":
    dataset = load_dataset(job.config.dataset).to(job.config.device)
    return make_training(job.config, job.seeds, dataset, job.onset)


def _stops(training: "Training", given: tuple[int, ...] | None) -> dict[int, str]:
    """Steps to stop after, and why there."""
    total = training.total_steps
    if given is not None:
        for step in given:
            if not 0 <= step <= total:
                raise ValueError(f"a stop is at step {step}; the training has {total} steps")
        return dict.fromkeys(given, "as asked")
    epoch = training.config.epochs // 2
    middle, end = training.epoch_begin(epoch), training.epoch_begin(epoch + 1)
    stops = {
        1: "after the first step",
        middle: "at an epoch's end",
        (middle + end) // 2: "amid an epoch",
        total - 1: "before the last step",
    }
    if training.perturbation_step is not None:
        stops[training.perturbation_step + 1] = "after the small change"
    return {step: stops[step] for step in sorted(stops) if 0 < step < total}


def _leave_states(training: "Training", stops: tuple[int, ...], folder: Path) -> "Checkpoint":
    """Trains to the end and leaves the state of every stop."""
    for step in sorted(stops):
        while training.step < step:
            training.advance()
        checkpoint.save(folder / f"at-{step}", training.state())
    return _finish(training)


def _finish(training: "Training") -> "Checkpoint":
    """The end of a training, or where it diverged: its state, with predictions."""
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


def _load(folder: Path) -> "Checkpoint":
    [path] = folder.glob("*.json")
    return checkpoint.load(path)


def _text(value: Any) -> str:
    """JSON types as text: every bit of a number counts, -0.0 and NaN included."""
    return json.dumps(value, sort_keys=True)


def _differing_record(where: str, mine: Any, theirs: Any) -> str:
    """The first difference of two unequal JSON values, with its place."""
    if isinstance(mine, dict) and isinstance(theirs, dict) and mine.keys() == theirs.keys():
        key = next(key for key in mine if _text(mine[key]) != _text(theirs[key]))
        return _differing_record(f"{where}, {key}", mine[key], theirs[key])
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True), 1)
        number, pair = next((n, pair) for n, pair in pairs if _text(pair[0]) != _text(pair[1]))
        return _differing_record(f"{where}, entry {number}", *pair)
    return f"{where}: {mine!r} against {theirs!r}"
