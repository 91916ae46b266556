"""Predictions of an image model, and the digest of its weights."""

import hashlib

import numpy as np
import torch
from torch import nn

from nondet.data import Dataset
from nondet.data.dataset import Images
from nondet.models.memory_format import to_memory_format

EVALUATION_BATCH = 1000
"""Images per forward pass. A constant, because the bits of a logit may depend on it."""


@torch.no_grad()
def predict(model: nn.Module, dataset: Dataset, images: Images | None = None) -> np.ndarray:
    """Compute the logits of images, (n, classes) float32. The model is left in evaluation mode.

    images: (n, channels, height, width) uint8, stored as in `dataset`; its test images if None.
    """
    model.eval()
    chosen = dataset.test_images if images is None else images
    parts = [model(model_inputs(model, dataset, part)) for part in chosen.split(EVALUATION_BATCH)]
    logits: np.ndarray = torch.cat(parts).cpu().numpy()
    return logits


def model_inputs(model: nn.Module, dataset: Dataset, images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images as the model expects them: normalized float32, in its memory format."""
    return to_memory_format(dataset.normalized(images), model)


def weights_sha256(model: nn.Module) -> str:
    """Return the SHA-256 of the bytes of all tensors of the model's state, in hexadecimal."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return digest.hexdigest()
