"""Stored measures of pairs of language models.

    DIR/measures/<key>/
        measures.json          whose measures these are, the environment, the SHA-256 of the arrays
        measures.safetensors   the arrays; its metadata names the key
        SHA256SUMS             the checksums of both
    DIR/measures/<name>.scratch/
        streaming/             unfinished measures (see nondet.analysis.streaming.staging)

The key is a hash of the identity (the runs with the SHA-256 of their predictions, and the test
text) and of those parts of the environment that decide bits, the name one of the identity alone. So
a folder of measures never changes, and cannot be taken for that of other runs.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nondet.environment import decisive
from nondet.json_files import format_checksummed, kind_of, parse_checksummed
from nondet.store.folder import CHECKSUMS, OpenFolder, read_folder
from nondet.store.formats import format_arrays, parse_arrays

FORMAT = 2
RECORD = "measures.json"
ARRAYS = "measures.safetensors"
SCRATCH = ".scratch"

CKA = "cka."
"""The name of an array of similarities begins with this; that of a layer follows."""

VECTORS = ("perplexities", "cross_entropies", "accuracies")
MATRICES = ("disagreement", "correlation", "ensemble_perplexity", "ensemble_cross_entropy")
_FINITE = {"cross_entropies", "accuracies", "disagreement", "ensemble_cross_entropy"}

_CHECKS: dict[str, type] = {
    "format": int,
    "identity": dict,
    "environment": dict,
    "files": dict,
    "plan": str,
    "taps": list,
}


@dataclass(frozen=True)
class Identity:
    """What distinguishes measures from others.

    runs: addresses, each with the SHA-256 of all logits. test: the SHA-256 of the tokens of the
    test text, int64.
    """

    runs: tuple[tuple[str, str], ...]
    test: str

    def keys(self) -> list[str]:
        """Return a string for each run, of its address and predictions."""
        return [f"{address} {predictions}" for address, predictions in self.runs]

    def name(self) -> str:
        """Return the name of the scratch folder."""
        return f"{_hash(self.to_json())}{SCRATCH}"

    def key(self, environment: Mapping[str, Any]) -> str:
        """Return the name of the folder of the measures that were computed in an environment."""
        return _hash({"identity": self.to_json(), "environment": decisive(environment)})

    def to_json(self) -> dict[str, Any]:
        """Return the entry of measures.json."""
        runs = [{"run": address, "predictions": sha256} for address, sha256 in self.runs]
        return {"runs": runs, "test_tokens": self.test}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Identity":
        """Return the identity that `to_json` wrote. Raises ValueError for anything else."""
        runs, test = data.get("runs"), data.get("test_tokens")
        if data.keys() != {"runs", "test_tokens"} or not isinstance(runs, list) or len(runs) < 2:
            raise ValueError("identity must hold runs, at least two, and test_tokens")
        for run in runs:
            if not isinstance(run, dict) or run.keys() != {"run", "predictions"}:
                raise ValueError("identity.runs must hold run and predictions each")
        texts = [test, *(text for run in runs for text in run.values())]
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            raise ValueError("identity must hold texts")
        return cls(tuple((run["run"], run["predictions"]) for run in runs), str(test))


@dataclass(frozen=True, eq=False)
class Contents:
    """The contents of a folder of measures.

    environment: in which they were computed. arrays: by the names `VECTORS`, (R,) float64,
    `MATRICES` and those that begin with `CKA`, (R, R) float64. plan: a sentence. taps: of CKA.
    """

    identity: Identity
    environment: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    plan: str
    taps: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the name of the folder."""
        return self.identity.key(self.environment)


def format_measures(contents: Contents) -> dict[str, bytes]:
    """Return the contents of the files by name."""
    arrays = format_arrays(contents.arrays, contents.key)
    record = {
        "format": FORMAT,
        "identity": contents.identity.to_json(),
        "environment": dict(contents.environment),
        "files": {ARRAYS: hashlib.sha256(arrays).hexdigest()},
        "plan": contents.plan,
        "taps": list(contents.taps),
    }
    return {RECORD: format_checksummed(record), ARRAYS: arrays}


def read_measures(place: Path) -> Contents | None:
    """Return the measures in a folder, or None if there is no folder.

    Raises ValueError if they are damaged, lie under a wrong name or are those of a former version;
    OSError if they cannot be read.
    """
    try:
        return read_folder(place, _read)
    except RecursionError:
        raise ValueError(f"{RECORD} is nested too deeply") from None
    except IsADirectoryError:
        raise ValueError("one of its files is a folder") from None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{error.filename}: {error.strerror}") from None


def _read(folder: OpenFolder) -> Contents:
    with folder.open(RECORD) as file:
        data = file.read()
    record = _checked(data)
    identity = Identity.from_json(record["identity"])
    contents = Contents(identity, record["environment"], {}, record["plan"], tuple(record["taps"]))
    if contents.key != folder.path.name:
        raise ValueError(f"{RECORD} describes the measures {contents.key}")
    arrays = parse_arrays(folder.read(ARRAYS, record["files"][ARRAYS]), contents.key)
    _check_arrays(arrays, len(identity.runs), contents.taps)
    sums = {RECORD: hashlib.sha256(data).hexdigest(), **record["files"]}
    with folder.open(CHECKSUMS) as file:
        if file.read() != "".join(f"{sum}  {name}\n" for name, sum in sums.items()).encode():
            raise ValueError(f"{CHECKSUMS} does not list the checksums of the files")
    if unlisted := folder.unlisted(sums):
        raise ValueError(f"{CHECKSUMS} does not list {', '.join(map(repr, unlisted))}")
    return Contents(identity, contents.environment, arrays, contents.plan, contents.taps)


def _checked(data: bytes) -> dict[str, Any]:
    """Return the contents of measures.json. Raises ValueError, which names the field."""
    try:
        record = parse_checksummed(data)
    except ValueError as error:
        raise ValueError(f"{RECORD}: {error}") from None
    if record.get("format") != FORMAT:
        raise ValueError(f"{RECORD} is of format {record.get('format')!r}, not {FORMAT}")
    for name, kind in _CHECKS.items():
        if type(record.get(name)) is not kind:
            raise ValueError(f"{RECORD}: {name} must not be {kind_of(record.get(name))}")
    if record.keys() != _CHECKS.keys() or record["files"].keys() != {ARRAYS}:
        raise ValueError(f"{RECORD} must hold {', '.join(_CHECKS)}, and the file {ARRAYS}")
    for text in (record["plan"], *record["taps"]):
        if not isinstance(text, str) or not text.isprintable():
            raise ValueError(f"{RECORD}: plan and taps must be texts")
    return record


def _check_arrays(arrays: Mapping[str, np.ndarray], runs: int, taps: Sequence[str]) -> None:
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(VECTORS, (runs,))
    shapes |= dict.fromkeys((*MATRICES, *(f"{CKA}{tap}" for tap in taps)), (runs, runs))
    if arrays.keys() != shapes.keys():
        names = sorted(arrays.keys() ^ shapes.keys())
        raise ValueError(f"{ARRAYS} has other arrays: {', '.join(map(repr, names))}")
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != np.float64 or array.shape != shape:
            raise ValueError(
                f"{ARRAYS}: {name} is {array.dtype} {array.shape}, it must be float64 {shape}"
            )
        if name in _FINITE and not np.isfinite(array).all():
            raise ValueError(f"{ARRAYS}: {name} holds values that are not finite")


def _hash(value: Mapping[str, Any]) -> str:
    data = json.dumps({"format": FORMAT, **value}, sort_keys=True)
    return hashlib.sha256(data.encode()).hexdigest()[:32]
