"""The two files of a checkpoint, both verified when read:

FOLDER/step-00000042.safetensors    the tensors and, as metadata, which checkpoint they are of
FOLDER/step-00000042.json           under a checksum: step, record, SHA-256 of the tensors
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import safetensors
import safetensors.torch
import torch

from nondet.json_files import CHECKSUM, format_checksummed, parse_checksummed, parse_json
from nondet.schemas import Matching, Natural, Range, Sha256, check
from nondet.studies.job import address_of
from nondet.studies.specs import Change, Target

FORMAT = 2

Bits = Annotated[str, Matching("0x([0-9a-f]{4}){1,4}", "a bit pattern in hexadecimal, after 0x")]


class EpochEntry(TypedDict):
    """An `EpochRecord` as JSON."""

    epoch: Annotated[int, Range(1)]
    learning_rate: float
    train_loss: float
    test_accuracy: float | None
    test_cross_entropy: float | None
    weights_sha256: Sha256
    valid_cross_entropy: float | None


class PerturbationEntry(TypedDict):
    """A `Perturbation` as JSON."""

    target: Target
    tensor: str
    index: Natural
    step: Natural
    change: Change
    direction: Literal[1, -1] | None
    bit: Natural | None
    old_value: float | None
    new_value: float | None
    old_bits: Bits
    new_bits: Bits


class Record(TypedDict):
    """The record of a checkpoint: the part of a training's state that is not tensors.

    identity: of the job (`Job.identity`). environment: `describe_environment` of the training.
    records: names of the recorders whose state is among the tensors. valid_losses: of a language
    model. The last three are those of a finished training that is compared with others.
    """

    identity: dict[str, Any]
    environment: dict[str, Any]
    history: list[EpochEntry]
    perturbations: list[PerturbationEntry]
    records: list[str]
    valid_losses: NotRequired[list[float]]
    total_steps: NotRequired[Natural]
    failure: NotRequired[str | None]
    logits_sha256: NotRequired[Sha256]


class _File(TypedDict):
    format: Literal[2]
    step: Natural
    tensors_sha256: Sha256
    record: Record


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says why."""


class DamagedCheckpointError(CheckpointError):
    """The files of a checkpoint are not those that were written."""


class OtherFormatError(CheckpointError):
    """Another version of nondet wrote a checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """The whole state of a training after `step` optimizer steps.

    tensors: by name, on the CPU. record: of JSON types, see `Record`. path: of the JSON from which
    it was read; None for a state in memory.
    """

    step: int
    tensors: Mapping[str, torch.Tensor]
    record: Mapping[str, Any]
    path: Path | None = None

    def unusable(self, problem: object) -> "CheckpointError":
        """Return the error that says why a training cannot continue from this state."""
        if self.path is None:
            return CheckpointError(f"the state of step {self.step}: {problem}")
        return CheckpointError(f"{self.path}: {problem}. {remedy(self.path.parent)}")


def remedy(folder: Path) -> str:
    """Return what to do about checkpoints that cannot be continued."""
    return f"Remove the checkpoints in {folder}, or add --restart-runs to `nondet run`"


def path_of(folder: Path, step: int) -> Path:
    """Return the path of the JSON of a checkpoint."""
    return folder / f"step-{step:08}.json"


def encode(checkpoint: Checkpoint) -> tuple[bytes, bytes]:
    """Return the contents of both files: JSON and tensors.

    Raises ValueError if two tensors share memory, or the record holds a value that JSON lacks.
    """
    tensors = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()},
        # One entry: safetensors writes several in any order.
        {"checkpoint": _name(checkpoint.step, checkpoint.record)},
    )
    written = {
        "format": FORMAT,
        "step": checkpoint.step,
        "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
        "record": checkpoint.record,
    }
    return format_checksummed(written), tensors


def read_record(path: Path) -> Record:
    """Return the record of the checkpoint whose JSON is at `path`, without reading its tensors.

    Raises DamagedCheckpointError if the JSON is damaged, OtherFormatError if another version of
    nondet wrote it.
    """
    return _read(path)["record"]


def load(path: Path) -> Checkpoint:
    """Read the checkpoint whose JSON is at `path`. Raises as `read_record`, also for tensors that
    are damaged or belong to another checkpoint.
    """
    written = _read(path)
    step, record = written["step"], written["record"]
    try:
        data = path.with_suffix(".safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != written["tensors_sha256"]:
            raise ValueError("its tensors do not match their SHA-256")
        if _owner(data) != _name(step, record):
            raise ValueError("its tensors are those of another checkpoint")
        return Checkpoint(step, safetensors.torch.load(data), record, path)
    except (OSError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise _damaged(path, error) from error


def _read(path: Path) -> _File:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _damaged(path, error) from error
    try:
        written = parse_checksummed(data)
    except ValueError as error:
        if (old := _old_format(data)) is not None:
            raise _other_format(path, old) from None
        raise _damaged(path, error) from error
    if type(written.get("format")) is int and written["format"] != FORMAT:
        raise _other_format(path, written["format"])
    try:
        checked = check(_File, written)
        if path != path_of(path.parent, checked["step"]):
            raise ValueError(f"it is of step {checked['step']}")
    except ValueError as error:
        raise _damaged(path, error) from error
    return checked


def _old_format(data: bytes) -> int | None:
    """Return the format of a checkpoint that was written before its JSON had a checksum."""
    try:
        written = parse_json(data)
    except ValueError:
        return None
    if not isinstance(written, dict) or CHECKSUM in written:
        return None
    number = written.get("format")
    return number if type(number) is int and 1 <= number < FORMAT else None


def _name(step: int, record: Mapping[str, Any]) -> str:
    return f"{address_of(record['identity'])}/step-{step:08}"


def _owner(data: bytes) -> object:
    """Return the name of the checkpoint in the metadata of a safetensors file; None without it."""
    length = int.from_bytes(data[:8], "little")
    header = parse_json(data[8 : 8 + length])
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return metadata.get("checkpoint") if isinstance(metadata, dict) else None


def _damaged(path: Path, error: Exception) -> DamagedCheckpointError:
    return DamagedCheckpointError(f"the checkpoint {path} is damaged: {error}")


def _other_format(path: Path, number: int) -> OtherFormatError:
    return OtherFormatError(
        f"the checkpoint {path} has format {number}, which another version of nondet wrote; this "
        f"one reads format {FORMAT}. {remedy(path.parent)}, or continue with that version"
    )
