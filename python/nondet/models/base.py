"""The base class of the image models, and parts that several of them share."""

import math
from collections.abc import Sequence

import torch
from torch import nn


class ImageModel(nn.Module):
    """A model from images, (n, channels, height, width) float32, to logits, (n, classes).

    Attributes:
        taps: names of representations (paper, Fig. 1) mapped to the paths of the submodules that
            put them out, from the first layer to the last; see `representations`.
        min_side: the smallest height and width in pixels that the architecture can compute with.
        upscale: the integer factor by which smaller images are enlarged before the first layer,
            1 if they need not be.
        uniform_convolutions: True if convolutions start with PyTorch's default; see `initialize`.
        full_rate: shell patterns of the names of the batch-norm scales that the paper's code trains
            at the full learning rate, because their names there hold neither "bias" nor "bn".
    """

    taps: dict[str, str]
    full_rate: tuple[str, ...] = ()
    uniform_convolutions = False

    def __init__(self, image_shape: tuple[int, int, int], min_side: int = 1) -> None:
        super().__init__()
        self.taps = {}
        self.min_side = min_side
        self.upscale = math.ceil(min_side / min(image_shape[1:]))

    def upsample(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images with height and width multiplied by `upscale` (nearest neighbour)."""
        factor = self.upscale
        if factor == 1:
            return images
        n, channels, height, width = images.shape
        pixels = images[:, :, :, None, :, None].expand(-1, -1, -1, factor, -1, factor)
        return pixels.reshape(n, channels, height * factor, width * factor)


class GlobalAveragePool(nn.Module):
    """The mean over all pixels: (n, channels, height, width) to (n, channels)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def stage_taps(path: str, blocks: Sequence[int]) -> dict[str, str]:
    """Return taps on the outputs of the blocks of a network, as in the paper: "block2" is the
    output of the second stage, "block2.1" that of its first block if this is not its last.

    path: of the `nn.Sequential` that holds all blocks; blocks: their number in each stage.
    """
    taps = {}
    position = 0
    for stage, count in enumerate(blocks, start=1):
        for number in range(1, count + 1):
            name = f"block{stage}" + (f".{number}" if number < count else "")
            taps[name] = f"{path}.{position}"
            position += 1
    return taps
