"""States of a training on disk: tensors in safetensors, the rest in JSON, both checked when read.

    FOLDER/step-00000042.safetensors    the tensors
    FOLDER/step-00000042.json           step, identity of the job, record, and SHA-256 of both

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
    """A checkpoint that cannot be used; the message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """The whole state of a training after `step` optimizer steps.

    tensors: by name, on the CPU. record: JSON types; record["identity"] says of which job.
    """

    step: int
    tensors: Mapping[str, torch.Tensor]
    record: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Writes a checkpoint, then removes all others but the `keep - 1` before it; returns the path
    of its JSON.

    Later ones are removed too: a training that comes by here again could not read them. After it
    returns the checkpoint survives a crash; before, the others are untouched. Raises OSError where
    the disk does not take it, ValueError where two tensors share memory.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; it must be at least 1")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{checkpoint.step:08}.json"
    tensors = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    )
    head = {
        "format": FORMAT,
        "step": checkpoint.step,
        "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
        "record_sha256": _record_sha256(checkpoint.record),
        "record": checkpoint.record,
    }
    text = json.dumps(head) + "\n"
    write_atomically(path.with_suffix(".safetensors"), tensors)
    write_atomically(path, text)
    _tidy(folder, {one.stem for one in _paths(folder, checkpoint.step)[:keep]})
    return path


def load(path: Path) -> Checkpoint:
    """The checkpoint whose JSON lies at `path`. Raises CheckpointError where it is damaged."""
    try:
        head = json.loads(path.read_bytes())
        if head["format"] != FORMAT:
            raise ValueError(f"its format is {head['format']}, this version reads {FORMAT}")
        if _record_sha256(head["record"]) != head["record_sha256"]:
            raise ValueError("its record does not match its SHA-256")
        data = path.with_suffix(".safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != head["tensors_sha256"]:
            raise ValueError("its tensors do not match their SHA-256")
        if path != path.with_name(f"step-{head['step']:08}.json"):
            raise ValueError(f"it is of step {head['step']}")
        return Checkpoint(head["step"], safetensors.torch.load(data), head["record"])
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"the checkpoint {path} is damaged: {error}") from error


def latest(
    folder: Path, identity: Mapping[str, Any], warn: Callable[[str], object] = warnings.warn
) -> Checkpoint | None:
    """The newest whole checkpoint in a folder, None where there is none.

    Each damaged one that is newer is named to `warn`. Raises CheckpointError where a checkpoint is
    another job's.
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
    """Where a training leaves its states, and how often: every so many steps, or seconds of wall
    time. How often changes no bit of a result.
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
        """The state to go on from; see the function `latest`."""
        return latest(self.folder, identity, self._warn)

    def due(self, step: int) -> bool:
        """Whether the state after `step` steps should be saved."""
        if self._steps is not None:
            return step % self._steps == 0
        return time.monotonic() - self._last >= self._seconds

    def save(self, checkpoint: Checkpoint) -> None:
        """Saves a state. Where the disk does not take it, that is a warning: the training is worth
        more than its checkpoint, and the one before is still there.
        """
        try:
            save(self.folder, checkpoint)
        except OSError as error:
            self._warn(f"no checkpoint of step {checkpoint.step} in {self.folder}: {error}")
        self._last = time.monotonic()

    def clear(self) -> None:
        """Removes all states: the training is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _record_sha256(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _paths(folder: Path, until: int | None = None) -> list[Path]:
    """The JSON files of a folder, the newest first, none of a step after `until`."""
    found = {
        int(name[1]): path
        for path in folder.glob("step-*.json")
        if (name := _NAME.match(path.name))
    }
    return [found[step] for step in sorted(found, reverse=True) if until is None or step <= until]


def _tidy(folder: Path, kept: set[str]) -> None:
    """Removes other checkpoints and what crashes left: tensors without JSON, unfinished files."""
    # JSON first: at no moment is there one whose tensors are gone.
    for path in sorted(folder.glob("step-*")):
        if path.suffix not in (".json", ".safetensors") or path.stem not in kept:
            path.unlink(missing_ok=True)
