"""Initial weights from the initialization seed alone, equal on every device."""

import math
from collections.abc import Callable

import torch
from torch import nn

from nondet.seeds import Key
from nondet_ext import philox_normal, philox_uniform


@torch.no_grad()
def initialize(model: nn.Module, key: Key) -> None:
    """Sets every parameter and buffer of `model` in place.

    Parameter number p (in the order of `model.parameters()`) is drawn under (key, counter (p,)), so
    that no layer's draws depend on another layer. Convolutions: normal with variance 2/fan_out (He
    et al. 2015). Fully-connected layers: uniform between -+1/sqrt(fan_in), weights and biases,
    PyTorch's default and the paper's choice. Batch norm: scale 1 and offset 0; scale 0 where a
    module names the layer in `starts_as_zero` (Goyal et al. 2017).
    Raises TypeError for a layer type it has no rule for.
    """
    numbers = {id(parameter): number for number, parameter in enumerate(model.parameters())}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
            _fill_normal(module.weight, math.sqrt(2 / fan_out), key, numbers)
            if module.bias is not None:
                raise TypeError(f"{name}: no rule for the bias of a convolution")
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            for parameter in module.parameters(recurse=False):
                _fill_uniform(parameter, bound, key, numbers)
        elif isinstance(module, nn.BatchNorm2d):
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


def _fill_normal(parameter: torch.Tensor, std: float, key: Key, numbers: dict[int, int]) -> None:
    parameter.copy_(_draws(philox_normal, parameter, key, numbers) * std)


def _fill_uniform(parameter: torch.Tensor, bound: float, key: Key, numbers: dict[int, int]) -> None:
    parameter.copy_((_draws(philox_uniform, parameter, key, numbers) * 2 - 1) * bound)
