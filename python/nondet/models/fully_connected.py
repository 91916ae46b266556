"""The paper's smallest models (Sec. 4, Table 8): one linear layer, and one fully-connected hidden
layer.
"""

import math

import torch
from torch import nn


class Linear(nn.Module):
    """Logistic regression: (n, channels, height, width) images to (n, classes) logits."""

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(math.prod(image_shape), classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(images.flatten(1))
        return logits


class HiddenLayer(nn.Module):
    """One fully-connected hidden layer with ReLU: images to (n, classes) logits."""

    def __init__(self, image_shape: tuple[int, int, int], classes: int, units: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(math.prod(image_shape), units)
        self.fc2 = nn.Linear(units, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc2(torch.relu(self.fc1(images.flatten(1))))
        return logits
