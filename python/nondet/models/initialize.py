"""Initial weights from the initialization seed alone, equal on every device."""

import math
from collections.abc import Callable

import torch
from torch import nn

from nondet.keys import Key
from nondet_ext import philox_normal, philox_uniform


@torch.no_grad()
def initialize(model: nn.Module, key: Key) -> None:
    """Sets every parameter and buffer of `model` in place.

    Parameter number p (in the order of `model.parameters()`) is drawn under (key, counter (p,)), so
    that no layer's draws depend on another layer.
    Fully-connected layers: uniform between -+1/sqrt(fan_in), weights and biases, PyTorch's default
    and the paper's choice. Convolutions: the same in a model that has `uniform_convolutions`, as
    those have that the paper's code leaves to PyTorch; else normal with variance 2/fan_out, biases
    0 (He et al. 2015). fan_in and fan_out are those of one group. Embeddings: standard normal, or
    uniform within `uniform_range` of 0 where the layer has that attribute; 0 for the padding index.
    Batch norm: scale 1 and offset 0; scale 0 where a module names the layer in `starts_as_zero`
    (Goyal et al. 2017). Any other layer in whose `reset_parameters` nothing is drawn
    (`draws_nothing`): that.
    Raises TypeError for a layer type it has no rule for.
    """
    numbers = {id(parameter): number for number, parameter in enumerate(model.parameters())}
    uniform_convolutions = getattr(model, "uniform_convolutions", False)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            _fill_uniform(module, 1 / math.sqrt(module.in_features), key, numbers)
        elif isinstance(module, nn.Conv2d):
            pixels = math.prod(module.kernel_size)
            if uniform_convolutions:
                fan_in = module.in_channels // module.groups * pixels
                _fill_uniform(module, 1 / math.sqrt(fan_in), key, numbers)
            else:
                fan_out = module.out_channels // module.groups * pixels
                module.weight.copy_(_draws(philox_normal, module.weight, key, numbers))
                module.weight.mul_(math.sqrt(2 / fan_out))
                if module.bias is not None:
                    module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            reach = getattr(module, "uniform_range", None)
            if reach is not None:
                _fill_uniform(module, reach, key, numbers)
            else:
                module.weight.copy_(_draws(philox_normal, module.weight, key, numbers))
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) or hasattr(
            module, "draws_nothing"
        ):
            module.reset_parameters()
        elif any(True for _ in module.parameters(recurse=False)):
            raise TypeError(f"{name}: no rule for the parameters of {type(module).__name__}")
    for module in model.modules():
        for layer in getattr(module, "starts_as_zero", ()):
            getattr(module, layer).weight.zero_()


def _draws(
    law: Callable[..., torch.Tensor], parameter: torch.Tensor, key: Key, numbers: dict[int, int]
) -> torch.Tensor:
    """Variates for every element, drawn for the number of this parameter."""
    return law(
        tuple(parameter.shape),
        seed=key.seed,
        stream=key.stream,
        counter=(numbers[id(parameter)],),
        device=parameter.device,
    )


def _fill_uniform(module: nn.Module, reach: float, key: Key, numbers: dict[int, int]) -> None:
    for parameter in module.parameters(recurse=False):
        uniform = _draws(philox_uniform, parameter, key, numbers)
        parameter.copy_((uniform * 2 - 1) * reach)
