"""The control: two trainings with equal seeds must agree in every bit, or no difference between
runs means anything.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nondet.config import Job, RunConfig
from nondet.execute import Executor
from nondet.seeds import Seeds


class ControlError(Exception):
    """Trainings with equal seeds differ; the message says where they part."""


@dataclass(frozen=True)
class Tensor:
    """Name, shape and dtype of one tensor of a model's state."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Trajectory:
    """A training whose state after every epoch lies in a file, epoch after epoch, tensor after
    tensor.

    logits: (test examples, classes) float32 after the last epoch; weight_hashes: one per epoch.
    """

    states: Path
    tensors: tuple[Tensor, ...]
    logits: np.ndarray
    weight_hashes: tuple[str, ...]

    @property
    def predictions_sha256(self) -> str:
        return hashlib.sha256(self.logits.tobytes()).hexdigest()


def record_trajectory(task: tuple[RunConfig, Path]) -> Trajectory:
    """Trains `config` with every seed held and writes its state after every epoch to the given
    file.
    """
    from torch import nn

    from nondet.data import load_dataset
    from nondet.train import state_arrays, train

    config, path = task
    tensors: list[Tensor] = []
    with path.open("wb") as file:

        def after_epoch(epoch: int, model: nn.Module) -> None:
            arrays = list(state_arrays(model))
            tensors[:] = [Tensor(name, array.shape, str(array.dtype)) for name, array in arrays]
            for _, array in arrays:
                file.write(array.tobytes())

        dataset = load_dataset(config.dataset).to(config.device)
        result = train(config, Seeds(), dataset, after_epoch)
    hashes = tuple(epoch.weights_sha256 for epoch in result.history)
    return Trajectory(path, tuple(tensors), result.logits, hashes)


def prove_control(
    configs: tuple[RunConfig, ...], executor: Executor
) -> dict[RunConfig, Trajectory]:
    """Trains every configuration twice and compares every bit after every epoch; returns the first
    of each pair.

    Where the executor has several processes, the two of a pair may run in different ones. Raises
    ControlError where a pair differs. The returned trajectories keep their hashes and logits; their
    files are gone.
    """
    with tempfile.TemporaryDirectory(prefix="nondet-control-") as folder:
        tasks = [
            (config, Path(folder) / f"{config.model}-{twin}")
            for config in configs
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
    """In words, where two trajectories part first: epoch, tensor, index, both bit patterns. None
    where they never do.
    """
    if a.tensors != b.tensors or len(a.weight_hashes) != len(b.weight_hashes):
        return "do not even have the same tensors and epochs"
    with a.states.open("rb") as file_a, b.states.open("rb") as file_b:
        for epoch in range(1, len(a.weight_hashes) + 1):
            for tensor in a.tensors:
                bits_a = np.frombuffer(file_a.read(tensor.bytes), np.uint8)
                bits_b = np.frombuffer(file_b.read(tensor.bytes), np.uint8)
                if not np.array_equal(bits_a, bits_b):
                    return f"part in epoch {epoch}, " + _describe(bits_a, bits_b, tensor)
    if a.logits.tobytes() != b.logits.tobytes():
        logits = Tensor("the logits", a.logits.shape, str(a.logits.dtype))
        bits_a, bits_b = (np.frombuffer(x.logits.tobytes(), np.uint8) for x in (a, b))
        return "have equal weights but part in " + _describe(bits_a, bits_b, logits)
    return None


def check_against(
    proved: Trajectory, job: Job, weight_hashes: list[str], predictions_sha256: str, folder: Path
) -> None:
    """Raises ControlError where a stored control run is not the proved control in every bit."""
    where = f"control run {job.repeat + 1} of {job.config.model!r} in {folder}"
    hint = (
        "Either the training is not deterministic, or the folder was begun in another environment "
        "(another processor, torch or build; run.json says which): results of two environments are "
        "not mixed. Choose another folder with --out."
    )
    for epoch, (mine, theirs) in enumerate(
        zip(proved.weight_hashes, weight_hashes, strict=True), 1
    ):
        if mine != theirs:
            raise ControlError(
                f"{where} differs from the control proved now: the weights part in epoch {epoch} "
                f"(SHA-256 {mine[:16]}... now, {theirs[:16]}... there). {hint}"
            )
    if proved.predictions_sha256 != predictions_sha256:
        raise ControlError(
            f"{where} differs from the control proved now: "
            f"equal weights, but other predictions. {hint}"
        )


def _describe(bits_a: np.ndarray, bits_b: np.ndarray, tensor: Tensor) -> str:
    """Names the first differing element of two equally long byte strings."""
    size = np.dtype(tensor.dtype).itemsize
    differing = (bits_a.reshape(-1, size) != bits_b.reshape(-1, size)).any(axis=1)
    flat = int(np.argmax(differing))
    index = tuple(int(i) for i in np.unravel_index(flat, tensor.shape)) if tensor.shape else ()
    values = []
    for bits in (bits_a, bits_b):
        element = bits[flat * size : (flat + 1) * size]
        pattern = element.view(f"u{size}")[0]
        values.append(f"0x{pattern:0{2 * size}x} ({element.view(tensor.dtype)[0]!s})")
    return (
        f"{tensor.name} at index {list(index)}: {values[0]} against {values[1]} "
        f"({int(differing.sum()):,} of {differing.size:,} elements differ)"
    )
