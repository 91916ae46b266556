"""Weight augmentation: gradients are computed at randomly perturbed weights (paper, App. A)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from nondet.keys import Key
from nondet_ext import philox_normal


@contextmanager
def weight_offsets(model: nn.Module, key: Key, step: int, sd: float) -> Iterator[None]:
    """Add normal noise to the weights within the context, then restore their bits, also after an
    exception. Run forward and backward pass inside, the optimizer's step outside.

    Every element of every parameter with more than one dimension gets sd times a standard normal
    variate. Those of parameter number p (in the order of `model.parameters()`) are drawn from `key`
    and the counter (step, p, 1), which no dropout mask uses, and are equal on every device.
    Raises ValueError for an sd that is negative or not finite.
    """
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"sd is {sd}; it must be a finite number, not negative")
    weights = [(p, x.detach()) for p, x in enumerate(model.parameters()) if x.dim() > 1]
    offsets = [
        philox_normal(
            tuple(weight.shape),
            seed=key.seed,
            stream=key.stream,
            counter=(step, p, 1),
            dtype=weight.dtype,
            device=weight.device,
        )
        for p, weight in weights
    ]
    tensors = [weight for _, weight in weights]
    before = [weight.clone() for weight in tensors]
    try:
        if tensors:
            torch._foreach_mul_(offsets, sd)
            torch._foreach_add_(tensors, offsets)
        yield
    finally:
        if tensors:
            torch._foreach_copy_(tensors, before)
