"""The paper's network for MNIST (Sec. B, Table 6)."""

import torch
from torch import nn
from torch.nn.functional import max_pool2d

from nondet.models.base import ImageModel
from nondet.models.dropout import Dropout


class MnistNetwork(ImageModel):
    """Two 3x3 convolutions without padding (32 and 64 filters), 2x2 max pooling, 128 hidden units;
    ReLU after each layer but the last, as in the paper's code.

    That code has no dropout. With `dropout` > 0 it acts where PyTorch's MNIST example has it: after
    the pooling and on the hidden units.
    """

    uniform_convolutions = True

    def __init__(
        self, image_shape: tuple[int, int, int], classes: int, dropout: float = 0.0
    ) -> None:
        super().__init__(image_shape, min_side=6)
        channels, *sides = image_shape
        height, width = ((side * self.upscale - 4) // 2 for side in sides)
        self.conv1 = nn.Conv2d(channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = Dropout(dropout)
        self.fc1 = nn.Linear(64 * height * width, 128)
        self.relu = nn.ReLU()
        self.dropout2 = Dropout(dropout)
        self.fc2 = nn.Linear(128, classes)
        self.taps = {"conv1": "conv1", "conv2": "conv2", "hidden": "relu", "logits": "fc2"}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv1(self.upsample(images)))
        x = max_pool2d(torch.relu(self.conv2(x)), 2)
        hidden = self.relu(self.fc1(self.dropout1(x.flatten(1))))
        logits: torch.Tensor = self.fc2(self.dropout2(hidden))
        return logits
