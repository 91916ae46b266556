"""A scratch folder with the outputs of some models and the results so far. It outlives the process,
so that a computation can resume.

    state.json                   whose work this is, and its plan
    model00003.logits.npy        (N, V) float32
    model00003.tap00.npy         (N, width) float32, of one layer
    model00003.json              the SHA-256 of these, written last
    tile00000.correlation.npy    a finished part of the result
    spearman/                    the state of nondet_ext.spearman_files
"""

import fcntl
import io
import json
import shutil
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from nondet.analysis.streaming.arrays import StagedArray, Writer
from nondet.files import remove_leftovers, write_atomically

LOGITS = ""
"""Their name among a model's arrays; the others have those of layers."""

_VERSION = 1


class Staging:
    """The folder, for one process at a time. As a context manager it keeps finished work if an
    exception leaves, and removes everything otherwise.

    identity: what distinguishes this computation from another, as JSON types. shape: (N, V).
    widths: of the representations, by layer.

    Raises OSError on entry if the folder is in use or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        shape: tuple[int, int],
        widths: dict[str, int],
    ) -> None:
        self.folder = folder
        self.spearman = folder / "spearman"
        self._state = folder / "state.json"
        self._identity = {"version": _VERSION, **identity, "shape": list(shape)}
        self._identity["layers"] = [list(each) for each in widths.items()]
        self._shape = shape
        self._widths = widths
        self._trusted: set[int] = set()
        self._made: list[Path] = []
        self._stack = ExitStack()

    def __enter__(self) -> "Staging":
        missing = [self.folder.parent, *self.folder.parent.parents]
        self._made = [each for each in missing if not each.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context((self.folder / "lock").open("a"))
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

    def unfinished_plan(self) -> dict[str, Any] | None:
        """Return the plan of unfinished work, or None. Raises ValueError if it belongs to another
        computation.
        """
        try:
            found = json.loads(self._state.read_text())
        except FileNotFoundError:
            return None
        plan: dict[str, Any] = found.pop("plan")
        self._made = [Path(each) for each in found.pop("made")]
        if found != self._identity:
            names = found.keys() | self._identity.keys()
            differ = [each for each in names if found.get(each) != self._identity.get(each)]
            raise ValueError(
                f"scratch ({self.folder.parent}) holds the unfinished work of another call, which "
                f"had other {', '.join(sorted(differ))}. Give another folder, or remove it"
            )
        return plan

    def begin(self, plan: dict[str, Any]) -> None:
        """Claim the folder for this computation and its plan, as JSON types."""
        state = {**self._identity, "plan": plan, "made": [str(each) for each in self._made]}
        write_atomically(self._state, json.dumps(state, indent=1))

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
        record, arrays = self._record(model), self.arrays(model)
        if record is None or not all(each.is_whole() for each in arrays.values()):
            return False
        if any(each.digest() != record[name] for name, each in arrays.items()):
            return False
        self._trusted.add(model)
        return True

    def stage(self, model: int, rows: Iterable[tuple[str, np.ndarray]]) -> None:
        """Write the files of a model: contiguous rows of its arrays, by name, in order.

        Raises ValueError if the model had other bits before.
        """
        # Its state is of the files that were there.
        shutil.rmtree(self.spearman, ignore_errors=True)
        arrays, before = self.arrays(model), self._record(model)
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
        write_atomically(self._record_path(model), json.dumps(found))
        self._trusted.add(model)

    def remove_others(self, models: Collection[int], count: int) -> None:
        """Remove the files of all models except these. Their digests stay."""
        for model in set(range(count)).difference(models):
            self._trusted.discard(model)
            for each in self.arrays(model).values():
                each.path.unlink(missing_ok=True)

    def has_part(self, tile: int, name: str) -> bool:
        """Return True if the part is finished."""
        return self._part(tile, name).exists()

    def part(self, tile: int, name: str) -> np.ndarray:
        """Return a finished part of the result."""
        found: np.ndarray = np.load(self._part(tile, name), allow_pickle=False)
        return found

    def keep_part(self, tile: int, name: str, matrix: np.ndarray) -> None:
        """Write a finished part of the result."""
        data = io.BytesIO()
        np.save(data, matrix)
        write_atomically(self._part(tile, name), data.getvalue())

    def _part(self, tile: int, name: str) -> Path:
        return self.folder / f"tile{tile:05}.{name}.npy"

    def _record(self, model: int) -> dict[str, str] | None:
        try:
            found: dict[str, str] = json.loads(self._record_path(model).read_text())
        except FileNotFoundError:
            return None
        return found

    def _record_path(self, model: int) -> Path:
        return self.folder / f"model{model:05}.json"
