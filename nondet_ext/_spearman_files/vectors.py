"""Vectors that are read in pieces: .npy files, memory maps through their files, arrays."""

import hashlib
import io
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = ("float16", "float32", "float64")

_SAMPLES = 64
_SAMPLE_BYTES = 4096


@dataclass(frozen=True)
class Vector:
    """n values of `dtype`, in C order: in a file from `offset` on, or in `array`."""

    name: str
    n: int
    dtype: np.dtype[Any]
    path: Path | None = None
    offset: int = 0
    array: np.ndarray | None = None

    def pieces(self, buffer: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (position, values) of consecutive pieces of at most `buffer`'s size. A piece is
        valid until the next one.
        """
        if self.array is not None:
            for begin in range(0, self.n, len(buffer)):
                yield begin, self.array[begin : begin + len(buffer)]
            return
        with self._open() as file:
            for begin in range(0, self.n, len(buffer)):
                piece = buffer[: self.n - begin]
                read_exactly(file, piece, self.name)
                yield begin, piece

    def identity(self) -> dict[str, Any]:
        """Return what identifies this vector: its file, offset, size and time of change, and a hash
        of samples of its bytes.
        """
        facts: dict[str, Any] = {"n": self.n, "dtype": self.dtype.name, "samples": self._samples()}
        if self.path is not None:
            status = self.path.stat()
            facts |= {
                "path": str(self.path),
                "offset": self.offset,
                "size": status.st_size,
                "mtime_ns": status.st_mtime_ns,
            }
        return facts

    def _open(self) -> io.FileIO:
        assert self.path is not None
        file = io.FileIO(self.path, "rb")
        file.seek(self.offset)
        return file

    def _samples(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        size = self.n * self.dtype.itemsize
        last = max(size - _SAMPLE_BYTES, 0)
        begins = sorted({last * i // (_SAMPLES - 1) for i in range(_SAMPLES)})
        if self.array is not None:
            data = self.array.view(np.uint8)
            for begin in begins:
                digest.update(data[begin : begin + _SAMPLE_BYTES].tobytes())
        else:
            with self._open() as file:
                for begin in begins:
                    file.seek(self.offset + begin)
                    digest.update(file.read(min(_SAMPLE_BYTES, size - begin)))
        return digest.hexdigest()


def read_exactly(file: io.FileIO, into: np.ndarray, name: str) -> None:
    view = memoryview(into.data).cast("B")
    while view:
        count = file.readinto(view)
        if not count:
            raise OSError(f"{name} ended {len(view)} bytes early: was it cut while it was read?")
        view = view[count:]


def open_vector(where: str, source: object) -> Vector:
    """Return `source` as a vector; `where` is its name in messages.

    Raises:
        TypeError: `source` is neither a path nor an array, or its values have another dtype.
        ValueError: an array is not C-contiguous, or a file's values are not.
        OSError: a file does not exist, or ends early.
    """
    if isinstance(source, np.ndarray):
        vector = _from_array(where, source)
    elif isinstance(source, str | PathLike):
        vector = _from_npy(where, Path(fspath(source)))
    else:
        raise TypeError(
            f"{where} must be the path of a .npy file, a numpy.memmap or a numpy array, "
            f"got {type(source).__name__}"
        )
    if vector.dtype.name not in DTYPES or not vector.dtype.isnative:
        raise TypeError(
            f"{vector.name} must hold {', '.join(DTYPES)} in this machine's byte order, "
            f"got {vector.dtype.str}"
        )
    if vector.path is not None:
        missing = vector.offset + vector.n * vector.dtype.itemsize - vector.path.stat().st_size
        if missing > 0:
            raise OSError(f"{vector.name} ends {missing} bytes before its {vector.n} values do")
    return vector


def _from_npy(where: str, path: Path) -> Vector:
    name = f"{where} ({path})"
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read_header(file)
        except ValueError as error:
            raise ValueError(f"{name} is no .npy file: {error}") from error
        offset = file.tell()
    if fortran and sum(size > 1 for size in shape) > 1:
        raise ValueError(f"{name} must be in C order, but is in Fortran order: {shape}")
    n = int(np.prod(shape, dtype=object)) if shape else 1
    return Vector(name, n, dtype, path.resolve(), offset)


def _from_array(where: str, array: np.ndarray) -> Vector:
    if not array.flags.c_contiguous:
        raise ValueError(f"{where} must be C-contiguous, got strides {array.strides}")
    mapped = getattr(array, "_mmap", None)
    # A private mapping may differ from its file.
    if (
        not isinstance(array, np.memmap)
        or mapped is None
        or array.mode == "c"
        or array.filename is None
    ):
        return Vector(where, array.size, array.dtype, array=np.asarray(array).reshape(-1))
    if array.mode in ("r+", "w+"):
        mapped.flush()
    # array.offset belongs to the whole mapping; a slice of it begins later.
    base = np.frombuffer(mapped, np.uint8).__array_interface__["data"][0]
    offset = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    offset += array.__array_interface__["data"][0] - base
    path = Path(array.filename)
    return Vector(f"{where} ({path})", array.size, array.dtype, path.resolve(), offset)
