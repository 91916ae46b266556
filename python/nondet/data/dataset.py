"""The form every image data set takes."""

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class Dataset:
    """Normalised images and labels, whole, on one device.

    train_images, test_images: (examples, channels, height, width) float32, normalised
    train_labels, test_labels: (examples,) int64
    background: (channels,) float32, the normalised value of an empty pixel, shown where a shift
    uncovers the border
    """

    name: str
    classes: int
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    background: torch.Tensor

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def to(self, device: str | torch.device) -> "Dataset":
        """The same data on another device."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
            background=self.background.to(device),
        )
