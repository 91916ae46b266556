"""What every model of images has in common."""

import math
from collections.abc import Sequence

import torch
from torch import nn


class ImageModel(nn.Module):
    """A model from images, (n, channels, height, width) float32, to logits, (n, classes).

    Attributes:
        taps: names of representations (paper, Fig. 1) and the paths of the submodules whose outputs
            they are, from the first layer to the last; see `representations`.
        least_side: below this height or width the architecture has nothing left to compute with
            after its last stride.
        upscale: by what whole factor smaller images are enlarged before the first layer; else 1.
        uniform_convolutions: the rule for the initial weights of convolutions, see `initialize`.
    """

    taps: dict[str, str]
    uniform_convolutions = False

    def __init__(self, image_shape: tuple[int, int, int], least_side: int = 1) -> None:
        super().__init__()
        self.taps = {}
        self.least_side = least_side
        self.upscale = math.ceil(least_side / min(image_shape[1:]))

    def enlarged(self, images: torch.Tensor) -> torch.Tensor:
        """The images with every pixel repeated `upscale` times down and right (nearest-neighbour
        interpolation).
        """
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
    """Taps on the blocks of a sequence of stages: "block2" is the output of the second stage, as in
    the paper, "block2.1" that of its first block where this is not the last.

    path: of the `nn.Sequential` of all blocks; blocks: how many each stage has.
    """
    taps = {}
    position = 0
    for stage, count in enumerate(blocks, start=1):
        for number in range(1, count + 1):
            name = f"block{stage}" + (f".{number}" if number < count else "")
            taps[name] = f"{path}.{position}"
            position += 1
    return taps
