"""The scratch folder of spearman_files: its files, their owner, their removal."""

import json
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from nondet_ext._integer_products import IntegerProducts

_STATE = "spearman_files.json"
_VERSION = 1
_MARGIN = 64 << 20


class Scratch:
    """Rank files and partial products, in `folder` or a temporary folder.

    As a context manager it removes the files that it wrote and the folders that it made. If an
    exception ends the block and `resume` is set, finished files stay in `folder`.
    """

    def __init__(
        self,
        folder: Path | None,
        resume: bool,
        inputs: list[dict[str, Any]],
        n: int,
        rank: np.dtype[Any],
    ) -> None:
        self.rank = rank
        self._given = folder
        self._keep = folder is not None and resume
        self._state: dict[str, Any] = {"version": _VERSION, "inputs": inputs}
        self._rank_file_bytes = n * rank.itemsize
        self._made: list[Path] = []
        self.folder = folder if folder is not None else Path(tempfile.gettempdir())

    def ranks(self, i: int) -> Path:
        return self.folder / f"ranks{i:05}.bin"

    def work(self, i: int) -> Path:
        return self.folder / f"keys{i:05}.tmp"

    def unranked(self) -> list[int]:
        """Return the indices of the vectors without a finished rank file."""
        count = len(self._state["inputs"])
        return [i for i in range(count) if not _is_file_of(self.ranks(i), self._rank_file_bytes)]

    def finish_ranks(self, i: int, unfinished: Path) -> None:
        unfinished.replace(self.ranks(i))

    def check(self, partition_bytes: int) -> None:
        """Check the folder before anything is written.

        Args:
            partition_bytes: the most bytes that the scratch files of the vectors ranked at once
                take.

        Raises:
            ValueError: the folder holds unfinished work of other inputs.
            OSError: the disk is too small.
        """
        state = self.folder / _STATE
        if self._keep and state.exists():
            stored = json.loads(state.read_text())
            stored.pop("made", None)
            if stored != self._state:
                raise ValueError(
                    f"scratch ({self.folder}) holds the unfinished work of another call, or an "
                    f"input has changed since: {_difference(stored, self._state)}. Give another "
                    "folder, or resume=False to start anew"
                )
            self._needs_room(len(self.unranked()), partition_bytes)
        else:
            self._needs_room(len(self._state["inputs"]), partition_bytes)

    def _needs_room(self, missing: int, partition_bytes: int) -> None:
        need = missing * self._rank_file_bytes + (partition_bytes if missing else 0) + _MARGIN
        existing = self.folder
        while not existing.exists():
            existing = existing.parent
        free = shutil.disk_usage(existing).free
        if free < need:
            raise OSError(
                f"scratch ({self.folder}) needs {need / 1e9:.2f} GB, {missing} rank files of "
                f"{self._rank_file_bytes / 1e9:.2f} GB and room to sort, but the disk has "
                f"{free / 1e9:.2f} GB free"
            )

    def load_products(self) -> dict[int, tuple[IntegerProducts, int]]:
        """Return the saved stripes by their index, each with the number of stripes."""
        stripes = {}
        for path in self.folder.glob("products?????.npz"):
            with np.load(path, allow_pickle=False) as saved:
                state = {name: saved[name] for name in saved.files}
            scalars = json.loads(str(state.pop("scalars")))
            k, count = scalars.pop("place")
            stripes[k] = (IntegerProducts.restore(state | scalars), count)
        return stripes

    def save_products(self, products: IntegerProducts, place: tuple[int, int]) -> None:
        """Save a stripe; `place` is its index and the number of stripes."""
        if not self._keep:
            return
        state = products.state()
        scalars = {name: each for name, each in state.items() if not isinstance(each, np.ndarray)}
        arrays: dict[str, Any] = {
            name: each for name, each in state.items() if isinstance(each, np.ndarray)
        }
        path = self.folder / f"products{place[0]:05}.npz"
        unfinished = path.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            np.savez(file, scalars=np.array(json.dumps(scalars | {"place": place})), **arrays)
        unfinished.replace(path)

    def __enter__(self) -> "Scratch":
        if self._given is None:
            self.folder = Path(tempfile.mkdtemp(prefix="spearman_files-"))
            self._made = [self.folder]
            return self
        state = self.folder / _STATE
        if state.exists():
            self._made = [Path(each) for each in json.loads(state.read_text())["made"]]
        else:
            missing = [self.folder, *self.folder.parents]
            self._made = [each for each in missing if not each.exists()]
        if not (self._keep and state.exists()):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_files()
            unfinished = self.folder / f"{_STATE}.tmp"
            made = [str(each) for each in self._made]
            unfinished.write_text(json.dumps(self._state | {"made": made}, indent=1))
            unfinished.replace(state)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and self._keep:
            return
        self._remove_files()
        for folder in self._made:
            if not any(folder.iterdir()):
                folder.rmdir()

    def _remove_files(self) -> None:
        for pattern in ("ranks?????.bin", "keys?????.tmp", "products?????.*", f"{_STATE}*"):
            for path in self.folder.glob(pattern):
                path.unlink()


def _is_file_of(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _difference(stored: dict[str, Any], expected: dict[str, Any]) -> str:
    before, now = stored.get("inputs", []), expected["inputs"]
    if len(before) != len(now):
        return f"it had {len(before)} vectors, this one has {len(now)}"
    for i, (old, new) in enumerate(zip(before, now, strict=True)):
        for name in old.keys() | new.keys():
            if old.get(name) != new.get(name):
                return f"files[{i}] had {name} {old.get(name)}, now {new.get(name)}"
    return "another version wrote it"
