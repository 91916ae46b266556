"""The paper's smallest models (Sec. 4, Table 8): a linear model, and models with one hidden layer,
fully connected or convolutional.
"""

import math

import torch
from torch import nn

from nondet.models.base import ImageModel
from nondet.models.dropout import Dropout


class Linear(ImageModel):
    """Logistic regression, with dropout on the pixels."""

    def __init__(
        self, image_shape: tuple[int, int, int], classes: int, dropout: float = 0.0
    ) -> None:
        super().__init__(image_shape)
        self.dropout = Dropout(dropout)
        self.fc = nn.Linear(math.prod(image_shape), classes)
        self.taps = {"logits": "fc"}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.dropout(images.flatten(1)))
        return logits


class HiddenLayer(ImageModel):
    """One fully connected hidden layer with ReLU, and dropout on the hidden units."""

    def __init__(
        self, image_shape: tuple[int, int, int], classes: int, units: int, dropout: float = 0.0
    ) -> None:
        super().__init__(image_shape)
        self.fc1 = nn.Linear(math.prod(image_shape), units)
        self.relu = nn.ReLU()
        self.dropout = Dropout(dropout)
        self.fc2 = nn.Linear(units, classes)
        self.taps = {"hidden": "relu", "logits": "fc2"}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.relu(self.fc1(images.flatten(1)))
        logits: torch.Tensor = self.fc2(self.dropout(hidden))
        return logits


class HiddenConvolution(ImageModel):
    """One convolutional hidden layer (5x5, stride 2, padding 2) with ReLU, then a linear layer, as
    in the paper's code. Dropout on the hidden units.
    """

    uniform_convolutions = True

    def __init__(
        self, image_shape: tuple[int, int, int], classes: int, filters: int, dropout: float = 0.0
    ) -> None:
        super().__init__(image_shape, min_side=2)
        channels, *sides = image_shape
        height, width = ((side * self.upscale + 1) // 2 for side in sides)
        self.conv1 = nn.Conv2d(channels, filters, 5, stride=2, padding=2)
        self.relu = nn.ReLU()
        self.dropout = Dropout(dropout)
        self.fc = nn.Linear(filters * height * width, classes)
        self.taps = {"conv1": "conv1", "hidden": "relu", "logits": "fc"}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.relu(self.conv1(self.upsample(images)))
        logits: torch.Tensor = self.fc(self.dropout(hidden.flatten(1)))
        return logits
