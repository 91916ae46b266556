"""Checkpoints of a training in a folder: saved, found again, and refused where they do not belong.

`checkpoint_files` describes the files. The JSON of a checkpoint is written last: the checkpoint
exists when its JSON does. Only a training with the same configuration, seeds, onset and data, in
an environment that computes the same bits, continues from it.
"""

import re
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from nondet.environment import differences
from nondet.files import write_atomically
from nondet.studies.job import address_of
from nondet.training.checkpoint_files import Checkpoint as Checkpoint
from nondet.training.checkpoint_files import CheckpointError as CheckpointError
from nondet.training.checkpoint_files import DamagedCheckpointError as DamagedCheckpointError
from nondet.training.checkpoint_files import OtherFormatError as OtherFormatError
from nondet.training.checkpoint_files import encode, path_of, remedy
from nondet.training.checkpoint_files import load as load
from nondet.training.checkpoint_files import read_record as read_record

_NAME = re.compile(r"step-(\d{8,})\.json$")


class OtherEnvironmentError(CheckpointError):
    """A checkpoint was written where other bits are computed than here."""


def save(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write a checkpoint, then remove all others except the `keep - 1` before it. Return the path
    of its JSON.

    Later checkpoints are removed too: the training saves an earlier one only if it could not read
    them. Once this function returns, the checkpoint survives a crash; until then the others are
    untouched. Raises OSError if writing fails, ValueError if two tensors share memory.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; it must be at least 1")
    text, tensors = encode(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(folder, checkpoint.step)
    write_atomically(path.with_suffix(".safetensors"), tensors)
    write_atomically(path, text)
    _remove_others(folder, {path.stem for path in _paths(folder, checkpoint.step)[:keep]})
    return path


def latest(
    folder: Path,
    identity: Mapping[str, Any],
    environment: Mapping[str, Any],
    warn: Callable[[str], object] = warnings.warn,
) -> Checkpoint | None:
    """Return the newest undamaged checkpoint in a folder, None if there is none.

    identity, environment: of the training that would continue (`Training.identity`,
    `Training.environment`). warn: called with a message for every damaged checkpoint that is newer.

    Raises CheckpointError if that checkpoint belongs to another training, or to one on other data;
    OtherEnvironmentError if only its environment differs; OtherFormatError if another version of
    nondet wrote one.
    """
    paths = _paths(folder)
    for number, path in enumerate(paths):
        try:
            checkpoint = load(path)
        except DamagedCheckpointError as error:
            older = paths[number + 1 : number + 2]
            instead = f"{older[0].name} is used" if older else "there is none before it"
            warn(f"{error}; {instead}")
            continue
        unfit = _unfit(path, checkpoint.record, identity, environment)
        if unfit is not None:
            raise unfit
        return checkpoint
    return None


def refusal(
    folder: Path, identity: Mapping[str, Any], environment: Mapping[str, Any]
) -> CheckpointError | None:
    """Return the error with which `latest` would refuse the checkpoints of a folder; None if they
    fit or there are none. Tensors are not read, so that many folders can be checked beforehand.
    """
    for path in _paths(folder):
        try:
            record = read_record(path)
        except DamagedCheckpointError:
            continue
        except CheckpointError as error:
            return error
        return _unfit(path, record, identity, environment)
    return None


def other_environment(record: Mapping[str, Any], environment: Mapping[str, Any]) -> str | None:
    """Describe how the environment of a state with this record differs in what decides the bits of
    a result; None if it does not.
    """
    lines = differences(record["environment"], environment)
    return f"was written in another environment: {'; '.join(lines)}" if lines else None


def other_data(record: Mapping[str, Any], identity: Mapping[str, Any]) -> str | None:
    """Describe how the data of a state with this record differ; None if they do not.

    identity: of the training that would continue from it.
    """
    there, here = record["identity"].get("data"), identity.get("data")
    if there == here:
        return None
    return (
        f"belongs to a training on other data: SHA-256 {_short(there)} there, {_short(here)} here"
    )


def discard(folder: Path) -> None:
    """Remove all checkpoints in a folder, and the folder if nothing else is in it.

    Raises OSError if they cannot be removed.
    """
    _remove_others(folder, set())
    with suppress(OSError):  # there is no folder, or it holds other files
        folder.rmdir()


class Checkpoints:
    """The checkpoints of one training in a folder, written every `every_steps` steps or, if that is
    None, every `every_seconds` seconds. The interval changes no bit of a result.

    warn: called with a message when a checkpoint cannot be read or written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every_steps: int | None = None,
        every_seconds: float = 30,
        warn: Callable[[str], object] = warnings.warn,
    ) -> None:
        if every_steps is not None and every_steps < 1:
            raise ValueError(f"every_steps is {every_steps}; it must be at least 1")
        self.folder = folder
        self._steps, self._seconds, self._warn = every_steps, every_seconds, warn
        self._last = time.monotonic()

    def latest(
        self, identity: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> Checkpoint | None:
        """Return the checkpoint to resume from; see the function `latest`."""
        return latest(self.folder, identity, environment, self._warn)

    def due(self, step: int) -> bool:
        """Return True if the state after `step` steps should be saved."""
        if self._steps is not None:
            return step % self._steps == 0
        return time.monotonic() - self._last >= self._seconds

    def save(self, checkpoint: Checkpoint) -> None:
        """Save a state. A failure to write is only a warning: the training is worth more than its
        checkpoint, and the previous one is still there.
        """
        try:
            save(self.folder, checkpoint)
        except OSError as error:
            self._warn(f"no checkpoint of step {checkpoint.step} in {self.folder}: {error}")
        self._last = time.monotonic()

    def clear(self) -> None:
        """Remove all checkpoints: the training is done."""
        with suppress(OSError):
            discard(self.folder)


def with_prefix(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with "<prefix>.", without that prefix."""
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def _unfit(
    path: Path,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> CheckpointError | None:
    """Return why a training may not continue from the checkpoint at `path`; None if it may."""
    theirs = record["identity"]
    if address_of({**theirs, "data": ""}) != address_of({**identity, "data": ""}):
        return CheckpointError(f"{path} belongs to another training")
    if (data := other_data(record, identity)) is not None:
        return CheckpointError(f"{path} {data}. {remedy(path.parent)}, or restore that data")
    if (text := other_environment(record, environment)) is not None:
        return OtherEnvironmentError(
            f"{path} {text}. A training that continued here would end with the bits of neither. "
            f"{remedy(path.parent)}, or continue in that environment"
        )
    return None


def _short(digest: object) -> str:
    return str(digest)[:12] if digest else "not recorded"


def _paths(folder: Path, until: int | None = None) -> list[Path]:
    """Return the JSON files in a folder, newest first, up to step `until`."""
    found = {
        int(name[1]): path
        for path in folder.glob("step-*.json")
        if (name := _NAME.match(path.name))
    }
    return [found[step] for step in sorted(found, reverse=True) if until is None or step <= until]


def _remove_others(folder: Path, kept: set[str]) -> None:
    """Remove other checkpoints, tensors without JSON, and unfinished files that crashes left."""
    # The JSON of a checkpoint goes first, so that none is ever without its tensors.
    for path in sorted(folder.glob("step-*")):
        if path.suffix not in (".json", ".safetensors") or path.stem not in kept:
            path.unlink(missing_ok=True)
