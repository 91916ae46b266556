"""A run as files and as data.

run.json               configuration, seeds, onset, environment, what was perturbed, wall seconds,
                       hashes; of a failed run its failure
history.csv            a line per epoch
predictions.safetensors   "logits" and, where the schedule takes any, "snapshots"; of a language
                       model "log_probabilities" and "predicted"
<record>.safetensors   what was recorded beside them: taps, tta, twin, weights
SHA256SUMS             of all of these
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
"""Of the files in a study's folder. Raised whenever this version cannot read older ones."""

Arrays = Mapping[str, np.ndarray]
_ARRAYS = ".safetensors"
_REMEMBERED = 256 << 20
_PREDICTIONS = f"predictions{_ARRAYS}"


@dataclass(frozen=True)
class Failure:
    """Why a run came to nothing. Of a training that ended too early, where: epoch counted from 1,
    optimizer steps done. crashed: it was no property of the training: it may succeed when tried
    again.
    """

    reason: str
    epoch: int
    step: int
    crashed: bool = False


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run read back. history: one dictionary of numbers per epoch, None where an epoch was not
    evaluated; logits: (examples, classes) float32; snapshots: (cycles, examples, classes) float32,
    where the schedule takes any; records: by name ("taps", "tta", "twin", "weights"), arrays by
    key, read from the disk when a name is used (keep what you use often; it is shared, do not
    change it); tokens: of a language model, whose logits and snapshots are None.

    A run with a `failure` has no predictions, and the history of the epochs before it only, be it
    none.
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
        """Test accuracy after the last epoch, a fraction."""
        return float(self.history[-1]["test_accuracy"])

    @property
    def cross_entropy(self) -> float:
        """Test cross-entropy after the last epoch, in nats."""
        return float(self.history[-1]["test_cross_entropy"])

    @property
    def seconds(self) -> float:
        """Wall time of the training and everything recorded of it."""
        return float(self.record["seconds"])

    @property
    def weight_hashes(self) -> list[str]:
        """SHA-256 of the model's state after each epoch."""
        return [epoch["weights_sha256"] for epoch in self.history]


@dataclass(frozen=True)
class Outline:
    """What a look at a run tells without its arrays, which are not checked. history: as in
    `StoredRun`; files: SHA-256 by name; bytes: size of them all.
    """

    record: dict[str, Any]
    history: list[dict[str, Any]]
    failure: Failure | None
    files: dict[str, str]
    bytes: int

    @property
    def records(self) -> frozenset[str]:
        """The names of what was recorded beside the predictions."""
        return frozenset(KEEPS) & {name.removesuffix(_ARRAYS) for name in self.files}


def describe(
    job: Job,
    environment: Mapping[str, Any],
    perturbations: Sequence["Perturbation"],
    seconds: float,
    failure: Failure | None = None,
    dataset: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What is the same in the run.json of whole and of failed runs; "dataset" where there is
    anything to say of it.
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
    """The files of a whole run, by name."""
    hashes = {
        "weights": result.history[-1].weights_sha256,
        "predictions": result.predictions_sha256,
    }
    return format_failure({**record, "hashes": hashes}, result.history) | {
        _PREDICTIONS: format_arrays(result.predictions),
        **{f"{name}{_ARRAYS}": format_arrays(arrays) for name, arrays in result.records.items()},
    }


def format_failure(record: Mapping[str, Any], history: Sequence[EpochRecord]) -> dict[str, bytes]:
    """The files of a failed run, by name."""
    return {"run.json": format_json(record), "history.csv": format_history(history)}


def read_run(place: Path, job: Job) -> StoredRun | None:
    """The run of `job` in a folder, every file of it checked; None where there is no folder.

    Raises DamagedRunError; StoreError where it cannot be read or another version wrote it.
    """

    def read(folder: OpenFolder) -> StoredRun:
        outline = _outline(folder, job.address)
        logits = snapshots = tokens = None
        if outline.failure is None:
            predictions = parse_arrays(folder.read(_PREDICTIONS, outline.files[_PREDICTIONS]))
            if "log_probabilities" in predictions:
                digest = outline.record["hashes"]["predictions"]
                tokens = TokenPredictions(**predictions, logits_sha256=digest)
            else:
                logits, snapshots = predictions["logits"], predictions.get("snapshots")
            if not outline.history:
                raise ValueError("history.csv holds no epoch")
        files = {name: outline.files[f"{name}{_ARRAYS}"] for name in sorted(outline.records)}
        for name, digest in files.items():
            folder.check(f"{name}{_ARRAYS}", digest)
        records = _Records(place, job.address, files)
        return StoredRun(
            job,
            outline.history,
            logits,
            outline.record,
            outline.failure,
            snapshots,
            records,
            tokens,
        )

    with _reading(job.address):
        return read_folder(place, read)


def read_outline(place: Path, address: str) -> Outline | None:
    """The outline of the run with this address in a folder; raises as `read_run`."""
    with _reading(address):
        return read_folder(place, lambda folder: _outline(folder, address))


def check_run(place: Path, address: str) -> Outline | None:
    """Checks every file in a run's folder; raises as `read_run`."""

    def read(folder: OpenFolder) -> Outline:
        outline = _outline(folder, address)
        for name, digest in outline.files.items():
            folder.check(name, digest)
        return outline

    with _reading(address):
        return read_folder(place, read)


def is_superseded(place: Path, records: Collection[str]) -> bool:
    """Whether a run that is there gives way to a new one with these records (none of a failed one):
    a crashed run does, and a whole one that lacks any of them. Raises as `read_run`.
    """
    outline = read_outline(place, place.name)
    if outline is None:
        return True
    if outline.failure is not None:
        return outline.failure.crashed
    return not outline.records >= set(records)


class _Records(Mapping[str, Arrays]):
    """The records of one run, read and checked when they are asked for; the last ones of any run
    stay in memory, at most `_REMEMBERED` bytes of them.
    """

    _recent: ClassVar[OrderedDict[tuple[Path, str], Arrays]] = OrderedDict()

    def __init__(self, place: Path, address: str, files: Mapping[str, str]) -> None:
        self._place, self._address, self._files = place, address, files

    def __getitem__(self, name: str) -> Arrays:
        digest = self._files[name]
        key = (self._place, digest)
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]

        def read(folder: OpenFolder) -> Arrays:
            return parse_arrays(folder.read(f"{name}{_ARRAYS}", digest))

        with _reading(self._address):
            arrays = read_folder(self._place, read)
        if arrays is None:
            raise DamagedRunError(f"run {self._address} is gone from {self._place.parent}")
        self._remember(key, arrays)
        return arrays

    @classmethod
    def _remember(cls, key: tuple[Path, str], arrays: Arrays) -> None:
        cls._recent[key] = arrays
        held = sum(_bytes(one) for one in cls._recent.values())
        while held > _REMEMBERED:
            held -= _bytes(cls._recent.popitem(last=False)[1])

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())


def _outline(folder: OpenFolder, address: str) -> Outline:
    files = folder.checksums()
    if unlisted := folder.unlisted(files):
        raise ValueError(f"{CHECKSUMS} does not list {', '.join(unlisted)}")
    record = json.loads(folder.read("run.json", files["run.json"]))
    if not isinstance(record, dict):
        raise ValueError("run.json is no object")
    if record.get("format") != FORMAT:
        raise StoreError(
            f"run {address} in {folder.path.parent} was written by another version of nondet (its "
            f"format is {record.get('format', 1)}, this version reads {FORMAT}). Read it with that "
            "version, or choose another folder with --out."
        )
    if address_of(record["job"]) != address:
        raise ValueError("it records another job")
    history = parse_history(folder.read("history.csv", files["history.csv"]).decode())
    failure = Failure(**record["failure"]) if record["failure"] else None
    size = sum(folder.size(name) for name in (*files, CHECKSUMS))
    return Outline(record, history, failure, files, size)


@contextmanager
def _reading(address: str) -> Iterator[None]:
    """Says which run it was that could not be read, and whether that is damage."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise DamagedRunError(
            f"run {address} is damaged: {error.filename}: {error.strerror}"
        ) from error
    except KeyError as error:
        raise DamagedRunError(f"run {address} is damaged: it lacks {error}") from error
    except (ValueError, TypeError) as error:
        raise DamagedRunError(f"run {address} is damaged: {error}") from error
    except OSError as error:
        raise StoreError(f"run {address} cannot be read: {error}") from error
