"""A scratch folder with the outputs of some models and the results so far. It outlives the process,
so that a computation can resume.

    state.json                   whose work this is, the environment, and the plan
    model00003.logits.npy        (N, V) float32
    model00003.tap00.npy         (N, width) float32, of one layer
    model00003.json              the SHA-256 of these, written last
    tile00000.correlation.json   a finished part of the result
    spearman/                    the state of nondet_ext.spearman_files

The JSON files are records (see nondet.store.scratch): what is damaged, was exchanged or belongs to
other work is computed again.
"""

import fcntl
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from nondet.analysis.streaming.arrays import StagedArray, Writer
from nondet.files import remove_leftovers
from nondet.store.measures_check import LOCK, SPEARMAN, STATE
from nondet.store.scratch import digest_of, find_record, format_record, read_record, write_record

LOGITS = ""
"""Their name among a model's arrays; the others have those of layers."""

_VERSION = 2


class OtherWorkError(ValueError):
    """The folder holds the unfinished work of another computation."""


class Staging:
    """The folder, for one process at a time. As a context manager it keeps finished work if an
    exception leaves, and removes everything otherwise.

    identity: what distinguishes this computation from another, as JSON types. shape: (N, V).
    widths: of the representations, by layer. environment: in which models compute, as JSON types;
    unfinished work of another environment is removed.

    Raises OSError on entry if the folder is in use or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        shape: tuple[int, int],
        widths: dict[str, int],
        environment: Mapping[str, Any],
    ) -> None:
        self.folder = folder
        self.spearman = folder / SPEARMAN
        self._state = folder / STATE
        self._identity = {"version": _VERSION, **identity, "shape": list(shape)}
        self._identity["layers"] = [list(each) for each in widths.items()]
        self._environment = dict(environment)
        self._shape = shape
        self._widths = widths
        self._work = ""  # the checksum of the state, once it is written or found
        self._trusted: set[int] = set()
        self._made: list[Path] = []
        self._stack = ExitStack()

    def __enter__(self) -> "Staging":
        self._made = [each for each in self.folder.parents if not each.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context((self.folder / LOCK).open("a"))
        try:
            # The kernel drops the lock with the process, however that ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._stack.close()
            raise OSError(f"scratch ({self.folder.parent}) is in use by another process") from None
        remove_leftovers(self.folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is not None and self._state.exists():
                return
            shutil.rmtree(self.folder)
            for each in self._made:
                if not any(each.iterdir()):
                    each.rmdir()

    def unfinished_plan(self) -> object:
        """Return the plan of unfinished work, as JSON types that somebody may have changed; None if
        there is none. Removes damaged work and that of another environment.

        Raises OtherWorkError if it belongs to another computation.
        """
        try:
            found = read_record(self._state)
        except ValueError:
            found = None
        if found is None:
            self._clear()
            return None
        state = found.entries
        plan, made, environment = (state.pop(name, None) for name in _BESIDE)
        if state != self._identity:
            names = state.keys() | self._identity.keys()
            differ = [each for each in names if state.get(each) != self._identity.get(each)]
            raise OtherWorkError(
                f"scratch ({self.folder.parent}) holds the unfinished work of another call, which "
                f"had other {', '.join(map(_printable, sorted(differ)))}. Give another folder, or "
                "remove it"
            )
        parents = list(self.folder.parents)
        if environment != self._environment or not _is_count(made, len(parents)):
            self._clear()
            return None
        self._made = parents[:made]
        return plan

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Claim the folder for this computation and its plan, as JSON types. Work with another plan
        is removed.
        """
        # Missing folders are the nearest ones, so that their number says which they are.
        beside = zip(_BESIDE, (dict(plan), len(self._made), self._environment), strict=True)
        state = {**self._identity, **dict(beside)}
        if not self._state.exists() or self._state.read_bytes() != format_record(STATE, state):
            self._clear()
            write_record(self._state, state)
        found = read_record(self._state)
        assert found is not None
        self._work = found.checksum

    def _clear(self) -> None:
        """Remove everything but the lock."""
        for path in self.folder.iterdir():
            if path.name != LOCK:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def arrays(self, model: int) -> dict[str, StagedArray]:
        """Return a model's arrays."""
        stem = f"model{model:05}"
        return {LOGITS: StagedArray(self.folder / f"{stem}.logits.npy", self._shape)} | {
            tap: StagedArray(self.folder / f"{stem}.tap{n:02}.npy", (self._shape[0], width))
            for n, (tap, width) in enumerate(self._widths.items())
        }

    def is_staged(self, model: int) -> bool:
        """Return True if all files of a model are complete and unchanged."""
        if model in self._trusted:
            return True
        digests, arrays = self._digests(model), self.arrays(model)
        if digests is None or not all(each.is_whole() for each in arrays.values()):
            return False
        if any(digest_of(each.path) != digests[name] for name, each in arrays.items()):
            return False
        self._trusted.add(model)
        return True

    def stage(self, model: int, rows: Iterable[tuple[str, np.ndarray]]) -> None:
        """Write the files of a model: contiguous rows of its arrays, by name, in order.

        Raises ValueError if the model had other bits before.
        """
        # Its state is of the files that were there.
        shutil.rmtree(self.spearman, ignore_errors=True)
        arrays, before = self.arrays(model), self._digests(model)
        with ExitStack() as stack:
            writers = {name: stack.enter_context(Writer(each)) for name, each in arrays.items()}
            for name, each in rows:
                writers[name].add(each)
            found = {name: writer.finish() for name, writer in writers.items()}
        for name, digest in (before or {}).items():
            if found[name] != digest:
                what = "logits" if name == LOGITS else f"hidden states {name!r}"
                raise ValueError(
                    f"sources[{model}] must give the same bits every time, its {what} have changed"
                )
        files = {each.path.name: found[name] for name, each in arrays.items()}
        write_record(self._record_path(model), {"work": self._work, "files": files})
        self._trusted.add(model)

    def remove_others(self, models: Collection[int], count: int) -> None:
        """Remove the files of all models except these. Their digests stay."""
        for model in set(range(count)).difference(models):
            self._trusted.discard(model)
            for each in self.arrays(model).values():
                each.path.unlink(missing_ok=True)

    def part(self, tile: int, name: str, models: int) -> np.ndarray | None:
        """Return a finished part of the result, (models, models) float64; None if it is not."""
        found = find_record(self._part(tile, name), self._work)
        if found is None:
            return None
        try:
            data = bytes.fromhex(str(found.get(_VALUES)))
            return np.frombuffer(data, _FLOAT64).reshape(models, models).astype(np.float64)
        except ValueError:
            return None

    def keep_part(self, tile: int, name: str, matrix: np.ndarray) -> None:
        """Write a finished part of the result, (models, models) float64."""
        # In hexadecimal: JSON has no NaN.
        values = matrix.astype(_FLOAT64).tobytes().hex()
        write_record(self._part(tile, name), {"work": self._work, _VALUES: values})

    def _part(self, tile: int, name: str) -> Path:
        return self.folder / f"tile{tile:05}.{name}.json"

    def _digests(self, model: int) -> dict[str, str] | None:
        """Return the digests of a model's files by the names of its arrays, if they are known."""
        found = find_record(self._record_path(model), self._work)
        files, arrays = (found or {}).get("files"), self.arrays(model)
        names = {each.path.name for each in arrays.values()}
        if not isinstance(files, dict) or files.keys() != names:
            return None
        return {name: files[each.path.name] for name, each in arrays.items()}

    def _record_path(self, model: int) -> Path:
        return self.folder / f"model{model:05}.json"


_BESIDE = ("plan", "made", "environment")
"""Entries of the state beside the identity."""

_VALUES, _FLOAT64 = "float64", "<f8"


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)
