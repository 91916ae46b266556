"""The conversion of a model's layers to layers that add their gradients in a given order."""

from collections.abc import Iterable
from typing import TypeVar

from torch import nn

from nondet.lowlevel.accumulation import Accumulation, Order, check_chunks, check_order
from nondet.lowlevel.convolution import Conv2d
from nondet.lowlevel.embedding import Embedding
from nondet.lowlevel.layer import Layer
from nondet.lowlevel.linear import Linear
from nondet.lowlevel.normalization import BatchNorm1d, BatchNorm2d

Model = TypeVar("Model", bound=nn.Module)

_CONVERTED: dict[type[nn.Module], type[Layer]] = {
    nn.Linear: Linear,
    nn.Conv2d: Conv2d,
    nn.BatchNorm1d: BatchNorm1d,
    nn.BatchNorm2d: BatchNorm2d,
    nn.Embedding: Embedding,
}


def convert(model: Model, order: Order = "fixed", chunks: int = 8) -> Model:
    """Convert the layers of a model, in place, to add their weight and bias gradients in `order`.
    Return the model.

    Parameters, names, state dict and forward pass stay the same, bit for bit. In a backward pass
    the vendor's kernels compute a partial gradient for each of `chunks` chunks of the batch (one
    per example if there are fewer), and `nondet_ext.accumulate` adds these. Gradients of inputs are
    computed by the vendor's kernels. A seeded order takes its seed from `set_order`.

    Raises TypeError, before anything is changed, for a layer with parameters that has no such
    backward pass; ValueError for a model that is already converted, an unknown order, or chunks
    below 1.
    """
    check_order(order)
    chunks = check_chunks(chunks)
    modules = []
    for name, module in model.named_modules():
        if isinstance(module, Layer):
            raise ValueError(f"{name or 'the model'} has been converted before")
        if any(True for _ in module.parameters(recurse=False)):
            if type(module) not in _CONVERTED:
                known = ", ".join(each.__name__ for each in _CONVERTED)
                raise TypeError(
                    f"{name or 'the model'} is a {type(module).__name__} with parameters; layers "
                    f"that can be converted: {known}"
                )
            _CONVERTED[type(module)].check(name, module)
            modules.append(module)
    for number, module in enumerate(modules):
        module.__class__ = _CONVERTED[type(module)]
        module.accumulation = Accumulation(order, chunks, number)
    return model


def layers(model: nn.Module) -> list[Layer]:
    """Return the converted layers of a model, in the order of their numbers."""
    return [module for module in model.modules() if isinstance(module, Layer)]


def set_order(layers: Iterable[Layer], order: Order, seed: int, step: int) -> None:
    """Set the order in which the next backward passes add gradients. Call it before each step.

    seed, step: integers in [0, 2**32), words of the key (seed, step, layer, part) of a seeded
    order; other orders ignore them. Raises ValueError if they are out of range or the order is
    unknown.
    """
    check_order(order)
    for name, word in (("seed", seed), ("step", step)):
        if not 0 <= word < 2**32:
            raise ValueError(f"{name} is {word}; it must lie in [0, 2**32)")
    for layer in layers:
        layer.accumulation.order = order
        layer.accumulation.seed = seed
        layer.accumulation.step = step
