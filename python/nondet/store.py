"""The folder of a study: its plan, and one folder per run, whole or not there at all.

    DIR/study.json            the plan
    DIR/runs/<address>/       run.json, history.csv, logits.npy (and snapshots.npy), and SHA256SUMS
                              over them; a run that failed has no logits
    DIR/labels/<data set>/    labels.npy of the test images, labels.json, SHA256SUMS
    DIR/checkpoints/          states of runs under way; gone when the run is there
    DIR/prefixes/             states that several runs begin with (see prefixes.py)
    DIR/damaged/              runs set aside because they did not match their checksums

A run is written beside its place, flushed to the disk, and renamed into place; it is checked
whenever it is read.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.config import Job
from nondet.files import flush_folder, write_atomically, write_flushed
from nondet.formats import format_array, format_history, format_json, parse_array, parse_history
from nondet.study import Plan

if TYPE_CHECKING:
    from nondet.perturb import Perturbation
    from nondet.train import EpochRecord, Result

CHECKSUMS = "SHA256SUMS"  # in the format of sha256sum, so that `sha256sum -c` checks a run too
_UNFINISHED = ".unfinished-"


class StoreError(Exception):
    """The folder cannot be used as asked; the message says why and what to do."""


class DamagedRunError(StoreError):
    """A stored run does not match its checksums or its address."""


@dataclass(frozen=True)
class Failure:
    """Why a training ended too early, and where: epoch counted from 1, optimizer steps done."""

    reason: str
    epoch: int
    step: int


@dataclass(frozen=True)
class StoredRun:
    """A run read back. history: one dictionary of numbers per epoch, None where an epoch was not
    evaluated; logits: (examples, classes) float32; snapshots: (cycles, examples, classes) float32,
    where the schedule takes any.

    A run with a `failure` has no logits, and the history of the epochs before it only, be it none.
    """

    job: Job
    history: list[dict[str, Any]]
    logits: np.ndarray | None
    record: dict[str, Any]
    failure: Failure | None = None
    snapshots: np.ndarray | None = None

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


@dataclass(frozen=True, eq=False)
class Labels:
    """What a report needs of a data set. labels: (test examples,) int64; notes: sentences that a
    reader of its results should see.
    """

    labels: np.ndarray
    notes: tuple[str, ...] = ()


class Store:
    """The study folder at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        self.labels = root / "labels"
        self.checkpoints = root / "checkpoints"
        self.prefixes = root / "prefixes"

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
        for folder in (self.runs, self.labels):
            folder.mkdir(exist_ok=True)
            for leftover in folder.glob(f"{_UNFINISHED}*"):
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
            history = parse_history(contents["history.csv"].decode())
            failure = Failure(**record["failure"]) if record["failure"] else None
            logits = parse_array(contents["logits.npy"]) if failure is None else None
            snapshots = None
            if "snapshots.npy" in contents:
                snapshots = parse_array(contents["snapshots.npy"])
            if failure is None and not history:
                raise ValueError("history.csv holds no epoch")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedRunError(f"run {job.address} is damaged: {error}") from error
        if record.get("job") != job.identity():
            raise DamagedRunError(f"run {job.address} is damaged: it records another job")
        return StoredRun(job, history, logits, record, failure, snapshots)

    def save(self, job: Job, result: "Result", environment: dict[str, Any]) -> None:
        """Writes a finished run; after this returns it survives a crash. An equal run already there
        is kept.
        """
        record = _record(job, environment, result.perturbations) | {
            "hashes": {
                "weights": result.history[-1].weights_sha256,
                "predictions": hashlib.sha256(result.logits.tobytes()).hexdigest(),
            },
        }
        contents = {
            "run.json": format_json(record),
            "history.csv": format_history(result.history),
            "logits.npy": format_array(result.logits),
        }
        if result.snapshots is not None:
            contents["snapshots.npy"] = format_array(result.snapshots)
        _write_folder(self.runs / job.address, contents)

    def save_failure(
        self,
        job: Job,
        failure: Failure,
        history: Sequence["EpochRecord"],
        environment: dict[str, Any],
        perturbations: Sequence["Perturbation"] = (),
    ) -> None:
        """Writes a run that came to nothing, with its reason and the epochs before, as `save`
        writes others.
        """
        record = _record(job, environment, perturbations, failure)
        contents = {"run.json": format_json(record), "history.csv": format_history(history)}
        _write_folder(self.runs / job.address, contents)

    def set_aside(self, job: Job) -> Path:
        """Moves a damaged run out of the way, to be looked at; returns where to."""
        damaged = self.root / "damaged"
        damaged.mkdir(exist_ok=True)
        number = 1
        while (target := damaged / f"{job.address}-{number}").exists():
            number += 1
        (self.runs / job.address).rename(target)
        return target

    # -- labels --------------------------------------------------------------------------------

    def save_labels(self, dataset: str, labels: np.ndarray, notes: Sequence[str] = ()) -> None:
        """Keeps the labels of a data set's test images, (examples,) integers, in their order, for
        the report, and sentences for its reader.

        Damaged ones are replaced. Raises StoreError where other labels are kept under that name:
        runs on two data sets would be mixed.
        """
        folder = self._labels_folder(dataset)
        try:
            kept = self.load_labels(dataset)
        except StoreError:
            shutil.rmtree(folder)
            kept = None
        if kept is None:
            record = {"dataset": dataset, "notes": list(notes)}
            array = format_array(labels.astype(np.int64))
            _write_folder(folder, {"labels.json": format_json(record), "labels.npy": array})
        elif not np.array_equal(kept.labels, labels):
            raise StoreError(
                f"{self.root} was begun with other test labels of {dataset!r}: the data set has "
                "changed since. Choose another folder with --out."
            )

    def load_labels(self, dataset: str) -> Labels | None:
        """The labels kept of a data set, checked; None when there are none. Raises StoreError where
        they are damaged.
        """
        folder = self._labels_folder(dataset)
        if not folder.is_dir():
            return None
        try:
            contents = _read_checked(folder)
            record = json.loads(contents["labels.json"])
            return Labels(parse_array(contents["labels.npy"]), tuple(record["notes"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"the test labels in {folder} are damaged: {error}. "
                "The command that began the study writes them again."
            ) from error

    def _labels_folder(self, dataset: str) -> Path:
        """A data set may be named by a path: what a file name cannot hold is replaced, and a hash
        keeps different names apart.
        """
        digest = hashlib.sha256(dataset.encode()).hexdigest()[:8]
        return self.labels / f"{re.sub(r'[^A-Za-z0-9-]+', '_', dataset)[-60:]}-{digest}"


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
    flush_folder(place.parent)


def _write_folder(place: Path, contents: Mapping[str, bytes]) -> None:
    """A folder with these files and the checksums over them, whole or not at all."""
    sums = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items()
    )
    unfinished = place.with_name(f"{_UNFINISHED}{place.name}-{os.getpid()}")
    unfinished.mkdir(parents=True)
    for name, data in {**contents, CHECKSUMS: sums.encode()}.items():
        write_flushed(unfinished / name, data)
    flush_folder(unfinished)
    publish(unfinished, place)


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


def _record(
    job: Job,
    environment: dict[str, Any],
    perturbations: Sequence["Perturbation"],
    failure: Failure | None = None,
) -> dict[str, Any]:
    return {
        "job": job.identity(),
        "environment": environment,
        "perturbations": [asdict(perturbation) for perturbation in perturbations],
        "failure": None if failure is None else asdict(failure),
    }
