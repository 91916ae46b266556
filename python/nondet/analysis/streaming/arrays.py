"""Matrices of float32 in .npy files, written and read row by row."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from nondet.files import unfinished


@dataclass(frozen=True)
class StagedArray:
    """A matrix in a file, written or to be written."""

    path: Path
    shape: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Return the size of the values in bytes."""
        return 4 * self.shape[0] * self.shape[1]

    def header(self) -> bytes:
        """Return the bytes of the file before the values."""
        header = io.BytesIO()
        described = {"descr": "<f4", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(header, described)
        return header.getvalue()

    def read(self, begin: int, rows: np.ndarray) -> None:
        """Read rows from `begin` on into a contiguous array."""
        with io.FileIO(self.path, "rb") as file:
            file.seek(len(self.header()) + 4 * begin * self.shape[1])
            view = memoryview(rows.data).cast("B")
            while view:
                count = file.readinto(view)
                if not count:
                    raise OSError(f"{self.path} ends {len(view)} bytes early")
                view = view[count:]

    def is_whole(self) -> bool:
        """Return True if the file exists and has its full size."""
        size = len(self.header()) + self.nbytes
        return self.path.exists() and self.path.stat().st_size == size


class Writer:
    """Writes the rows of a matrix in order. After `finish` the whole file exists; before, none
    does.
    """

    def __init__(self, target: StagedArray) -> None:
        self._target = target
        self._begun = unfinished(target.path)
        self._digest = hashlib.sha256()
        self._file = io.FileIO(self._begun, "wb")
        self._write(target.header())

    def add(self, rows: np.ndarray) -> None:
        """Append contiguous rows."""
        self._write(rows.data)

    def finish(self) -> str:
        """Publish the file and return its SHA-256, which reveals a file cut by a system crash."""
        self._file.close()
        self._begun.replace(self._target.path)
        return self._digest.hexdigest()

    def _write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        view = memoryview(data).cast("B")
        while view:
            view = view[self._file.write(view) :]

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._begun.unlink(missing_ok=True)
