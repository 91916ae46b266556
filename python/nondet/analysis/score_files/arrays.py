"""Read predictions and scores from .npz, .npy and .safetensors files."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nondet.analysis.comparison.scores import (
    LARGEST,
    SINGLE_TASK,
    Examples,
    ScoredRun,
    Scores,
)
from nondet.analysis.score_files.making import Source, choose, make_scores, run_of_examples
from nondet.analysis.score_files.options import ReadOptions
from nondet.store.formats import parse_arrays

_CONTENTS = ("scores", "predictions", "logits")
_DAMAGE = (
    *(ValueError, OSError, EOFError, KeyError, RuntimeError, MemoryError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What numpy.load raises for damaged files; NotImplementedError is a RuntimeError."""
_BESIDE = ("labels", "seeds", "ids", "clusters")
_SHAPES = {
    "scores": "(runs,) or (runs, examples)",
    "predictions": "(runs, examples)",
    "logits": "(runs, examples, classes)",
}


def read_npz(path: Path, data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name, or that of an .npy file as "scores".

    Nothing is unpickled. Raises ValueError for damaged files and for arrays of Python objects.
    """
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"scores": found}
        names = [name for name in found.files if name in (*_CONTENTS, *_BESIDE)]
        return {name: found[name] for name in names or found.files}
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{path}: holds Python objects, which are not read; arrays of numbers are"
            ) from None
        raise ValueError(f"{path}: not arrays of NumPy that can be read: {error}") from None


def read_safetensors(path: Path, data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a .safetensors file by name. Raises ValueError for damaged files."""
    try:
        return parse_arrays(data, None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def arrays_source(
    path: Path, arrays: Mapping[str, np.ndarray], name: str, options: ReadOptions
) -> Source:
    """Return the scores in arrays: "scores" (R,) or (R, N), or "predictions" (R, N) integers or
    "logits" (R, N, C) with "labels" (N,) integers.

    Optional beside them: "seeds" (R,), "ids" (N,), "clusters" (N,). A single run may lack its first
    dimension in predictions and logits.

    Raises ValueError for other arrays, naming those that the file has.
    """
    return Source(_Arrays(path, arrays).scores(name, options))


class _Arrays:
    def __init__(self, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        self.path = path
        self.arrays = arrays
        present = [name for name in _CONTENTS if name in arrays]
        if not present:
            listed = ", ".join(f"{key} {value.shape}" for key, value in arrays.items())
            raise ValueError(
                f"{path} has no array named {', '.join(_CONTENTS)}; it has {listed or 'none'}"
            )
        self.kind = present[0]

    def scores(self, name: str, options: ReadOptions) -> Scores:
        if self.kind == "scores":
            values = self._wide(self._of("scores", "biuf", 1, 2))
            score = options.score or "score"
        else:
            score, values = self._predicted(options.score)
        runs = self._runs(values)
        return make_scores(name, runs, score, options)

    def _wide(self, found: np.ndarray) -> np.ndarray:
        """Return numbers as float64. Raises ValueError for finite ones above `LARGEST` in size."""
        if (np.isfinite(found) & (np.abs(found) > LARGEST)).any():
            raise self._error("scores", f"must lie between {-LARGEST:g} and {LARGEST:g}")
        return found.astype(np.float64)

    def _predicted(self, wanted: str | None) -> tuple[str, np.ndarray]:
        """Return the name of the score and what each run scores on each example; NaN for a run
        whose logits hold NaN.
        """
        labels = self._of("labels", "iu", 1)
        dimensions = 2 if self.kind == "predictions" else 3
        found = self._of(
            self.kind, "iu" if self.kind == "predictions" else "f", dimensions - 1, dimensions
        )
        if found.ndim < dimensions:
            found = found[None]
        if found.shape[1] != len(labels):
            raise self._error(self.kind, f"predict {found.shape[1]} examples, labels {len(labels)}")
        if self.kind == "predictions":
            choose("score", wanted or "accuracy", ["accuracy"], f"{self.path}: predictions")
            return "accuracy", (found == labels).astype(np.float64)
        from nondet.analysis.score_files.outcomes import METRICS, example_scores

        score = choose("score", wanted or "accuracy", METRICS, f"{self.path}: logits")
        values = np.full(found.shape[:2], np.nan)
        whole = ~np.isnan(found).any(axis=(1, 2))
        if whole.any():
            try:
                values[whole] = example_scores(found[whole], labels.astype(np.int64), score)
            except ValueError as error:
                raise ValueError(f"{self.path}: {error}") from None
        return score, values

    def _runs(self, values: np.ndarray) -> list[ScoredRun]:
        count = len(values)
        seeds = self._names("seeds", count, "run")
        labels = [f"{self.path.name}, run {i}" for i in range(count)]
        keys = [
            {"position": str(i), **({} if seeds is None else {"seed": str(seeds[i])})}
            for i in range(count)
        ]
        if values.ndim == 1:
            return [
                ScoredRun(label, {SINGLE_TASK: float(value)}, key)
                for label, value, key in zip(labels, values, keys, strict=True)
            ]
        examples = values.shape[1]
        ids = self._names("ids", examples, "example")
        if ids is None:
            ids = np.arange(examples).astype(str)
        clusters = self._names("clusters", examples, "example")
        classes = self._names("labels", examples, "example")
        try:
            return [
                run_of_examples(label, {SINGLE_TASK: Examples(ids, row, clusters, classes)}, key)
                for label, row, key in zip(labels, values, keys, strict=True)
            ]
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def _names(self, name: str, count: int, of: str) -> np.ndarray | None:
        """Return an array as texts, one for each run or example; None if there is none."""
        if name not in self.arrays:
            return None
        values = self._of(name, "iuUSb", 1)
        if len(values) != count:
            raise self._error(name, f"must have one entry for each {of}, {count}")
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", "replace")
        return values.astype(str)

    def _of(self, name: str, kinds: str, *dimensions: int) -> np.ndarray:
        """Return an array of one of these kinds of dtypes and numbers of dimensions."""
        if name not in self.arrays:
            raise ValueError(f"{self.path} has {self.kind} but no array named {name}")
        values = self.arrays[name]
        if values.ndim not in dimensions or 0 in values.shape or values.dtype.kind not in kinds:
            words = {"iu": "integers", "f": "floats", "biuf": "numbers", "iuUSb": "names"}[kinds]
            wanted = _SHAPES.get(name, "a vector")
            raise self._error(name, f"must be {words}, {wanted}")
        return values

    def _error(self, name: str, problem: str) -> ValueError:
        found = self.arrays[name]
        return ValueError(f"{self.path}: {name} {problem}; got {found.dtype} {found.shape}")
