"""Verify the control: two trainings with equal seeds must agree bit for bit.

Otherwise differences between runs could not be attributed to the sources that vary.
"""

import tempfile
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nondet.data import load_dataset
from nondet.execute.executors import Executor, Retrying
from nondet.store.errors import writing
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.seeds import held
from nondet.training import loop
from nondet.training.result import DivergedError, EpochRecord
from nondet.training.training import Training
from nondet_ext import fingerprint

STATES_BYTES = 2**30
"""Most bytes of a training's states that are saved, from the first epoch on. A difference in a
later epoch is found too, but reported without index and bits.
"""


class ControlError(Exception):
    """Trainings with equal seeds differ. The message names the first difference."""


@dataclass(frozen=True)
class Tensor:
    """Name, shape and dtype of a tensor of a training's state."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Return the size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Trajectory:
    """The course of a training.

    tensors: the names of all tensors of its state (weights, statistics, momentum, averages).
    fingerprints: (steps, tensors) uint64, after every step; 0 before a tensor exists. states: a
    file with the states after the epochs, one after another. layout: the tensors in that file, in
    order, for each epoch. epoch_ends: the number of steps done at the end of each epoch. history: a
    record per epoch. predictions: arrays by name. predictions_sha256: the SHA-256 of all logits.
    failure: the reason why the training diverged; predictions and their hash are None then.
    """

    epoch_ends: tuple[int, ...]
    tensors: tuple[str, ...]
    fingerprints: np.ndarray
    states: Path
    layout: tuple[tuple[Tensor, ...], ...]
    history: tuple[EpochRecord, ...]
    predictions: Mapping[str, np.ndarray] | None
    predictions_sha256: str | None
    failure: str | None = None

    @property
    def weight_hashes(self) -> tuple[str, ...]:
        """Return the SHA-256 of the model's state after each epoch."""
        return tuple(epoch.weights_sha256 for epoch in self.history)

    def state(self, epoch: int, name: str) -> np.ndarray | None:
        """Return a tensor after an epoch, counted from 1, or None if it was not saved."""
        if epoch > len(self.layout):
            return None
        offset = sum(tensor.bytes for tensors in self.layout[: epoch - 1] for tensor in tensors)
        for tensor in self.layout[epoch - 1]:
            if tensor.name == name:
                count = tensor.bytes // np.dtype(tensor.dtype).itemsize
                flat = np.fromfile(self.states, tensor.dtype, count, offset=offset)
                return flat.reshape(tensor.shape)
            offset += tensor.bytes
        return None


class _Recorder:
    """Records a training after every step; its states after the epochs go to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._written = 0
        self._rows: list[np.ndarray] = []
        self.names: list[str] = []
        self.layout: list[tuple[Tensor, ...]] = []
        self.epoch_ends: tuple[int, ...] = ()

    def __call__(self, training: Training) -> None:
        self.epoch_ends = training.epoch_ends
        tensors = training.named_tensors()
        self.names += [name for name in tensors if name not in self.names]
        row = [fingerprint(tensors[name]) if name in tensors else 0 for name in self.names]
        self._rows.append(np.array(row, np.uint64))
        if training.at_epoch_end and len(self.layout) == training.epochs_done - 1:
            size = sum(x.numel() * x.element_size() for x in tensors.values())
            if self._written + size <= STATES_BYTES:
                self._written += size
                arrays = {name: x.detach().cpu().numpy() for name, x in tensors.items()}
                self.layout.append(
                    tuple(Tensor(name, x.shape, str(x.dtype)) for name, x in arrays.items())
                )
                for array in arrays.values():
                    self._file.write(array.tobytes())

    def fingerprints(self) -> np.ndarray:
        """Return the fingerprints after every step, (steps, tensors) uint64."""
        table = np.zeros((len(self._rows), len(self.names)), np.uint64)
        for line, row in zip(table, self._rows, strict=True):
            line[: len(row)] = row
        return table


def record_trajectory(task: tuple[RunConfig, Path]) -> Trajectory:
    """Train a configuration with the held seeds; save the states after the epochs to a file.

    task: the configuration and the path of the file.
    """
    config, path = task
    dataset = load_dataset(config.dataset).to(config.device)
    predictions = digest = failure = None
    with writing("the states of the control", path.parent), path.open("wb") as file:
        recorder = _Recorder(file)
        try:
            result = loop.train(config, held(config.held_seed), dataset, observe=recorder)
            history, predictions = result.history, result.predictions
            digest = result.predictions_sha256
        except DivergedError as error:
            history, failure = error.history, str(error)
    return Trajectory(
        epoch_ends=recorder.epoch_ends,
        tensors=tuple(recorder.names),
        fingerprints=recorder.fingerprints(),
        states=path,
        layout=tuple(recorder.layout),
        history=tuple(history),
        predictions=predictions,
        predictions_sha256=digest,
        failure=failure,
    )


def prove_control(
    configs: tuple[RunConfig, ...],
    executor: Executor,
    folder: Path | None = None,
    retrying: Retrying | None = None,
) -> dict[RunConfig, Trajectory]:
    """Train every configuration twice, compare all bits after every step, and return the first
    trajectory of each pair.

    With several processes, the two trainings of a pair may run in different ones. folder: for the
    states meanwhile, accessible to all processes; by default a temporary folder. The files of the
    returned trajectories no longer exist. retrying: as of `Executor.attempt`.

    Raises ControlError if a pair differs, StoreError if the folder cannot be written.
    """
    with ExitStack() as stack:
        with writing("the states of the control", folder or Path(tempfile.gettempdir())):
            temporary = tempfile.TemporaryDirectory(prefix="nondet-control-", dir=folder)
        states = stack.enter_context(temporary)
        tasks = [
            (config, Path(states) / f"{number}-{twin}")
            for number, config in enumerate(configs)
            for twin in (1, 2)
        ]
        trajectories = dict(executor.map(record_trajectory, tasks, retrying))
        proved = {}
        for first, second in zip(tasks[::2], tasks[1::2], strict=True):
            difference = first_difference(trajectories[first], trajectories[second])
            if difference is not None:
                raise ControlError(
                    f"the control of {first[0].model!r} failed: "
                    f"two trainings with equal seeds {difference}"
                )
            proved[first[0]] = trajectories[first]
    return proved


def first_difference(a: Trajectory, b: Trajectory) -> str | None:
    """Describe the first difference of two trajectories, or return None if they are equal.

    The text names step, epoch and tensor and, if the states after that epoch were saved, the index
    and both bit patterns.
    """
    if a.tensors != b.tensors or a.epoch_ends != b.epoch_ends:
        return "have different tensors or numbers of steps"
    steps = min(len(a.fingerprints), len(b.fingerprints))
    unequal = a.fingerprints[:steps] != b.fingerprints[:steps]
    if unequal.any():
        step = int(np.argmax(unequal.any(axis=1)))
        name = a.tensors[int(np.argmax(unequal[step]))]
        epoch = bisect_right(a.epoch_ends, step)
        place = f"step {step + 1} (epoch {epoch + 1})"
        return f"differ first in {place}: {_difference_in_epoch(a, b, step, epoch, name)}"
    if a.failure != b.failure or len(a.fingerprints) != len(b.fingerprints):
        ends = [trajectory.failure or "finished" for trajectory in (a, b)]
        return f"have equal weights but end differently: {ends[0]}; {ends[1]}"
    for mine, theirs in zip(a.history, b.history, strict=True):
        for name, value in vars(mine).items():
            other = getattr(theirs, name)
            if repr(value) != repr(other):
                return (
                    f"have equal weights but differ in epoch {mine.epoch}, {name}: {value!r} vs "
                    f"{other!r}"
                )
    for name, array in (a.predictions or {}).items():
        other_array = (b.predictions or {})[name]
        difference = differing_element(f"the {name.replace('_', ' ')}", array, other_array)
        if difference is not None:
            return f"have equal weights but differ in {difference}"
    if a.predictions_sha256 != b.predictions_sha256:
        return "have equal weights but differ in the logits (only their hash is stored)"
    return None


def differing_element(name: str, a: np.ndarray, b: np.ndarray) -> str | None:
    """Describe the first element in which two arrays have different bits, or return None if all are
    equal. name: of the arrays, for the text.
    """
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"{name}: {a.dtype} {list(a.shape)} vs {b.dtype} {list(b.shape)}"
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
        f"{name} at index {index}: {mine} vs {theirs} "
        f"({int(differing.sum()):,} of {differing.size:,} elements differ)"
    )


def check_against(
    proved: Trajectory,
    job: Job,
    weight_hashes: list[str],
    predictions_sha256: str | None,
    folder: Path,
) -> None:
    """Raise ControlError unless a stored run of the control equals the verified one bit for bit.

    predictions_sha256: None for a run that diverged.
    """
    where = f"control run {job.repeat + 1} of {job.config.model!r} in {folder}"
    hint = (
        "Either the training is not deterministic, or the study was started in another environment "
        "(another processor, torch or build; see run.json); results of two environments are not "
        "mixed. Choose another folder with --out."
    )
    pairs = zip(proved.weight_hashes, weight_hashes, strict=False)  # either may have diverged early
    for epoch, (mine, theirs) in enumerate(pairs, 1):
        if mine != theirs:
            raise ControlError(
                f"{where} differs from the control verified now: the weights differ from epoch "
                f"{epoch} on (SHA-256 {theirs[:16]}... stored, {mine[:16]}... now). {hint}"
            )
    if len(proved.weight_hashes) != len(weight_hashes):
        raise ControlError(
            f"{where} differs from the control verified now: it has {len(weight_hashes)} epochs, "
            f"not {len(proved.weight_hashes)}. {hint}"
        )
    if proved.predictions_sha256 != predictions_sha256:
        raise ControlError(
            f"{where} differs from the control verified now: equal weights, but different "
            f"predictions. {hint}"
        )


def _difference_in_epoch(a: Trajectory, b: Trajectory, step: int, epoch: int, name: str) -> str:
    """Describe how a tensor differs after the epoch of a step, both counted from 0."""
    mine, theirs = a.state(epoch + 1, name), b.state(epoch + 1, name)
    if mine is None or theirs is None:
        return name
    difference = differing_element(name, mine, theirs)
    if difference is None:
        return f"{name}, which is equal again after the epoch"
    at_epoch_end = step + 1 == a.epoch_ends[epoch]
    return difference if at_epoch_end else f"{difference}, after the epoch"
