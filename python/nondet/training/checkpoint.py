"""Checkpoints of a training: tensors as safetensors, the rest as JSON, both verified when read.

    FOLDER/step-00000042.safetensors    the tensors
    FOLDER/step-00000042.json           step, record (with the job's identity), SHA-256 of both

The JSON is written last: a checkpoint exists when its JSON does.
"""

import hashlib
import json
import re
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from nondet.files import write_atomically

FORMAT = 1
_NAME = re.compile(r"step-(\d{8,})\.json$")


class CheckpointError(Exception):
    """A checkpoint cannot be used; the message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """The whole state of a training after `step` optimizer steps.

    tensors: by name, on the CPU. record: of JSON types; record["identity"] identifies the job.
    """

    step: int
    tensors: Mapping[str, torch.Tensor]
    record: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write a checkpoint, then remove all others except the `keep - 1` before it. Return the path
    of its JSON.

    Later checkpoints are removed too: the training saves an earlier one only if it could not read
    them. Once this function returns, the checkpoint survives a crash; until then the others are
    untouched. Raises OSError if writing fails, ValueError if two tensors share memory.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; it must be at least 1")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{checkpoint.step:08}.json"
    tensors = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    )
    header = {
        "format": FORMAT,
        "step": checkpoint.step,
        "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
        "record_sha256": _record_sha256(checkpoint.record),
        "record": checkpoint.record,
    }
    text = json.dumps(header) + "\n"
    write_atomically(path.with_suffix(".safetensors"), tensors)
    write_atomically(path, text)
    _remove_others(folder, {path.stem for path in _paths(folder, checkpoint.step)[:keep]})
    return path


def load(path: Path) -> Checkpoint:
    """Read the checkpoint whose JSON is at `path`. Raises CheckpointError if it is damaged."""
    try:
        header = json.loads(path.read_bytes())
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']}, this version reads {FORMAT}")
        if _record_sha256(header["record"]) != header["record_sha256"]:
            raise ValueError("its record does not match its SHA-256")
        data = path.with_suffix(".safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != header["tensors_sha256"]:
            raise ValueError("its tensors do not match their SHA-256")
        if path != path.with_name(f"step-{header['step']:08}.json"):
            raise ValueError(f"it is of step {header['step']}")
        return Checkpoint(header["step"], safetensors.torch.load(data), header["record"])
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"the checkpoint {path} is damaged: {error}") from error


def latest(
    folder: Path, identity: Mapping[str, Any], warn: Callable[[str], object] = warnings.warn
) -> Checkpoint | None:
    """Return the newest undamaged checkpoint in a folder, None if there is none.

    warn: called with a message for every damaged checkpoint that is newer. Raises CheckpointError
    if that checkpoint belongs to another job.
    """
    paths = _paths(folder)
    for number, path in enumerate(paths):
        try:
            checkpoint = load(path)
        except CheckpointError as error:
            older = paths[number + 1 : number + 2]
            instead = f"{older[0].name} is used" if older else "there is none before it"
            warn(f"{error}; {instead}")
            continue
        if checkpoint.record.get("identity") != identity:
            raise CheckpointError(f"{path} belongs to another training")
        return checkpoint
    return None


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

    def latest(self, identity: Mapping[str, Any]) -> Checkpoint | None:
        """Return the checkpoint to resume from; see the function `latest`."""
        return latest(self.folder, identity, self._warn)

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
        shutil.rmtree(self.folder, ignore_errors=True)


def with_prefix(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with "<prefix>.", without that prefix."""
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def _record_sha256(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


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
