"""ShuffleNet V2 for small images (Ma et al. 2018)."""

import torch
from torch import nn

from nondet.models.base import GlobalAveragePool, ImageModel, stage_taps
from nondet.models.dropout import Dropout

UNITS = (4, 8, 4)
"""Number of units in each stage (Ma et al. 2018, Table 5)."""


class Unit(nn.Module):
    """A unit of ShuffleNet V2 (Ma et al. 2018, Fig. 3): two branches with the same number of
    channels, whose channels are interleaved at the end.

    With stride 1 half the channels pass unchanged (Fig. 3c); with stride 2 both branches read all
    channels, and the image is halved (Fig. 3d).
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        half = channels // 2
        self.left = None
        if stride == 2:
            self.left = nn.Sequential(
                *_depthwise(channels_in, stride), *_pointwise(channels_in, half)
            )
        self.right = nn.Sequential(
            *_pointwise(channels_in if stride == 2 else half, half),
            *_depthwise(half, stride),
            *_pointwise(half, half),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.left is None:
            left, right = x.chunk(2, dim=1)
        else:
            left, right = self.left(x), x
        return torch.stack([left, self.right(right)], dim=2).flatten(1, 2)


class ShuffleNetV2(ImageModel):
    """A 3x3 convolution, three stages that each halve the image, a 1x1 convolution, average pooling
    and a linear layer.

    As in the paper's code, the first convolution has stride 1 and no max pooling follows it, so
    that images of 32 x 32 still have 4 x 4 pixels at the end. Dropout after the pooling.
    widths: channels of the three stages and of the last convolution (Ma et al. 2018, Table 5).
    """

    uniform_convolutions = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        widths: tuple[int, int, int, int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__(image_shape, min_side=8)
        channels = 24
        self.conv1 = nn.Conv2d(image_shape[0], channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        units = []
        for width, count in zip(widths, UNITS, strict=False):
            for number in range(count):
                units.append(Unit(channels, width, stride=2 if number == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*units)
        self.conv5 = nn.Conv2d(channels, widths[3], 1, bias=False)
        self.bn5 = nn.BatchNorm2d(widths[3])
        self.avgpool = GlobalAveragePool()
        self.dropout = Dropout(dropout)
        self.fc = nn.Linear(widths[3], classes)
        self.taps = {"conv1": "conv1"} | stage_taps("blocks", UNITS)
        self.taps |= {"conv5": "conv5", "avgpool": "avgpool", "logits": "fc"}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.conv1(self.upsample(images))).relu_()
        x = self.bn5(self.conv5(self.blocks(x))).relu_()
        logits: torch.Tensor = self.fc(self.dropout(self.avgpool(x)))
        return logits


def _pointwise(channels_in: int, channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
    ]
