"""Images that stay in their files and are decoded when they are needed."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

_PART = 32  # images that are decoded at a time to hash or count them all


class ImageReader:
    """Decodes files on demand; the images used last stay in memory, within a bound.

    An image that no longer has the pixels with which it was first read is refused, so that the
    digest of the data, which is computed once, stays true.
    """

    def __init__(
        self, files: Sequence[Path], read: Callable[[Path], torch.Tensor], most_bytes: int
    ) -> None:
        """files: at least one. read: returns the pixels of a file, (channels, height, width) uint8.
        most_bytes: of the images in memory.

        Raises ValueError as `read`.
        """
        self.files, self._read = files, read
        first = read(files[0])
        self.shape = tuple(first.shape)
        self._kept: OrderedDict[int, torch.Tensor] = OrderedDict()
        self._most = most_bytes // first.numel()
        self._digests: dict[int, bytes] = {}

    def __getitem__(self, number: int) -> torch.Tensor:
        """Return the pixels of a file by its number.

        Raises ValueError if the file cannot be decoded, its image has another shape than the first
        one, or it has changed.
        """
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        pixels = self._decode(number)
        self._kept[number] = pixels
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return pixels

    def _decode(self, number: int) -> torch.Tensor:
        file = self.files[number]
        pixels = self._read(file).contiguous()
        check_shape(file, pixels, self.files[0], self.shape)
        digest = hashlib.blake2b(pixels.numpy().data, digest_size=8).digest()
        if self._digests.setdefault(number, digest) != digest:
            raise ValueError(
                f"{file} has changed since it was first read; restore it, or start again"
            )
        return pixels

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": OrderedDict()}


class LazyImages:
    """Some images of a reader, which behave like a tensor (n, channels, height, width) uint8 where
    data sets are read: indices, slices and parts give tensors.

    Attributes:
        shape: (n, channels, height, width).
        dtype: torch.uint8.
        device: That of the tensors that it gives.
    """

    dtype = torch.uint8

    def __init__(self, reader: ImageReader, numbers: range, device: torch.device | str = "cpu"):
        self._reader, self._numbers, self.device = reader, numbers, torch.device(device)
        self.shape = torch.Size((len(numbers), *reader.shape))

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, chosen: slice | torch.Tensor) -> torch.Tensor:
        """Return the images of a slice, or those with these indices, (k,) int64."""
        if isinstance(chosen, slice):
            return self._read(self._numbers[chosen])
        return self._read(self._numbers[i] for i in chosen.tolist())

    def index_select(self, dim: int, chosen: torch.Tensor) -> torch.Tensor:
        """Return the images with these indices, (k,) int64. dim: 0."""
        assert dim == 0, "images are selected along the first dimension"
        return self[chosen]

    def split(self, size: int) -> Iterator[torch.Tensor]:
        """Yield all images in parts of `size`; the last may be smaller."""
        for begin in range(0, len(self), size):
            yield self[begin : begin + size]

    def parts(self) -> Iterator[torch.Tensor]:
        """Yield all images in parts of a convenient size."""
        return self.split(_PART)

    def to(self, device: torch.device | str) -> "LazyImages":
        """Return the images on another device; what is decoded is shared."""
        return LazyImages(self._reader, self._numbers, device)

    def _read(self, numbers: Any) -> torch.Tensor:
        numbers = list(numbers)
        images = torch.empty(len(numbers), *self.shape[1:], dtype=self.dtype)
        for place, number in enumerate(numbers):
            images[place] = self._reader[number]
        return images.to(self.device)


def check_shape(file: Path, pixels: torch.Tensor, first: Path, shape: Sequence[int]) -> None:
    """Raise ValueError if the pixels of a file have another shape than those of the first one."""
    if tuple(pixels.shape) != tuple(shape):
        raise ValueError(
            f"{file} is {pixels.shape[2]} x {pixels.shape[1]} pixels and {first} {shape[2]} x "
            f"{shape[1]}; scale them to one size, for example to 32 x 32 with imagefolder:PATH@32"
        )
