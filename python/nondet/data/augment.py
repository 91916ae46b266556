"""Augmentation: small random shifts, drawn per (seed, epoch, example).

What an example looks like in an epoch is settled before the epoch is shuffled: no order, batch or
worker can change it.
"""

import torch

from nondet.seeds import Key
from nondet_ext import philox_randint


def random_shifts(examples: torch.Tensor, key: Key, epoch: int, max_shift: int) -> torch.Tensor:
    """The shift of each example in an epoch: uniform over -max_shift..max_shift in both directions.

    examples: (n,) int64 example numbers; the draw of an example depends on its number, not on its
    place in the list.
    Returns (n, 2) int64: pixels down, pixels right.
    """
    return philox_randint(
        -max_shift,
        max_shift + 1,
        (2,),
        seed=key.seed,
        stream=key.stream,
        counter=(epoch, examples),
        device=examples.device,
    )


def shift(images: torch.Tensor, offsets: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Moves every image by its own offset; uncovered pixels show the background.

    images: (n, channels, height, width); offsets: (n, 2) int64, pixels down and right, negative for
    up and left;
    background: (channels,). Returns a new tensor of the shape of `images`. Nothing is interpolated:
    pixels move.
    """
    n, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device) - offsets[:, 0, None]
    columns = torch.arange(width, device=images.device) - offsets[:, 1, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None, :
    ]
    source = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    moved = images.flatten(2).gather(2, source.view(n, 1, -1).expand(n, channels, -1))
    return torch.where(inside[:, None], moved.view_as(images), background.view(1, channels, 1, 1))
