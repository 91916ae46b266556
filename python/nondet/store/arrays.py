"""Check the arrays of runs, and read their records when they are used."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from nondet.store.errors import DamagedRunError, in_file, reading
from nondet.store.folder import OpenFolder, read_folder
from nondet.store.formats import parse_arrays
from nondet.studies.row import OUTPUTS
from nondet.training.record_sizes import (
    EPOCH_SERIES,
    INTEGER_SERIES,
    PATH_POINTS,
    PATH_SERIES,
    STEP_SERIES,
)

ARRAYS = ".safetensors"
"""The ending of files of arrays."""

Arrays = Mapping[str, np.ndarray]
_CACHE_BYTES = 256 << 20
_PREDICTIONS = (
    {"logits"},
    {"logits", "snapshots"},
    {"log_probabilities", "predicted"},
)


class Records(Mapping[str, Arrays]):
    """The records of a run, read and checked at each access.

    All instances share a least-recently-used cache of at most `_CACHE_BYTES` bytes.

    files: by the name of the record, the folder that holds it and its SHA-256. address: of the run.
    owner: see `parse_arrays`. logits: of the run, (examples, classes); None for a language model.
    """

    _cache: ClassVar[OrderedDict[tuple[Path, str], Arrays]] = OrderedDict()

    def __init__(
        self,
        files: Mapping[str, tuple[Path, str]],
        address: str,
        owner: str | None,
        logits: np.ndarray | None,
    ) -> None:
        self._files, self._address, self._owner, self._logits = files, address, owner, logits

    def __getitem__(self, name: str) -> Arrays:
        key = place, digest = self._files[name]
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]

        def read(folder: OpenFolder) -> Arrays:
            data = folder.read(f"{name}{ARRAYS}", digest)
            with in_file(f"{name}{ARRAYS}"):
                arrays = parse_arrays(data, self._owner)
                check_record(name, arrays, self._logits)
            return arrays

        with reading(f"run {self._address}"):
            arrays = read_folder(place, read)
        if arrays is None:
            raise DamagedRunError(f"run {self._address} no longer exists in {place.parent}")
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


def check_predictions(arrays: Arrays, sha256: str) -> None:
    """Raise ValueError unless these are the predictions of a finished run.

    sha256: of all its logits.
    """
    if set(arrays) not in _PREDICTIONS:
        raise ValueError(f"has the arrays {', '.join(arrays) or 'none'}")
    if "log_probabilities" in arrays:
        _check(arrays, "log_probabilities", np.float64, 1)
        _check(arrays, "predicted", np.int32, 1)
        if arrays["log_probabilities"].max(initial=0) > 0:
            raise ValueError("log_probabilities holds values above 0")
        if arrays["predicted"].min(initial=0) < 0:
            raise ValueError("predicted holds values below 0")
        if arrays["predicted"].shape != arrays["log_probabilities"].shape:
            raise ValueError("predicted and log_probabilities are of different lengths")
        return
    _check(arrays, "logits", np.float32, 2)
    logits = arrays["logits"]
    if hashlib.sha256(logits.tobytes()).hexdigest() != sha256:
        raise ValueError("its logits are not those that run.json names")
    if "snapshots" in arrays:
        _check(arrays, "snapshots", np.float32, 3)
        if arrays["snapshots"].shape[1:] != logits.shape:
            raise ValueError(
                f"snapshots are of shape {arrays['snapshots'].shape[1:]}, the logits of "
                f"{logits.shape}"
            )


def check_record(name: str, arrays: Arrays, logits: np.ndarray | None) -> None:
    """Raise ValueError if the arrays of a record have another form than its recorder gives them.

    logits: of the run, (examples, classes); None for a language model.
    """
    _CHECKS[name](arrays, logits)


def _check_taps(arrays: Arrays, logits: np.ndarray | None) -> None:
    for key in arrays:
        _check(arrays, key, np.float32, 2, finite=False)
    if len({len(array) for array in arrays.values()}) != 1:
        raise ValueError("its arrays are not of the same images")


def _check_tta(arrays: Arrays, logits: np.ndarray | None) -> None:
    unknown = sorted(set(arrays) - {output for output in OUTPUTS if "/" in output})
    if unknown or not arrays:
        raise ValueError(f"has the arrays {', '.join(unknown) or 'none'}")
    for key in arrays:
        _check(arrays, key, np.float32, 2)
        if logits is not None and arrays[key].shape != logits.shape:
            raise ValueError(f"{key} is of shape {arrays[key].shape}, the logits of {logits.shape}")


def _check_twin(arrays: Arrays, logits: np.ndarray | None) -> None:
    groups = (STEP_SERIES, EPOCH_SERIES, PATH_SERIES, ("initial_change",))
    different = sorted(set(arrays) ^ {name for group in groups for name in group})
    if different:
        raise ValueError(f"lacks the arrays, or should not have: {', '.join(different)[:300]}")
    for group in groups:
        for name in group:
            dtype = np.int64 if name in INTEGER_SERIES else np.float64
            _check(arrays, name, dtype, 1, finite=False)
            if len(arrays[name]) != len(arrays[group[0]]):
                raise ValueError(
                    f"{name} has {len(arrays[name])} values, {group[0]} {len(arrays[group[0]])}"
                )
    for name, length in (("alpha", PATH_POINTS), ("initial_change", 1)):
        if len(arrays[name]) != length:
            raise ValueError(f"{name} has {len(arrays[name])} values; it must have {length}")


def _check_weights(arrays: Arrays, logits: np.ndarray | None) -> None:
    if not arrays:
        raise ValueError("has no arrays")


_CHECKS: dict[str, Callable[[Arrays, np.ndarray | None], None]] = {
    "taps": _check_taps,
    "tta": _check_tta,
    "twin": _check_twin,
    "weights": _check_weights,
}


def _check(arrays: Arrays, key: str, dtype: type, dims: int, *, finite: bool = True) -> None:
    array = arrays[key]
    if array.dtype != dtype or array.ndim != dims:
        raise ValueError(
            f"{key} is {_form(array)}; it must be {np.dtype(dtype)} of {dims} dimensions"
        )
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{key} holds values that are not finite")


def _form(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
