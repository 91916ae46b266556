"""The scratch folder of spearman_files: its files, their owner, their removal.

    spearman_files.json    whose work this is
    ranks00003.bin         the ranks of a vector
    ranks00003.json        their SHA-256, written last
    products00001.json     the products of a stripe of columns so far
    keys00003.tmp          unfinished

The JSON files carry checksums and name the checksum of the first (records.py): files that are
damaged, exchanged or of other work are computed again.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from nondet_ext._integer_products import IntegerProducts
from nondet_ext._spearman_files import records

_STATE = "spearman_files.json"
_VERSION = 2
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
        self._n = n
        self._rank_file_bytes = n * rank.itemsize
        self._made: list[Path] = []
        self._work = ""  # the checksum of the state, once it is written or found
        self._ranked: set[int] = set()
        self.folder = folder if folder is not None else Path(tempfile.gettempdir())

    def ranks(self, i: int) -> Path:
        return self.folder / f"ranks{i:05}.bin"

    def work(self, i: int) -> Path:
        return self.folder / f"keys{i:05}.tmp"

    def unranked(self) -> list[int]:
        """Return the indices of the vectors without a finished rank file."""
        return [i for i in range(len(self._state["inputs"])) if i not in self._ranked]

    def finish_ranks(self, i: int, unfinished: Path, digest: str) -> None:
        """Keep a rank file; digest: its SHA-256."""
        path = self.ranks(i)
        unfinished.replace(path)
        if self._keep:
            record = {"work": self._work, "vector": i, "files": {path.name: digest}}
            records.write(path.with_suffix(".json"), record)
        self._ranked.add(i)

    def check(self, partition_bytes: int) -> None:
        """Check the folder before anything is written, and which finished files can be used.

        Args:
            partition_bytes: the most bytes that the scratch files of the vectors ranked at once
                take.

        Raises:
            ValueError: the folder holds unfinished work of other inputs.
            OSError: the disk is too small.
        """
        found = records.read(self.folder / _STATE) if self._given is not None else None
        if found is not None:
            stored, checksum = found
            made = stored.pop("made", None)
            if self._keep and stored != self._state:
                raise ValueError(
                    f"scratch ({self.folder}) holds the unfinished work of another call, or an "
                    f"input has changed since: {_difference(stored, self._state)}. Give another "
                    "folder, or resume=False to start anew"
                )
            parents = [self.folder, *self.folder.parents]
            if type(made) is int and 0 <= made <= len(parents):
                self._made = parents[:made]
                if self._keep:
                    self._work = checksum
                    self._ranked = {i for i in self.unranked() if self._is_ranked(i)}
        self._needs_room(len(self.unranked()), partition_bytes)

    def _is_ranked(self, i: int) -> bool:
        """Return True if the rank file of a vector is complete and unchanged."""
        path = self.ranks(i)
        try:
            if path.stat().st_size != self._rank_file_bytes:
                return False
            found = records.read(path.with_suffix(".json"))
            return found is not None and found[0] == {
                "work": self._work,
                "vector": i,
                "files": {path.name: _digest(path)},
            }
        except OSError:
            return False

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
        stripes: dict[int, tuple[IntegerProducts, int]] = {}
        for path in sorted(self.folder.glob("products?????.json")) if self._keep else ():
            found = records.read(path)
            if found is None or found[0].pop("work", None) != self._work:
                continue
            saved = found[0]
            k, count = saved.pop("stripe", None), saved.pop("stripes", None)
            if type(k) is not int or type(count) is not int or path != self._products(k):
                continue
            if any(other != count for _, other in stripes.values()) or not 0 <= k < count:
                continue
            most = self._n * (k + 1) // count - self._n * k // count
            try:
                stripes[k] = (self._restore(saved, most), count)
            except ValueError:
                continue
        return stripes

    def save_products(self, products: IntegerProducts, place: tuple[int, int]) -> None:
        """Save a stripe; `place` is its index and the number of stripes."""
        if not self._keep:
            return
        state = {
            name: each.tobytes().hex() if isinstance(each, np.ndarray) else each
            for name, each in products.state().items()
        }
        record = {"work": self._work, "stripe": place[0], "stripes": place[1], **state}
        records.write(self._products(place[0]), record)

    def _products(self, k: int) -> Path:
        return self.folder / f"products{k:05}.json"

    def _restore(self, saved: dict[str, Any], most: int) -> IntegerProducts:
        """Return saved products of at most this many columns. Raises ValueError for another
        form.
        """
        fresh = IntegerProducts(len(self._state["inputs"]), None, self._n - 1)
        state = fresh.state()
        columns = saved.get("columns")
        if saved.keys() != state.keys() or type(columns) is not int or not 0 <= columns <= most:
            raise ValueError("no products of these vectors")
        for name, each in state.items():
            if isinstance(each, np.ndarray):
                values = np.frombuffer(bytes.fromhex(str(saved[name])), each.dtype)
                state[name] = values.reshape(each.shape)
        return IntegerProducts.restore(state | {"columns": columns})

    def __enter__(self) -> "Scratch":
        if self._given is None:
            self.folder = Path(tempfile.mkdtemp(prefix="spearman_files-"))
            self._made = [self.folder]
            return self
        if not self._work:  # nothing to resume
            if not self._made:
                missing = [self.folder, *self.folder.parents]
                self._made = [each for each in missing if not each.exists()]
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_files()
            # Missing folders are the nearest ones, so that their number says which they are.
            state = self._state | {"made": len(self._made)}
            self._work = records.write(self.folder / _STATE, state)
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
        for pattern in ("ranks?????.*", "keys?????.tmp", "products?????.*", f"{_STATE}*"):
            for path in self.folder.glob(pattern):
                path.unlink()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(stored: dict[str, Any], expected: dict[str, Any]) -> str:
    before, now = stored.get("inputs"), expected["inputs"]
    if not isinstance(before, list) or not all(isinstance(each, dict) for each in before):
        return "another version wrote it"
    if len(before) != len(now):
        return f"it had {len(before)} vectors, this one has {len(now)}"
    for i, (old, new) in enumerate(zip(before, now, strict=True)):
        for name in old.keys() | new.keys():
            if old.get(name) != new.get(name):
                return f"files[{i}] had {name} {old.get(name)!r}, now {new.get(name)!r}"
    return "another version wrote it"
