"""What a model makes of images, and the digest of its state."""

import hashlib

import numpy as np
import torch
from torch import nn

from nondet.data import Dataset

EVALUATION_BATCH = 1000
"""Images evaluated at once. A constant, because the bits of a logit may depend on it."""


@torch.no_grad()
def predict(model: nn.Module, dataset: Dataset, images: torch.Tensor | None = None) -> np.ndarray:
    """The logits of images in evaluation mode, in which the model is left: (examples, classes)
    float32.

    images: (examples, channels, height, width) uint8 as of `dataset`; its test images if None.
    """
    model.eval()
    images = dataset.test_images if images is None else images
    parts = [
        model(laid_out_for(model, dataset.normalized(part)))
        for part in images.split(EVALUATION_BATCH)
    ]
    logits: np.ndarray = torch.cat(parts).cpu().numpy()
    return logits


def laid_out_for(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The images with their channels last in memory where the model convolves on a CPU: torch's
    convolutions and batch norms are faster on that layout, which they hand on from layer to layer.
    """
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    if convolves and images.device.type == "cpu":
        return images.contiguous(memory_format=torch.channels_last)
    return images


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over the bytes of every tensor of the model's state, in order."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return digest.hexdigest()
