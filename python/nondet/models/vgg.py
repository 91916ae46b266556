"""VGG with batch norm for small images (Simonyan & Zisserman 2014, configurations A, B and D)."""

import torch
from torch import nn

from nondet.models.base import GlobalAveragePool, ImageModel
from nondet.models.dropout import Dropout

WIDTHS = (64, 128, 256, 512, 512)


class VGG(ImageModel):
    """Five stages of 3x3 convolutions, each with batch norm and ReLU, and 2x2 max pooling after
    every stage; then average pooling and one linear layer, instead of the publication's three, as
    in the paper's code. Dropout after the average pooling.

    convolutions: their number in each stage.
    """

    uniform_convolutions = True
    full_rate = ("features.*.weight",)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        convolutions: tuple[int, ...],
        dropout: float = 0.0,
    ) -> None:
        super().__init__(image_shape, min_side=2 ** len(WIDTHS))
        channels = image_shape[0]
        layers: list[nn.Module] = []
        self.taps = {"conv1": "features.0"}
        for stage, (width, count) in enumerate(zip(WIDTHS, convolutions, strict=True), start=1):
            for _ in range(count):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                # In place: nothing else reads the output of the batch norm.
                layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
            self.taps[f"block{stage}"] = f"features.{len(layers) - 1}"
        self.features = nn.Sequential(*layers)
        self.avgpool = GlobalAveragePool()
        self.dropout = Dropout(dropout)
        self.fc = nn.Linear(channels, classes)
        self.taps |= {"avgpool": "avgpool", "logits": "fc"}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.avgpool(self.features(self.upsample(images)))
        logits: torch.Tensor = self.fc(self.dropout(x))
        return logits
