"""Kept values of a stream, which stay in its file until they are used."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, overload

from nondet.tracing.format.blocks import digest
from nondet.tracing.format.errors import TraceError
from nondet.tracing.format.opening import open_file
from nondet.tracing.records import Kept


class Piece(NamedTuple):
    """Where in the file a part of the bytes stands, and their checksum."""

    offset: int
    size: int
    checksum: bytes


class KeptValues(Sequence[Kept]):
    """The kept values of a stream, in the order in which they were written.

    An element is read from the file whenever it is used. Raises TraceError if the file has changed
    since the trace was read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: list[tuple[Kept, Sequence[Piece]]] = []
        self._places: dict[tuple[int, int, int], int] = {}

    def places(self) -> list[tuple[int, int, int]]:
        """Return step, index and slot of each element, without reading values."""
        return [(kept.step, kept.index, kept.slot) for kept, _ in self._kept]

    def find(self, step: int, index: int, slot: int) -> Kept | None:
        """Return the values of a tensor, the last that were kept; None if none were."""
        position = self._places.get((step, index, slot))
        return None if position is None else self._read(position)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, position: int) -> Kept: ...
    @overload
    def __getitem__(self, position: slice) -> list[Kept]: ...
    def __getitem__(self, position: int | slice) -> Kept | list[Kept]:
        if isinstance(position, slice):
            return [self._read(each) for each in range(len(self))[position]]
        return self._read(range(len(self))[position])

    def __iter__(self) -> Iterator[Kept]:
        return (self._read(position) for position in range(len(self)))

    def add(self, kept: Kept, pieces: Sequence[Piece]) -> None:
        """Add values, given without their bytes, which stand in pieces of the file."""
        self._places[kept.step, kept.index, kept.slot] = len(self._kept)
        self._kept.append((kept, pieces))

    def _read(self, position: int) -> Kept:
        kept, pieces = self._kept[position]
        parts = []
        with open_file(self._path) as file:
            for piece in pieces:
                try:
                    file.seek(piece.offset)
                    part = file.read(piece.size)
                except OSError as error:
                    raise TraceError(self._path, f"cannot be read: {error.strerror}") from None
                if digest(part) != piece.checksum:
                    raise TraceError(self._path, "has changed since the trace was read")
                parts.append(part)
        return kept._replace(data=b"".join(parts))
