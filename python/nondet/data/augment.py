"""Crops and horizontal flips, drawn for each (seed, epoch, example).

The augmentation of an example depends on nothing else: not on its order, its batch or its worker.
"""

import functools
from dataclasses import dataclass

import torch

from nondet.data.dataset import Dataset
from nondet.data.resized_crop import apply_crops, draw_crops
from nondet.keys import Key
from nondet_ext import philox_bits, philox_randint


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of each image of a batch.

    Attributes:
        offsets: (b, 2) int64, pixels down and right; negative for up and left.
        flips: (b,) bool, True for images that are mirrored left to right after the move.
    """

    offsets: torch.Tensor
    flips: torch.Tensor


def draw_augmentation(
    examples: torch.Tensor, key: Key, epoch: int, padding: int, flip: bool
) -> Augmentation:
    """Draw the augmentation of examples in an epoch.

    Offsets are uniform over -padding..padding in both directions, as in a random crop from an image
    with `padding` more pixels on every side. With `flip`, each example is mirrored with probability
    1/2.

    examples: (b,) int64, numbers of examples. The draw of an example depends on its number, not on
    its place in the tensor.
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
    """Move every image by its own offset, then mirror those to be flipped.

    Pixels are moved, not interpolated; uncovered pixels become 0.

    images: (b, channels, height, width) uint8. Returns a new tensor of the same shape and dtype.
    """
    n, channels, height, width = images.shape
    size = channels * height * width
    # A move by whole pixels shifts the flattened image, except for pixels that cross a border. So
    # every image is one contiguous window of the batch, which copies far faster than a gather. A
    # flip after the move equals a flip before it with the move to the right reversed; then only
    # the start of the window differs.
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
    dataset: Dataset,
    examples: torch.Tensor,
    key: Key,
    epoch: int,
    padding: int,
    flip: bool,
    resized_crop: bool = False,
) -> torch.Tensor:
    """Return augmented and normalised training images of an epoch.

    examples: (b,) int64, numbers of training examples, on the device of the data set. resized_crop:
    begin with a random crop that is scaled to the size of the image (`resized_crop.draw_crops`).
    Without resized_crop, padding and flip nothing is drawn. Returns (b, channels, height, width)
    float32.
    """
    images = dataset.train_images.index_select(0, examples)
    if resized_crop:
        height, width = images.shape[2:]
        images = apply_crops(images, draw_crops(examples, key, epoch, height, width))
    if padding or flip:
        total = len(dataset.train_images)
        all_draws = _draw_epoch(total, key, epoch, padding, flip, examples.device)
        draws = Augmentation(all_draws.offsets[examples], all_draws.flips[examples])
        images = apply_augmentation(images, draws)
    return dataset.normalized(images)


# A draw depends on its example alone, so one call per epoch replaces one call per batch.
@functools.lru_cache(maxsize=2)
def _draw_epoch(
    total: int, key: Key, epoch: int, padding: int, flip: bool, device: torch.device
) -> Augmentation:
    return draw_augmentation(torch.arange(total, device=device), key, epoch, padding, flip)
