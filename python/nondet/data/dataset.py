"""The type of all image data sets."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from nondet.data.digest import Content, Digested, sha256_of
from nondet.data.lazy_images import LazyImages
from nondet.defaults import plain_defaults

Images = torch.Tensor | LazyImages
"""Images in memory, or in files."""


@dataclass(frozen=True)
class Dataset(Digested):
    """Images and labels, on one device.

    Attributes:
        name: The name of the data set.
        classes: The number of classes.
        train_images: (examples, channels, height, width) uint8, pixel values as stored; in files
            if they are too many for the memory.
        train_labels: (examples,) int64.
        test_images: As train_images.
        test_labels: As train_labels.
        mean: (channels,) float32, subtracted to normalise images, in units of the stored values.
        std: (channels,) float32, the divisor that normalises images, in the same units.
    """

    name: str
    classes: int
    train_images: Images
    train_labels: torch.Tensor
    test_images: Images
    test_labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The (channels, height, width) of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def to(self, device: str | torch.device) -> "Dataset":
        """Return the data set on another device."""
        tensors: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, torch.Tensor | LazyImages)
        }
        return replace(self, **tensors)._with_digest(self.sha256)

    def _contents(self) -> Mapping[str, Content]:
        return {name: getattr(self, name) for name in _READ}

    def normalized(self, images: torch.Tensor) -> torch.Tensor:
        """Return (images - mean) / std, each step rounded to float32.

        images: (n, channels, height, width) uint8. Returns float32 of that shape.
        """
        mean, std = self.mean.view(-1, 1, 1), self.std.view(-1, 1, 1)
        return images.to(torch.float32).sub_(mean).div_(std)


_READ = tuple(field.name for field in fields(Dataset) if field.name != "name")


@plain_defaults()
def make_dataset(
    name: str,
    classes: int,
    train_images: torch.Tensor,
    train_labels: torch.Tensor,
    test_images: torch.Tensor,
    test_labels: torch.Tensor,
) -> Dataset:
    """Make a data set with the mean and standard deviation of its training pixels, per channel.

    Both are computed from exact sums.

    Raises ValueError for wrong shapes, labels out of range and a constant channel, TypeError for a
    wrong dtype (see `Dataset`).
    """
    for part, images, labels in (
        ("train", train_images, train_labels),
        ("test", test_images, test_labels),
    ):
        _check(name, part, images, labels, classes)
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"{name}: train_images are of shape {tuple(train_images.shape[1:])}, test_images of "
            f"{tuple(test_images.shape[1:])}; they must agree"
        )
    means, stds = _statistics(name, _counts(train_images))
    return Dataset(name, classes, train_images, train_labels, test_images, test_labels, means, stds)


def make_lazy_dataset(
    name: str,
    classes: int,
    train_images: LazyImages,
    train_labels: torch.Tensor,
    test_images: LazyImages,
    test_labels: torch.Tensor,
) -> Dataset:
    """Make the data set that `make_dataset` would make of these images, and its digest, in one pass
    over all images.

    Raises ValueError if an image cannot be read, or a channel is constant.
    """
    counted = _Counted(train_images)
    channels = train_images.shape[1]
    # The images are counted while they are hashed, and so before the digest comes to mean and std.
    mean, std = (_Statistic(name, counted, channels, which) for which in (0, 1))
    values = (classes, counted, train_labels, test_images, test_labels, mean, std)
    sha256 = sha256_of(Dataset.__name__, dict(zip(_READ, values, strict=True)))
    means, stds = _statistics(name, counted.counts)
    dataset = Dataset(
        name, classes, train_images, train_labels, test_images, test_labels, means, stds
    )
    return dataset._with_digest(sha256)


class _Counted:
    """Images as `Streamed`, whose pixels are counted as they pass: (channels, 256) int64."""

    def __init__(self, images: LazyImages) -> None:
        self._images, self.shape, self.dtype = images, images.shape, images.dtype
        self.counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)

    def parts(self) -> Iterator[torch.Tensor]:
        for part in self._images.parts():
            self.counts += _counts(part)
            yield part


class _Statistic:
    """The mean (`which` 0) or the standard deviation (1) of images that are counted by the time
    that it is asked for, as `Streamed`.
    """

    dtype = torch.float32

    def __init__(self, name: str, counted: _Counted, channels: int, which: int) -> None:
        self._name, self._counted, self._which = name, counted, which
        self.shape = torch.Size((channels,))

    def parts(self) -> Iterator[torch.Tensor]:
        yield _statistics(self._name, self._counted.counts)[self._which]


def _counts(images: torch.Tensor) -> torch.Tensor:
    """Return how often each value occurs in each channel, (channels, 256) int64."""
    pixels = images.unbind(1)
    return torch.stack([torch.bincount(each.flatten(), minlength=256) for each in pixels])


def _statistics(name: str, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation, (channels,) float32, of the training images with these
    counts. Raises ValueError for a constant channel.
    """
    statistics = [_mean_and_std(channel) for channel in counts.tolist()]
    for channel, (mean, std) in enumerate(statistics):
        if std == 0:
            raise ValueError(
                f"every pixel of channel {channel} of {name}'s training images is {mean:g}; "
                "there is nothing to learn from it and no deviation to divide by"
            )
    means, stds = torch.tensor(statistics, dtype=torch.float32).unbind(1)
    return means, stds


def _mean_and_std(counts: list[int]) -> tuple[float, float]:
    """Return the mean and standard deviation of values 0 to 255 with these counts, exactly."""
    n = sum(counts)
    total = sum(value * count for value, count in enumerate(counts))
    squares = sum(value * value * count for value, count in enumerate(counts))
    return total / n, math.sqrt((n * squares - total * total) / (n * n))


def _check(name: str, part: str, images: torch.Tensor, labels: torch.Tensor, classes: int) -> None:
    for kind, tensor, dtype in (("images", images, torch.uint8), ("labels", labels, torch.int64)):
        if tensor.dtype != dtype:
            raise TypeError(f"{name}: {part}_{kind} are {tensor.dtype}; they must be {dtype}")
    if images.dim() != 4 or images.numel() == 0:
        raise ValueError(
            f"{name}: {part}_images are of shape {tuple(images.shape)}; it must be (examples, "
            "channels, height, width), none of them 0"
        )
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"{name}: {part}_labels are of shape {tuple(labels.shape)}; one per image would be "
            f"({len(images)},)"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{name}: {part}_labels lie in {labels.min()} to {labels.max()}; with {classes} "
            f"classes they must lie in 0 to {classes - 1}"
        )
