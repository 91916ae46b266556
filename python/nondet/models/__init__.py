"""Neural networks for images and texts, built by name."""

from collections.abc import Callable
from functools import partial

import torch

from nondet.defaults import plain_defaults
from nondet.keys import Key
from nondet.models.base import ImageModel
from nondet.models.dropout import set_step_key, stochastic_layers
from nondet.models.fully_connected import HiddenConvolution, HiddenLayer, Linear
from nondet.models.initialize import initialize
from nondet.models.mnist import MnistNetwork
from nondet.models.qrnn import QRNNLanguageModel, build_language_model
from nondet.models.resnet import ResNet
from nondet.models.shufflenet import ShuffleNetV2
from nondet.models.taps import representations
from nondet.models.vgg import VGG
from nondet.names import check_model, is_language_model, resnet_width

# Constructors with the arguments (image_shape, classes, dropout=).
_MODELS: dict[str, Callable[..., ImageModel]] = {
    "linear": Linear,
    "hidden": partial(HiddenLayer, units=512),
    "hidden-conv": partial(HiddenConvolution, filters=64),
    "mnist": MnistNetwork,
    "vgg11": partial(VGG, convolutions=(1, 1, 2, 2, 2)),
    "vgg13": partial(VGG, convolutions=(2, 2, 2, 2, 2)),
    "vgg16": partial(VGG, convolutions=(2, 2, 3, 3, 3)),
    "shufflenet-x0.5": partial(ShuffleNetV2, widths=(48, 96, 192, 1024)),
    "shufflenet-x1": partial(ShuffleNetV2, widths=(116, 232, 464, 1024)),
}

# Stages and blocks per stage of the residual networks. Four of them have 6n + 2 layers, n = 3, 5, 7
# and 9 (He et al. 2016, Sec. 4.2); the others are those of the paper.
_RESNETS = {
    "resnet6": (1, 2),
    "resnet10": (2, 2),
    "resnet14": (3, 2),
    "resnet18": (4, 2),
    "resnet20": (3, 3),
    "resnet32": (3, 5),
    "resnet44": (3, 7),
    "resnet56": (3, 9),
}


@plain_defaults()
def build_model(
    name: str,
    image_shape: tuple[int, int, int],
    classes: int,
    key: Key,
    device: str | torch.device = "cpu",
    dropout: float = 0.0,
) -> ImageModel:
    """Build an image model with initial weights that depend on the architecture and `key` alone.

    name: one of `nondet.names.MODELS`. image_shape: (channels, height, width); images too small for
    the architecture are enlarged (see `describe_upscaling`). dropout: probability of zeroing an
    element, before the last linear layer unless the model's docstring names another place; call
    `set_step_key` before each training step. No global random number generator is used.
    Raises ValueError for an unknown name, a size or number of classes below 1, or a dropout outside
    [0, 1).
    """
    model = _build_without_memory(name, image_shape, classes, dropout)
    model.to_empty(device=device)
    initialize(model, key)
    return model


def describe_upscaling(name: str, image_shape: tuple[int, int, int]) -> str | None:
    """Return a sentence on how a model enlarges images of this shape; None if it does not."""
    model = _build_without_memory(name, image_shape, classes=1)
    if model.upscale == 1:
        return None
    _, height, width = image_shape
    return (
        f"{name} needs images of at least {model.min_side} x {model.min_side} pixels: every "
        f"pixel of the {height} x {width} is repeated {model.upscale} times in each direction"
    )


def _build_without_memory(
    name: str, image_shape: tuple[int, int, int], classes: int, dropout: float = 0.0
) -> ImageModel:
    """Build the model on the meta device: its tensors have shapes, but no memory."""
    check_model(name)
    if is_language_model(name):
        raise ValueError(f"model is {name!r}, a language model; build_language_model builds it")
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(
            f"image_shape is {image_shape}; it must be (channels, height, width), each at least 1"
        )
    if classes < 1:
        raise ValueError(f"classes is {classes}; it must be at least 1")
    with torch.device("meta"):
        return _constructor(name)(tuple(image_shape), classes, dropout=dropout)


def _constructor(name: str) -> Callable[..., ImageModel]:
    """Return the constructor of a model; its arguments are those of the values of `_MODELS`."""
    if name in _MODELS:
        return _MODELS[name]
    residual = resnet_width(name)
    assert residual is not None
    base, width = residual
    stages, blocks = _RESNETS[base]
    return partial(ResNet, widths=tuple(width * 2**stage for stage in range(stages)), blocks=blocks)


__all__ = [
    "ImageModel",
    "QRNNLanguageModel",
    "build_language_model",
    "build_model",
    "describe_upscaling",
    "representations",
    "set_step_key",
    "stochastic_layers",
]
