"""Augmentation: crops with padding and horizontal flips, drawn per (seed, epoch, example).

What an example looks like in an epoch is settled before the epoch is shuffled: no order, batch or
worker can change it.
"""

import functools
from dataclasses import dataclass

import torch

from nondet.data.dataset import Dataset
from nondet.keys import Key
from nondet_ext import philox_bits, philox_randint


@dataclass(frozen=True)
class Augmentation:
    """What happens to each image of a batch.

    offsets: (b, 2) int64, pixels down and right, negative for up and left
    flips: (b,) bool, mirrored left to right after the move
    """

    offsets: torch.Tensor
    flips: torch.Tensor


def draw_augmentation(
    examples: torch.Tensor, key: Key, epoch: int, padding: int, flip: bool
) -> Augmentation:
    """The augmentation of each example in an epoch.

    Offsets are uniform over -padding..padding in both directions, as of a random crop from an image
    with `padding` more pixels on every side; with `flip` one example in two is mirrored.
    examples: (b,) int64 example numbers; the draw of an example depends on its number, not on its
    place in the list.
    """
    if padding:
        offsets = philox_randint(
            -padding,
            padding + 1,
            (2,),
            seed=key.seed,
            stream=key.stream,
            counter=(epoch, examples),
        )
    else:
        offsets = examples.new_zeros(len(examples), 2)
    if flip:
        bits = philox_bits((), seed=key.seed, stream=key.stream, counter=(epoch, examples, 1))
        flips = (bits.view(torch.int32) & 1).bool()
    else:
        flips = torch.zeros_like(examples, dtype=torch.bool)
    return Augmentation(offsets, flips)


def apply_augmentation(images: torch.Tensor, augmentation: Augmentation) -> torch.Tensor:
    """Moves every image by its own offset, uncovered pixels becoming 0, then mirrors those to be
    flipped. Nothing is interpolated: pixels move.

    images: (b, channels, height, width) uint8. Returns a new tensor of the same shape and dtype.
    """
    n, channels, height, width = images.shape
    size = channels * height * width
    # A move by whole pixels is a shift of the flattened image, but for what crosses its borders. So
    # every image is one contiguous window of the batch, which copies far faster than a gather.
    # Mirroring first, the same as mirroring last with the move to the right reversed, makes it a
    # matter of where the window begins.
    down = augmentation.offsets[:, 0].clamp(-height, height)
    right = augmentation.offsets[:, 1].clamp(-width, width)
    right = torch.where(augmentation.flips, -right, right)
    border = images.new_zeros((height + 1) * width)
    pixels = torch.cat([border, images.flatten(), images.flip(3).flatten(), border])
    windows = pixels.as_strided((len(pixels) - size + 1, size), (1, 1))
    image = torch.arange(n, device=images.device) + n * augmentation.flips
    moved = windows.index_select(0, len(border) + image * size - down * width - right)

    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - right[:, None]
    inside_rows = ((rows >= 0) & (rows < height)).to(torch.uint8)
    inside_columns = ((columns >= 0) & (columns < width)).to(torch.uint8)
    inside = inside_rows[:, None, :, None] * inside_columns[:, None, None, :]
    return moved.view_as(images).mul_(inside)


def batch(
    dataset: Dataset, examples: torch.Tensor, key: Key, epoch: int, padding: int, flip: bool
) -> torch.Tensor:
    """Training images as a model sees them in an epoch: augmented and normalised.

    examples: (b,) int64 numbers of training examples, on the device of the data set. Without
    padding and flip nothing is drawn. Returns (b, channels, height, width) float32.
    """
    images = dataset.train_images.index_select(0, examples)
    if padding or flip:
        total = len(dataset.train_images)
        epochs_draws = _draw_epoch(total, key, epoch, padding, flip, examples.device)
        chosen = Augmentation(epochs_draws.offsets[examples], epochs_draws.flips[examples])
        images = apply_augmentation(images, chosen)
    return dataset.normalized(images)


# Draws depend on the example alone, so one call for an epoch replaces one per batch.
@functools.lru_cache(maxsize=2)
def _draw_epoch(
    total: int, key: Key, epoch: int, padding: int, flip: bool, device: torch.device
) -> Augmentation:
    return draw_augmentation(torch.arange(total, device=device), key, epoch, padding, flip)
