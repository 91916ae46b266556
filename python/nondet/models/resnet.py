"""The paper's residual network for small images (Sec. 3.1, appendix; He et al. 2016)."""

import torch
from torch import nn


class Block(nn.Module):
    """A basic block: two 3x3 convolutions beside a shortcut without convolution.

    Where the block halves the image and doubles the channels, the shortcut takes every second
    pixel, normalises, and fills the new channels with zeros. `bn2` starts with scale 0 (see
    `initialize`): the block starts as its shortcut.
    """

    starts_as_zero = ("bn2",)

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut_bn = nn.BatchNorm2d(channels_in) if channels != channels_in else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x
        if self.shortcut_bn is not None:
            shortcut = self.shortcut_bn(x[:, :, :: self.stride, :: self.stride])
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if shortcut.shape[1] != out.shape[1]:
            shortcut = torch.cat([shortcut, torch.zeros_like(out[:, shortcut.shape[1] :])], dim=1)
        return torch.relu(out + shortcut)


class ResNet(nn.Module):
    """3x3 convolution, one stage of basic blocks per width, average pool, linear; images to (n,
    classes) logits.

    Every stage but the first halves the image. With three stages of two blocks it has 14 layers.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], classes: int, widths: tuple[int, ...], blocks: int
    ) -> None:
        super().__init__()
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
        self.fc = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(images)))
        x = self.blocks(x)
        logits: torch.Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits
