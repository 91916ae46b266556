"""The models, by name."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from nondet.models.fully_connected import HiddenLayer, Linear
from nondet.models.initialize import initialize
from nondet.models.resnet import ResNet
from nondet.seeds import Key

# name: function of (image shape, classes). "-w8": the first stage has 8 channels, half of the
# paper's 16.
_MODELS: dict[str, Callable[[tuple[int, int, int], int], nn.Module]] = {
    "linear": Linear,
    "hidden": partial(HiddenLayer, units=512),
    "resnet14-w8": partial(ResNet, widths=(8, 16, 32), blocks=2),
}


def build_model(
    name: str,
    image_shape: tuple[int, int, int],
    classes: int,
    key: Key,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """A model with its initial weights, which depend on the architecture and on `key` alone.

    image_shape: (channels, height, width). Raises ValueError for an unknown name. No global
    generator is touched.
    """
    if name not in _MODELS:
        raise ValueError(f"model is {name!r}; known models: {', '.join(_MODELS)}")
    with torch.device("meta"):
        model = _MODELS[name](image_shape, classes)
    model.to_empty(device=device)
    initialize(model, key)
    return model


__all__ = ["build_model"]
