"""Read and write the files of a run, which never change once they are written.

run.json               format, job, environment, perturbations, wall seconds, hashes; for a run that
                       diverged the failure; the SHA-256 of itself and of the other files
history.csv            a line per epoch
predictions.safetensors   "logits" and, with a snapshot schedule, "snapshots"; for a language
                       model "log_probabilities" and "predicted"
<record>.safetensors   the records taps, tta, twin, weights, if any
SHA256SUMS             the checksums of all these files

Arrays name the run that they belong to. Records of a later training with the same bits lie in
another folder (see nondet.store.records).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nondet.json_files import format_checksummed, parse_checksummed, parse_json
from nondet.store.arrays import ARRAYS, Arrays, Records, check_predictions
from nondet.store.errors import DamagedRunError, StoreError, in_file, reading
from nondet.store.folder import CHECKSUMS, OpenFolder, read_folder
from nondet.store.formats import format_arrays, format_history, parse_arrays, parse_history
from nondet.store.schemas import FORMAT, FORMER_FORMAT, check_run_record
from nondet.studies.job import Job, address_of
from nondet.studies.row import KEEPS
from nondet.training.result import EpochRecord, Result, TokenPredictions

if TYPE_CHECKING:
    from nondet.training.perturb import Perturbation

RUN, HISTORY, PREDICTIONS = "run.json", "history.csv", f"predictions{ARRAYS}"


@dataclass(frozen=True)
class Failure:
    """The reason why a run has no result.

    epoch (counted from 1), step (number of completed optimizer steps): where a training diverged.
    crashed: True if the run raised or was killed, and may succeed when it is tried again.
    """

    reason: str
    epoch: int
    step: int
    crashed: bool = False


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run read from disk.

    history: a dictionary of numbers per epoch, None for an epoch without evaluation. logits:
    (examples, classes) float32. snapshots: (cycles, examples, classes) float32, None without a
    snapshot schedule. records: arrays by name ("taps", "tta", "twin", "weights") and key, read from
    disk at each access; keep a reference if you use them often, and do not modify them: they are
    shared. tokens: the predictions of a language model, whose logits and snapshots are None.

    A run with a `failure` has no predictions; its history has the epochs before the failure.
    """

    job: Job
    history: list[dict[str, Any]]
    logits: np.ndarray | None
    record: dict[str, Any]
    failure: Failure | None = None
    snapshots: np.ndarray | None = None
    records: Mapping[str, Arrays] = field(default_factory=dict)
    tokens: TokenPredictions | None = None

    @property
    def accuracy(self) -> float:
        """Return the test accuracy after the last epoch, a fraction."""
        return float(self.history[-1]["test_accuracy"])

    @property
    def cross_entropy(self) -> float:
        """Return the test cross-entropy after the last epoch, in nats."""
        return float(self.history[-1]["test_cross_entropy"])

    @property
    def seconds(self) -> float:
        """Return the wall time of the training and its recorders."""
        return float(self.record["seconds"])

    @property
    def weight_hashes(self) -> list[str]:
        """Return the SHA-256 of the model's state after each epoch."""
        return [epoch["weights_sha256"] for epoch in self.history]

    def check_labels(self, labels: np.ndarray) -> None:
        """Raise DamagedRunError unless the predictions fit the test labels, (examples,)."""
        if self.failure is not None:
            return
        if self.tokens is not None:
            examples, classes = len(self.tokens.predicted), None
        else:
            assert self.logits is not None
            examples, classes = self.logits.shape
        if examples != len(labels) or (classes is not None and labels.max(initial=0) >= classes):
            raise DamagedRunError(
                f"run {self.job.address} predicts {examples} examples of {classes or 'all'} "
                f"classes; the test labels are of {len(labels)} examples, up to class "
                f"{labels.max(initial=0)}"
            )


@dataclass(frozen=True)
class Header:
    """The part of a stored run that is read without its arrays, which are not checked.

    record: the contents of run.json. history: as in `StoredRun`. files: SHA-256 by file name.
    bytes: the total size of all files. later: the names of the records that were made later.
    """

    record: dict[str, Any]
    history: list[dict[str, Any]]
    failure: Failure | None
    files: dict[str, str]
    bytes: int
    later: frozenset[str] = frozenset()

    @property
    def records(self) -> frozenset[str]:
        """Return the names of the run's records."""
        return own_records(self.files) | self.later


def own_records(files: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the records among the files of a run."""
    return frozenset(KEEPS) & {name.removesuffix(ARRAYS) for name in files}


def describe(
    job: Job,
    environment: Mapping[str, Any],
    perturbations: Sequence["Perturbation"],
    seconds: float,
    failure: Failure | None = None,
    dataset: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the entries of run.json that finished and failed runs share; "dataset" is left out if
    it is empty.
    """
    return {
        "format": FORMAT,
        "job": job.identity(),
        "environment": dict(environment),
        **({"dataset": dict(dataset)} if dataset else {}),
        "perturbations": [asdict(perturbation) for perturbation in perturbations],
        "seconds": seconds,
        "failure": None if failure is None else asdict(failure),
    }


def format_run(address: str, record: Mapping[str, Any], result: Result) -> dict[str, bytes]:
    """Return the contents of a finished run's files by name."""
    hashes = {
        "weights": result.history[-1].weights_sha256,
        "predictions": result.predictions_sha256,
    }
    arrays = {PREDICTIONS: result.predictions} | {
        f"{name}{ARRAYS}": arrays for name, arrays in result.records.items()
    }
    files = {HISTORY: format_history(result.history)} | {
        name: format_arrays(values, address) for name, values in arrays.items()
    }
    return _with_record({**record, "hashes": hashes}, files)


def format_failure(record: Mapping[str, Any], history: Sequence[EpochRecord]) -> dict[str, bytes]:
    """Return the contents of a failed run's files by name."""
    return _with_record(record, {HISTORY: format_history(history)})


def _with_record(record: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files after run.json, which lists their SHA-256."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return {RUN: format_checksummed({**record, "files": digests}), **files}


def read_run(
    place: Path, job: Job, address: str, later: Mapping[str, tuple[Path, str]]
) -> StoredRun | None:
    """Return the run of `job` in a folder after checking all its files; None if there is no folder.

    address: of the run, which its folder is named by. later: the folders and SHA-256 of records
    that were made later, by name, checked already.

    Raises DamagedRunError; StoreError if it cannot be read or another version wrote it.
    """

    def read(folder: OpenFolder) -> StoredRun:
        header = _read_header(folder, address)
        predictions = _read_predictions(folder, header, address)
        files = {
            name: header.files[f"{name}{ARRAYS}"] for name in sorted(own_records(header.files))
        }
        for name, digest in files.items():
            folder.check(f"{name}{ARRAYS}", digest)
        records = {**later, **{name: (place, digest) for name, digest in files.items()}}
        tokens = None
        if "log_probabilities" in predictions:
            digest = header.record["hashes"]["predictions"]
            tokens = TokenPredictions(**predictions, logits_sha256=digest)
        owner = _owner(header, address)
        return StoredRun(
            job,
            header.history,
            predictions.get("logits"),
            header.record,
            header.failure,
            predictions.get("snapshots"),
            Records(dict(sorted(records.items())), address, owner, predictions.get("logits")),
            tokens,
        )

    with reading(f"run {address}"):
        return read_folder(place, read)


def read_header(place: Path, address: str) -> Header | None:
    """Return the header of a run, or None if there is no folder. Raises as `read_run`."""
    with reading(f"run {address}"):
        return read_folder(place, lambda folder: _read_header(folder, address))


def check_run(place: Path, address: str) -> Header | None:
    """Check all files of a run and return its header; None if there is no folder. Raises as
    `read_run`.
    """

    def read(folder: OpenFolder) -> Header:
        header = _read_header(folder, address)
        for name, digest in header.files.items():
            folder.check(name, digest)
        _read_predictions(folder, header, address)
        return header

    with reading(f"run {address}"):
        return read_folder(place, read)


def _read_header(folder: OpenFolder, address: str) -> Header:
    files = folder.checksums()
    for name in (RUN, HISTORY):
        if name not in files:
            raise ValueError(f"{CHECKSUMS} does not list {name}")
    data = folder.read(RUN, files[RUN])
    with in_file(RUN):
        record = _parse_record(data, folder.path)
        if address_of(record["job"]) != address:
            raise ValueError("it describes another job")
        others = {name: digest for name, digest in files.items() if name != RUN}
        if record["format"] == FORMAT and record["files"] != others:
            raise ValueError(f"its files are not those of {CHECKSUMS}")
    data = folder.read(HISTORY, files[HISTORY])
    with in_file(HISTORY):
        history = parse_history(data)
    failure = Failure(**record["failure"]) if record["failure"] else None
    if failure is None:
        if not history:
            raise ValueError(f"{HISTORY} holds no epoch")
        if history[-1]["test_accuracy"] is None or history[-1]["test_cross_entropy"] is None:
            raise ValueError(f"{HISTORY} holds no evaluation of the last epoch")
        if history[-1]["weights_sha256"] != record["hashes"]["weights"]:
            raise ValueError(f"{HISTORY} ends with other weights than {RUN} names")
        if PREDICTIONS not in files:
            raise ValueError(f"{CHECKSUMS} does not list {PREDICTIONS}")
    size = sum(folder.size(name) for name in (*files, CHECKSUMS))
    return Header(record, history, failure, files, size)


def _parse_record(data: bytes, place: Path) -> dict[str, Any]:
    """Return the contents of run.json. Raises ValueError; StoreError for another version's."""
    record = parse_json(data)
    version = record.get("format", 1) if isinstance(record, dict) else FORMAT
    if version not in (FORMAT, FORMER_FORMAT):
        raise StoreError(
            f"run {place.name} in {place.parent} was written by another version of nondet "
            f"(format {version}; this version reads format {FORMAT}). Read it with that version, "
            "or choose another folder with --out."
        )
    return check_run_record(record if version == FORMER_FORMAT else parse_checksummed(data))


def _read_predictions(folder: OpenFolder, header: Header, address: str) -> dict[str, np.ndarray]:
    """Return the arrays of a run's predictions; none if it failed."""
    if header.failure is not None:
        return {}
    data = folder.read(PREDICTIONS, header.files[PREDICTIONS])
    with in_file(PREDICTIONS):
        predictions = parse_arrays(data, _owner(header, address))
        check_predictions(predictions, header.record["hashes"]["predictions"])
    return predictions


def _owner(header: Header, address: str) -> str | None:
    """Return the owner that the run's arrays must name; None in a former format, without owners."""
    return address if header.record["format"] == FORMAT else None
