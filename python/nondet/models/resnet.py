"""The paper's residual networks for small images (Sec. 3.1, appendix; He et al. 2016)."""

import torch
from torch import nn
from torch.nn.functional import pad

from nondet.models.base import GlobalAveragePool, ImageModel, stage_taps
from nondet.models.dropout import Dropout


class Block(nn.Module):
    """A basic block: two 3x3 convolutions, and a shortcut without convolution.

    In a block that halves the image and doubles the channels, the shortcut takes every second
    pixel, normalizes, and fills the new channels with zeros. `bn2` starts with scale 0 (see
    `initialize`), so that the block starts as its shortcut.
    """

    zero_init = ("bn2",)

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = channels - channels_in
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut_bn = nn.BatchNorm2d(channels_in) if self.new_channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor
        shortcut = x
        if self.shortcut_bn is not None:
            kept = self.shortcut_bn(x[:, :, :: self.stride, :: self.stride])
            shortcut = pad(kept, (0, 0, 0, 0, 0, self.new_channels))
        # In place: nothing else reads the outputs of the batch norms.
        out = self.bn1(self.conv1(x)).relu_()
        out = self.bn2(self.conv2(out))
        return out.add_(shortcut).relu_()


class ResNet(ImageModel):
    """A 3x3 convolution, one stage of basic blocks per width, average pooling and a linear layer.

    Every stage but the first halves the image. Three stages of two blocks have 14 layers. Dropout
    after the pooling.
    widths: channels of each stage; blocks: their number in each stage.
    """

    full_rate = ("blocks.*.shortcut_bn.weight",)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        widths: tuple[int, ...],
        blocks: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(image_shape, min_side=2 ** (len(widths) - 1))
        channels = widths[0]
        self.conv1 = nn.Conv2d(image_shape[0], channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        stages = []
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(Block(channels, width, stride))
                channels = width
        self.blocks = nn.Sequential(*stages)
        self.avgpool = GlobalAveragePool()
        self.dropout = Dropout(dropout)
        self.fc = nn.Linear(channels, classes)
        self.taps = {"conv1": "conv1"} | stage_taps("blocks", [blocks] * len(widths))
        self.taps |= {"avgpool": "avgpool", "logits": "fc"}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.conv1(self.upsample(images))).relu_()
        x = self.avgpool(self.blocks(x))
        logits: torch.Tensor = self.fc(self.dropout(x))
        return logits
