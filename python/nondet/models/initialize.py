"""Initial weights that depend on the initialization seed alone, equal on every device."""

import math
from collections.abc import Callable

import torch
from torch import nn

from nondet.keys import Key
from nondet_ext import philox_normal, philox_uniform


@torch.no_grad()
def initialize(model: nn.Module, key: Key) -> None:
    """Set every parameter and buffer of `model`, in place, to its initial value.

    Parameter number p (in the order of `model.parameters()`) is drawn from the key and the counter
    (p,), so that no layer's draws depend on another layer.

    Linear: weights and biases uniform in +-1/sqrt(fan_in), PyTorch's default and the paper's.
    Conv2d: the same if the model has `uniform_convolutions` (the models that the paper's code
    leaves to PyTorch); else normal with variance 2/fan_out, and biases 0 (He et al. 2015). fan_in
    and fan_out are those of one group.
    Embedding: standard normal, or uniform in +-`uniform_range` if the layer has that attribute; 0
    for the padding index.
    Batch norm: scale 1 and offset 0; scale 0 if a module lists the layer in its attribute
    `zero_init` (Goyal et al. 2017).
    Layers with an attribute `constant_init`: their own `reset_parameters`, which draws nothing.

    Raises TypeError for any other layer with parameters.
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
                module.weight.copy_(_draw(philox_normal, module.weight, key, numbers))
                module.weight.mul_(math.sqrt(2 / fan_out))
                if module.bias is not None:
                    module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            bound = getattr(module, "uniform_range", None)
            if bound is not None:
                _fill_uniform(module, bound, key, numbers)
            else:
                module.weight.copy_(_draw(philox_normal, module.weight, key, numbers))
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) or hasattr(
            module, "constant_init"
        ):
            module.reset_parameters()
        elif any(True for _ in module.parameters(recurse=False)):
            raise TypeError(f"{name}: no rule for the parameters of {type(module).__name__}")
    for module in model.modules():
        for layer in getattr(module, "zero_init", ()):
            getattr(module, layer).weight.zero_()


def _draw(
    distribution: Callable[..., torch.Tensor],
    parameter: torch.Tensor,
    key: Key,
    numbers: dict[int, int],
) -> torch.Tensor:
    """Draw a variate for every element of a parameter; the counter is the parameter's number."""
    return distribution(
        tuple(parameter.shape),
        seed=key.seed,
        stream=key.stream,
        counter=(numbers[id(parameter)],),
        device=parameter.device,
    )


def _fill_uniform(module: nn.Module, bound: float, key: Key, numbers: dict[int, int]) -> None:
    for parameter in module.parameters(recurse=False):
        uniform = _draw(philox_uniform, parameter, key, numbers)
        parameter.copy_((uniform * 2 - 1) * bound)
