"""The folder of a study: its plan, and one folder per run, whole or not there at all.

    DIR/study.json            the plan
    DIR/runs/<address>/       run.json, history.csv, logits.npy, and SHA256SUMS over them
    DIR/damaged/              runs set aside because they did not match their checksums

A run is written beside its place, flushed to the disk, and renamed into place; it is checked
whenever it is read.
"""

import csv
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.config import Job
from nondet.study import Plan

if TYPE_CHECKING:
    from nondet.train import Result

CHECKSUMS = "SHA256SUMS"  # in the format of sha256sum, so that `sha256sum -c` checks a run too
_UNFINISHED = ".unfinished-"


class StoreError(Exception):
    """The folder cannot be used as asked; the message says why and what to do."""


class DamagedRunError(StoreError):
    """A stored run does not match its checksums or its address."""


@dataclass(frozen=True)
class StoredRun:
    """A run read back. history: one dictionary of numbers per epoch; logits: (examples, classes)
    float32.
    """

    job: Job
    history: list[dict[str, Any]]
    logits: np.ndarray
    record: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """Test accuracy after the last epoch, a fraction."""
        return float(self.history[-1]["test_accuracy"])

    @property
    def cross_entropy(self) -> float:
        """Test cross-entropy after the last epoch, in nats."""
        return float(self.history[-1]["test_cross_entropy"])

    @property
    def weight_hashes(self) -> list[str]:
        """SHA-256 of the model's state after each epoch."""
        return [epoch["weights_sha256"] for epoch in self.history]


class Store:
    """The study folder at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"

    # -- the plan ------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """The plan of the study kept here. Raises StoreError when there is none or it cannot be
        read.
        """
        path = self.root / "study.json"
        try:
            return Plan.from_json(json.loads(path.read_text()))
        except FileNotFoundError:
            raise StoreError(f"{self.root} holds no study (no study.json)") from None
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} cannot be read as a study: {error}") from error

    @contextmanager
    def opened_for(self, plan: Plan) -> Iterator[None]:
        """Makes this the folder of `plan`, for one process at a time.

        A new or empty folder becomes the plan's; a folder that holds a part of the same plan is
        continued. Raises StoreError when it holds another study or something else, cannot be
        written, or is in use.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("a")
        except OSError as error:
            raise StoreError(f"cannot write to {self.root}: {error.strerror or error}") from error
        with lock:
            try:
                # The kernel drops the lock with the process, however that ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(f"{self.root} is in use by another process") from None
            self._adopt(plan)
            yield

    def _adopt(self, plan: Plan) -> None:
        if (self.root / "study.json").exists():
            differences = self.plan().differences(plan)
            if differences:
                raise StoreError(
                    f"{self.root} holds another study ({'; '.join(differences)}). "
                    "Choose another folder with --out, or repeat the command that made it."
                )
        elif any(path.name != ".lock" for path in self.root.iterdir()):
            raise StoreError(
                f"{self.root} is not empty and holds no study. Choose another folder with --out."
            )
        else:
            write_atomically(self.root / "study.json", json.dumps(plan.to_json(), indent=2) + "\n")
        self.runs.mkdir(exist_ok=True)
        for leftover in self.runs.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    # -- runs ----------------------------------------------------------------------------------

    def load(self, job: Job) -> StoredRun | None:
        """The stored run of `job`, checked; None when there is none. Raises DamagedRunError."""
        folder = self.runs / job.address
        if not folder.is_dir():
            return None
        try:
            contents = _read_checked(folder)
            record = json.loads(contents["run.json"])
            history = _parse_history(contents["history.csv"].decode())
            logits = np.load(io.BytesIO(contents["logits.npy"]), allow_pickle=False)
        except (OSError, ValueError, KeyError) as error:
            raise DamagedRunError(f"run {job.address} is damaged: {error}") from error
        if record.get("job") != job.identity():
            raise DamagedRunError(f"run {job.address} is damaged: it records another job")
        return StoredRun(job, history, logits, record)

    def save(self, job: Job, result: "Result", environment: dict[str, Any]) -> None:
        """Writes a finished run; after this returns it survives a crash. An equal run already there
        is kept.
        """
        logits = io.BytesIO()
        np.save(logits, result.logits, allow_pickle=False)
        record = {
            "job": job.identity(),
            "environment": environment,
            "perturbation": None if result.perturbation is None else asdict(result.perturbation),
            "hashes": {
                "weights": result.history[-1].weights_sha256,
                "predictions": hashlib.sha256(result.logits.tobytes()).hexdigest(),
            },
        }
        contents = {
            "run.json": (json.dumps(record, indent=2) + "\n").encode(),
            "history.csv": _format_history(result).encode(),
            "logits.npy": logits.getvalue(),
        }
        sums = "".join(
            f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items()
        )
        unfinished = self.runs / f"{_UNFINISHED}{job.address}-{os.getpid()}"
        unfinished.mkdir(parents=True)
        for name, data in {**contents, CHECKSUMS: sums.encode()}.items():
            _write_flushed(unfinished / name, data)
        _flush_folder(unfinished)
        publish(unfinished, self.runs / job.address)

    def set_aside(self, job: Job) -> Path:
        """Moves a damaged run out of the way, to be looked at; returns where to."""
        damaged = self.root / "damaged"
        damaged.mkdir(exist_ok=True)
        number = 1
        while (target := damaged / f"{job.address}-{number}").exists():
            number += 1
        (self.runs / job.address).rename(target)
        return target


def publish(unfinished: Path, place: Path) -> None:
    """Renames a complete folder into its place and flushes the folder around it; an existing one is
    kept.
    """
    try:
        unfinished.rename(place)
    except OSError:
        if not place.is_dir():
            raise
        shutil.rmtree(unfinished)
    _flush_folder(place.parent)


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file as a whole: readers see the old text or the new one, nothing in between."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    _write_flushed(unfinished, text.encode())
    unfinished.replace(path)
    _flush_folder(path.parent)


def _read_checked(folder: Path) -> dict[str, bytes]:
    """The files that SHA256SUMS lists. Raises ValueError where one does not match."""
    contents = {}
    for line in (folder / CHECKSUMS).read_text().splitlines():
        digest, _, name = line.partition("  ")
        data = (folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError(f"{name} does not match its SHA-256")
        contents[name] = data
    return contents


def _format_history(result: "Result") -> str:
    text = io.StringIO()
    names = [field.name for field in fields(result.history[0])]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in result.history)
    return text.getvalue()


def _parse_history(text: str) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = []
    for line in csv.DictReader(io.StringIO(text)):
        epoch: dict[str, Any] = {
            name: float(value) for name, value in line.items() if "sha256" not in name
        }
        epoch["epoch"] = int(line["epoch"])
        epoch["weights_sha256"] = line["weights_sha256"]
        history.append(epoch)
    if not history:
        raise ValueError("history.csv holds no epoch")
    return history


def _write_flushed(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
