"""Read and write the files of a run.

run.json               configuration, seeds, onset, environment, perturbations, wall seconds,
                       hashes; for a failed run the failure
history.csv            a line per epoch
predictions.safetensors   "logits" and, with a snapshot schedule, "snapshots"; for a language
                       model "log_probabilities" and "predicted"
<record>.safetensors   the records taps, tta, twin, weights, if any
SHA256SUMS             the checksums of all these files
"""

import json
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nondet.store.errors import DamagedRunError, StoreError
from nondet.store.folder import CHECKSUMS, OpenFolder, read_folder
from nondet.store.formats import (
    format_arrays,
    format_history,
    format_json,
    parse_arrays,
    parse_history,
)
from nondet.studies.job import Job, address_of
from nondet.studies.row import KEEPS
from nondet.training.result import EpochRecord, Result, TokenPredictions

if TYPE_CHECKING:
    from nondet.training.perturb import Perturbation

FORMAT = 2
"""Version of the file formats in a study's folder, increased by every incompatible change."""

END_OF_SENTENCE = "end_of_sentence"
"""Key in the "dataset" object of run.json: the type number of a text's end-of-sentence token."""

Arrays = Mapping[str, np.ndarray]
_ARRAYS = ".safetensors"
_CACHE_BYTES = 256 << 20
_PREDICTIONS = f"predictions{_ARRAYS}"


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

    @property
    def end_of_sentence(self) -> int:
        """Return the type number of the end-of-sentence token. Raises KeyError for images."""
        return int(self.record["dataset"][END_OF_SENTENCE])


@dataclass(frozen=True)
class Header:
    """The part of a stored run that is read without its arrays, which are not checked.

    record: the contents of run.json. history: as in `StoredRun`. files: SHA-256 by file name.
    bytes: the total size of all files.
    """

    record: dict[str, Any]
    history: list[dict[str, Any]]
    failure: Failure | None
    files: dict[str, str]
    bytes: int

    @property
    def records(self) -> frozenset[str]:
        """Return the names of the run's records."""
        return frozenset(KEEPS) & {name.removesuffix(_ARRAYS) for name in self.files}


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


def format_run(record: Mapping[str, Any], result: Result) -> dict[str, bytes]:
    """Return the contents of a finished run's files by name."""
    hashes = {
        "weights": result.history[-1].weights_sha256,
        "predictions": result.predictions_sha256,
    }
    return format_failure({**record, "hashes": hashes}, result.history) | {
        _PREDICTIONS: format_arrays(result.predictions),
        **{f"{name}{_ARRAYS}": format_arrays(arrays) for name, arrays in result.records.items()},
    }


def format_failure(record: Mapping[str, Any], history: Sequence[EpochRecord]) -> dict[str, bytes]:
    """Return the contents of a failed run's files by name."""
    return {"run.json": format_json(record), "history.csv": format_history(history)}


def read_run(place: Path, job: Job) -> StoredRun | None:
    """Return the run of `job` in a folder after checking all its files; None if there is no folder.

    Raises DamagedRunError; StoreError if it cannot be read or another version wrote it.
    """

    def read(folder: OpenFolder) -> StoredRun:
        header = _read_header(folder, job.address)
        logits = snapshots = tokens = None
        if header.failure is None:
            predictions = parse_arrays(folder.read(_PREDICTIONS, header.files[_PREDICTIONS]))
            if "log_probabilities" in predictions:
                digest = header.record["hashes"]["predictions"]
                tokens = TokenPredictions(**predictions, logits_sha256=digest)
            else:
                logits, snapshots = predictions["logits"], predictions.get("snapshots")
            if not header.history:
                raise ValueError("history.csv holds no epoch")
        files = {name: header.files[f"{name}{_ARRAYS}"] for name in sorted(header.records)}
        for name, digest in files.items():
            folder.check(f"{name}{_ARRAYS}", digest)
        records = _Records(place, job.address, files)
        return StoredRun(
            job,
            header.history,
            logits,
            header.record,
            header.failure,
            snapshots,
            records,
            tokens,
        )

    with _reading(job.address):
        return read_folder(place, read)


def read_header(place: Path, address: str) -> Header | None:
    """Return the header of a run, or None if there is no folder. Raises as `read_run`."""
    with _reading(address):
        return read_folder(place, lambda folder: _read_header(folder, address))


def check_run(place: Path, address: str) -> Header | None:
    """Check all files of a run and return its header; None if there is no folder. Raises as
    `read_run`.
    """

    def read(folder: OpenFolder) -> Header:
        header = _read_header(folder, address)
        for name, digest in header.files.items():
            folder.check(name, digest)
        return header

    with _reading(address):
        return read_folder(place, read)


def is_superseded(place: Path, records: Collection[str]) -> bool:
    """Return True if a new run with these records (none for a failed run) replaces the stored one:
    a crashed run is replaced, and a finished run that lacks one of the records.

    Raises as `read_run`.
    """
    header = read_header(place, place.name)
    if header is None:
        return True
    if header.failure is not None:
        return header.failure.crashed
    return not header.records >= set(records)


class _Records(Mapping[str, Arrays]):
    """The records of a run, read and checked at each access.

    All instances share a least-recently-used cache of at most `_CACHE_BYTES` bytes.
    """

    _cache: ClassVar[OrderedDict[tuple[Path, str], Arrays]] = OrderedDict()

    def __init__(self, place: Path, address: str, files: Mapping[str, str]) -> None:
        self._place, self._address, self._files = place, address, files

    def __getitem__(self, name: str) -> Arrays:
        digest = self._files[name]
        key = (self._place, digest)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]

        def read(folder: OpenFolder) -> Arrays:
            return parse_arrays(folder.read(f"{name}{_ARRAYS}", digest))

        with _reading(self._address):
            arrays = read_folder(self._place, read)
        if arrays is None:
            raise DamagedRunError(f"run {self._address} no longer exists in {self._place.parent}")
        self._add_to_cache(key, arrays)
        return arrays

    @classmethod
    def _add_to_cache(cls, key: tuple[Path, str], arrays: Arrays) -> None:
        cls._cache[key] = arrays
        size = sum(_bytes(cached) for cached in cls._cache.values())
        while size > _CACHE_BYTES:
            size -= _bytes(cls._cache.popitem(last=False)[1])

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def _read_header(folder: OpenFolder, address: str) -> Header:
    files = folder.checksums()
    if unlisted := folder.unlisted(files):
        raise ValueError(f"{CHECKSUMS} does not list {', '.join(unlisted)}")
    record = json.loads(folder.read("run.json", files["run.json"]))
    if not isinstance(record, dict):
        raise ValueError("run.json is not a JSON object")
    if record.get("format") != FORMAT:
        raise StoreError(
            f"run {address} in {folder.path.parent} was written by another version of nondet "
            f"(format {record.get('format', 1)}; this version reads format {FORMAT}). Read it with "
            "that version, or choose another folder with --out."
        )
    if address_of(record["job"]) != address:
        raise ValueError("its run.json describes another job")
    history = parse_history(folder.read("history.csv", files["history.csv"]).decode())
    failure = Failure(**record["failure"]) if record["failure"] else None
    size = sum(folder.size(name) for name in (*files, CHECKSUMS))
    return Header(record, history, failure, files, size)


@contextmanager
def _reading(address: str) -> Iterator[None]:
    """Turn errors of reading a run into a DamagedRunError, or a StoreError if it is undamaged."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise DamagedRunError(
            f"run {address} is damaged: {error.filename}: {error.strerror}"
        ) from error
    except KeyError as error:
        raise DamagedRunError(f"run {address} is damaged: {error} is missing") from error
    except (ValueError, TypeError) as error:
        raise DamagedRunError(f"run {address} is damaged: {error}") from error
    except OSError as error:
        raise StoreError(f"run {address} cannot be read: {error}") from error
