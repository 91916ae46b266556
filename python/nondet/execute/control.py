"""The control: two trainings with equal seeds must agree in every bit, or no difference between
runs means anything.
"""

import tempfile
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nondet.data import load_dataset
from nondet.execute.executors import Executor
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.seeds import Seeds
from nondet.training import loop
from nondet.training.result import DivergedError, EpochRecord
from nondet.training.training import Training
from nondet_ext import fingerprint

STATES_BYTES = 2**30
"""How much of the states of a training is kept, from the first epoch on. A difference in a later
epoch is found and named all the same, only without index and bits.
"""


class ControlError(Exception):
    """Trainings with equal seeds differ; the message says where they part."""


@dataclass(frozen=True)
class Tensor:
    """Name, shape and dtype of one tensor of a training's state."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Trajectory:
    """What a training went through.

    tensors: names of all it carries from step to step (weights, statistics, momentum, averages).
    fingerprints: (steps, tensors) uint64, after every step; 0 where a tensor was not there yet.
    states, kept: the states after the epochs, epoch after epoch, tensor after tensor, in one file,
    and what is in it. epoch_ends: steps that are done when each epoch ends. history: one record per
    epoch. predictions: what is kept of them, with the SHA-256 of all logits; both None where the
    training diverged, for the reason `failure`.
    """

    epoch_ends: tuple[int, ...]
    tensors: tuple[str, ...]
    fingerprints: np.ndarray
    states: Path
    kept: tuple[tuple[Tensor, ...], ...]
    history: tuple["EpochRecord", ...]
    predictions: Mapping[str, np.ndarray] | None
    predictions_sha256: str | None
    failure: str | None = None

    @property
    def weight_hashes(self) -> tuple[str, ...]:
        """SHA-256 of the model's state after each epoch."""
        return tuple(epoch.weights_sha256 for epoch in self.history)

    def state(self, epoch: int, name: str) -> np.ndarray | None:
        """One tensor as it was after an epoch, counted from 1; None where it was not kept."""
        if epoch > len(self.kept):
            return None
        offset = sum(tensor.bytes for tensors in self.kept[: epoch - 1] for tensor in tensors)
        for tensor in self.kept[epoch - 1]:
            if tensor.name == name:
                count = tensor.bytes // np.dtype(tensor.dtype).itemsize
                flat = np.fromfile(self.states, tensor.dtype, count, offset=offset)
                return flat.reshape(tensor.shape)
            offset += tensor.bytes
        return None


class _Recorder:
    """Looks at a training after every step."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._written = 0
        self._rows: list[np.ndarray] = []
        self.names: list[str] = []
        self.kept: list[tuple[Tensor, ...]] = []
        self.epoch_ends: tuple[int, ...] = ()

    def __call__(self, training: "Training") -> None:
        self.epoch_ends = training.epoch_ends
        tensors = training.named_tensors()
        self.names += [name for name in tensors if name not in self.names]
        found = [fingerprint(tensors[x]) if x in tensors else 0 for x in self.names]
        self._rows.append(np.array(found, np.uint64))
        if training.at_epoch_end and len(self.kept) == training.epochs_done - 1:
            size = sum(x.numel() * x.element_size() for x in tensors.values())
            if self._written + size <= STATES_BYTES:
                self._written += size
                arrays = {name: x.detach().cpu().numpy() for name, x in tensors.items()}
                self.kept.append(
                    tuple(Tensor(name, x.shape, str(x.dtype)) for name, x in arrays.items())
                )
                for array in arrays.values():
                    self._file.write(array.tobytes())

    def fingerprints(self) -> np.ndarray:
        """(steps, tensors) uint64."""
        table = np.zeros((len(self._rows), len(self.names)), np.uint64)
        for line, row in zip(table, self._rows, strict=True):
            line[: len(row)] = row
        return table


def record_trajectory(task: tuple[RunConfig, Path]) -> Trajectory:
    """Trains `config` with every seed held; the states after the epochs go to the given file."""
    config, path = task
    dataset = load_dataset(config.dataset).to(config.device)
    predictions = digest = failure = None
    with path.open("wb") as file:
        recorder = _Recorder(file)
        try:
            result = loop.train(config, Seeds(), dataset, observe=recorder)
            history, predictions = result.history, result.predictions
            digest = result.predictions_sha256
        except DivergedError as error:
            history, failure = error.history, str(error)
    return Trajectory(
        epoch_ends=recorder.epoch_ends,
        tensors=tuple(recorder.names),
        fingerprints=recorder.fingerprints(),
        states=path,
        kept=tuple(recorder.kept),
        history=tuple(history),
        predictions=predictions,
        predictions_sha256=digest,
        failure=failure,
    )


def prove_control(
    configs: tuple[RunConfig, ...], executor: Executor, folder: Path | None = None
) -> dict[RunConfig, Trajectory]:
    """Trains every configuration twice and compares every bit after every step; returns the first
    of each pair.

    Where the executor has several processes, the two of a pair may run in different ones. folder:
    where they leave states meanwhile, seen by all of them; by default a temporary one. Raises
    ControlError where a pair differs. The returned trajectories keep their hashes and logits; their
    files are gone.
    """
    with tempfile.TemporaryDirectory(prefix="nondet-control-", dir=folder) as states:
        tasks = [
            (config, Path(states) / f"{number}-{twin}")
            for number, config in enumerate(configs)
            for twin in (1, 2)
        ]
        found = dict(executor.map(record_trajectory, tasks))
        proved = {}
        for first, second in zip(tasks[::2], tasks[1::2], strict=True):
            difference = first_difference(found[first], found[second])
            if difference is not None:
                raise ControlError(
                    f"the control of {first[0].model!r} failed: "
                    f"two trainings with equal seeds {difference}"
                )
            proved[first[0]] = found[first]
    return proved


def first_difference(a: Trajectory, b: Trajectory) -> str | None:
    """In words, where two trajectories part first: step, epoch and tensor; from the states after
    that epoch also index and both bit patterns. None where they never do.
    """
    if a.tensors != b.tensors or a.epoch_ends != b.epoch_ends:
        return "do not even have the same tensors and steps"
    steps = min(len(a.fingerprints), len(b.fingerprints))
    unequal = a.fingerprints[:steps] != b.fingerprints[:steps]
    if unequal.any():
        step = int(np.argmax(unequal.any(axis=1)))
        name = a.tensors[int(np.argmax(unequal[step]))]
        epoch = bisect_right(a.epoch_ends, step)
        place = f"step {step + 1} (epoch {epoch + 1})"
        return f"part in {place}: {_in_epoch(a, b, step, epoch, name)}"
    if a.failure != b.failure or len(a.fingerprints) != len(b.fingerprints):
        ends = [one.failure or "came to the end" for one in (a, b)]
        return f"have equal weights but end differently: {ends[0]}; {ends[1]}"
    for mine, theirs in zip(a.history, b.history, strict=True):
        for name, value in vars(mine).items():
            other = getattr(theirs, name)
            if repr(value) != repr(other):
                return (
                    f"have equal weights but part in epoch {mine.epoch}, {name}: {value!r} against "
                    f"{other!r}"
                )
    for kept, array in (a.predictions or {}).items():
        other_array = (b.predictions or {})[kept]
        difference = differing_element(f"the {kept.replace('_', ' ')}", array, other_array)
        if difference is not None:
            return f"have equal weights but part in {difference}"
    if a.predictions_sha256 != b.predictions_sha256:
        return "have equal weights but part in the logits, of which only a digest is kept"
    return None


def differing_element(name: str, a: np.ndarray, b: np.ndarray) -> str | None:
    """In words, where two arrays of one name have different bits first; None for equal ones."""
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"{name}: {a.dtype} {list(a.shape)} against {b.dtype} {list(b.shape)}"
    unsigned = f"u{a.dtype.itemsize}"
    bits = [np.ascontiguousarray(x).reshape(-1).view(unsigned) for x in (a, b)]
    differing = bits[0] != bits[1]
    if not differing.any():
        return None
    flat = int(np.argmax(differing))
    index = [int(i) for i in np.unravel_index(flat, a.shape)]
    digits = 2 * a.dtype.itemsize
    mine, theirs = (
        f"0x{pattern[flat]:0{digits}x} ({x.reshape(-1)[flat]!s})"
        for pattern, x in zip(bits, (a, b), strict=True)
    )
    return (
        f"{name} at index {index}: {mine} against {theirs} "
        f"({int(differing.sum()):,} of {differing.size:,} elements differ)"
    )


def check_against(
    proved: Trajectory,
    job: Job,
    weight_hashes: list[str],
    predictions_sha256: str | None,
    folder: Path,
) -> None:
    """Raises ControlError where a stored control run is not the proved control in every bit.

    predictions_sha256: None for a run that diverged.
    """
    where = f"control run {job.repeat + 1} of {job.config.model!r} in {folder}"
    hint = (
        "Either the training is not deterministic, or the folder was begun in another environment "
        "(another processor, torch or build; run.json says which): results of two environments are "
        "not mixed. Choose another folder with --out."
    )
    pairs = zip(proved.weight_hashes, weight_hashes, strict=False)  # one may have diverged
    for epoch, (mine, theirs) in enumerate(pairs, 1):
        if mine != theirs:
            raise ControlError(
                f"{where} differs from the control proved now: the weights part in epoch {epoch} "
                f"(SHA-256 {mine[:16]}... now, {theirs[:16]}... there). {hint}"
            )
    if len(proved.weight_hashes) != len(weight_hashes):
        raise ControlError(
            f"{where} differs from the control proved now: {len(weight_hashes)} epochs there, "
            f"{len(proved.weight_hashes)} now. {hint}"
        )
    if proved.predictions_sha256 != predictions_sha256:
        raise ControlError(
            f"{where} differs from the control proved now: "
            f"equal weights, but other predictions. {hint}"
        )


def _in_epoch(a: Trajectory, b: Trajectory, step: int, epoch: int, name: str) -> str:
    """What the states after the epoch of a step, both counted from 0, say about a tensor."""
    mine, theirs = a.state(epoch + 1, name), b.state(epoch + 1, name)
    if mine is None or theirs is None:
        return name
    found = differing_element(name, mine, theirs)
    if found is None:
        return f"{name}, which is equal again after the epoch"
    at_once = step + 1 == a.epoch_ends[epoch]
    return found if at_once else f"{found}, after the epoch"
